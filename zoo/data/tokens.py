"""Texts to token ids, by the Rust `tokenizers` library.

In come a folder or file that holds a vocabulary, and a split's texts; out come a `Tokenizer` and a `TokenTable`: all
rows in one flat array, special tokens and truncation done, long texts in windows where the recipe says so. Refused:
what vocabulary.py refuses, a vocabulary without the tokens that frame a row, a pair that cannot be shortened as the
recipe says. Equality with transformers is shown by tools/comparisons/tokenization.py.
"""

from __future__ import annotations

import itertools
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer as RustTokenizer

from zoo.data.columns import unfit
from zoo.data.cutting import cuts, taken, too_long
from zoo.data.tables import SHOWN
from zoo.data.vocabulary import read_vocabulary, tokenizer_of
from zoo.errors import DataError, EnvironmentFault
from zoo.recipe.types import Tokens

CHUNK = 2000
"""Rows tokenized between two reports of progress."""

Place = Callable[[int], str]
"""Where people find a row, by its number."""

MUCH_CUT = 0.2
MUCH_UNKNOWN = 0.02
"""Shares of rows cut and of tokens unknown above which the user is told."""


@dataclass(frozen=True, kw_only=True)
class Specials:
    """Ids of the tokens that frame a row: `start` a `end`, and for pairs `start` a `between` b `end`."""

    start: int
    end: int
    pad: int
    between: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class TokenTable:
    """Token ids of many rows, flat.

    A row is a text, or a pair of texts; where long texts are seen through windows, it is one of these.

    ids: [tokens] int32, row after row, special tokens included.
    offsets: [rows + 1] int64; row i is ids[offsets[i]:offsets[i + 1]].
    second: [rows] int32, where in the row segment 1 begins (the row's length where there is none).
    full: [texts] int32, tokens that each text would have in one row without truncation.
    owners: [rows] int32, the text of each row; those of a text stand side by side, in its order.
    spans: [tokens, 2] int32, first and one past the last character of each token in its text, of pairs in the second
    text; -1 of tokens that are no part of it. None where nobody asked for them.
    """

    ids: np.ndarray
    offsets: np.ndarray
    second: np.ndarray
    full: np.ndarray
    owners: np.ndarray
    pad: int
    spans: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def joined(cls, parts: Sequence[TokenTable], pad: int) -> TokenTable:
        """The rows of tables whose texts follow each other, `owners` counted from the first one's."""
        arrays = {name: [getattr(part, name) for part in parts] for name in ("ids", "second", "full", "owners")}
        ends = itertools.accumulate((len(part.ids) for part in parts), initial=0)
        offsets = [np.zeros(1, np.int64), *(part.offsets[1:] + end for part, end in zip(parts, ends, strict=False))]
        spans = [part.spans for part in parts if part.spans is not None]
        return cls(
            **{name: np.concatenate([np.zeros(0, np.int32), *each]) for name, each in arrays.items()},
            offsets=np.concatenate(offsets),
            spans=np.concatenate(spans) if spans else None,
            pad=pad,
        )

    @property
    def lengths(self) -> np.ndarray:
        """Tokens a row, [rows] int64."""
        return np.diff(self.offsets)

    @property
    def windowed(self) -> bool:
        """Whether a text has several rows."""
        return len(self) > len(self.full)

    @property
    def windows(self) -> np.ndarray:
        """Rows of each text, [texts] int64."""
        return np.bincount(self.owners, minlength=len(self.full))

    @property
    def truncated(self) -> int:
        """Texts that lost tokens."""
        return 0 if self.windowed else int((self.full > self.lengths).sum())


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One token of a row.

    `of` is the text that it is a part of, and `start` and `end` are characters (code points) of that text; all three
    are None for a token that frames the row.
    """

    id: int
    segment: int
    of: Literal["text", "pair"] | None
    start: int | None
    end: int | None


class Tokenizer:
    """A vocabulary with its normaliser: `pieces` of one text, and a `TokenTable` of many.

    `note` is what was decided about it without being said anywhere, to be shown; None where nothing was.
    """

    def __init__(self, rust: RustTokenizer, *, note: str | None = None) -> None:
        self.rust = rust
        self.note = note
        self.specials = _specials(rust)

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """What `to_json` gave; raises as `tokenizer_of`."""
        return cls(tokenizer_of(json.loads(text)))

    def to_json(self) -> str:
        """The tokenizer.json that `from_json` and the Hugging Face libraries read."""
        return self.rust.to_str()

    @property
    def vocabulary_size(self) -> int:
        return self.rust.get_vocab_size(with_added_tokens=True)

    @property
    def unknown(self) -> int | None:
        return self.rust.token_to_id("[UNK]")

    @property
    def blank(self) -> int:
        """The id that stands in for a word that is to be left open: the mask token, else the unknown one."""
        ids = map(self.rust.token_to_id, ("[MASK]", "<mask>", "[UNK]", "<unk>"))
        return next(number for number in ids if number is not None)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The vocabulary entries of these ids."""
        return [self.rust.id_to_token(int(i)) or "" for i in ids]

    def encode(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        config: Tokens,
        *,
        progress: Callable[[int], None] | None = None,
        place: Place = "texts[{}]".format,
        spans: bool = False,
    ) -> TokenTable:
        """Tokenize all texts.

        Args:
            texts: first text of each row.
            pairs: second text of each row, or None.
            config: length, and what becomes of longer texts.
            progress: called with the number of texts done since the last call.
            place: where people find a text, by its number.
            spans: whether the table says where its tokens stand in the texts.

        Raises:
            DataError: a text is not Unicode, or a pair is too long and the text that has to give way would vanish.
        """
        parts = self.parts(texts, pairs, config, progress=progress, place=place, spans=spans)
        return TokenTable.joined([*parts], self.specials.pad)

    def parts(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        config: Tokens,
        *,
        begin: int = 0,
        progress: Callable[[int], None] | None = None,
        place: Place = "texts[{}]".format,
        spans: bool = False,
    ) -> Iterator[TokenTable]:
        """`encode`, CHUNK texts at a time from number `begin` on: tables to be joined. Behind a text that is refused
        none comes any more, but all texts are looked at before the error is raised."""
        faults = list[str]()
        for start in range(begin, max(1, len(texts)), CHUNK):
            first = self._encodings(texts, start, place, spans)
            other = self._encodings(pairs, start, place, spans) if pairs is not None else None
            table = self._part(first, other, start, config, place, spans, faults)
            if not faults:
                yield table
            if progress is not None:
                progress(len(first))
        if faults:
            raise DataError(faults)

    def row(self, text: str, pair: str | None, config: Tokens) -> list[Piece]:
        """The tokens of one row, of a long text those of its first window, each with its place in its text; raises as
        `encode`."""
        table = self.encode([text], None if pair is None else [pair], config)
        spans = [self.rust.encode(part, add_special_tokens=False).offsets for part in (text, pair or "")]
        middle = self.specials.between if pair is not None else ()
        counts = len(spans[0]), None if pair is None else len(spans[1])
        rows = cuts(*counts, config.max_length - 2 - len(middle), config)
        assert rows is not None  # encode would have refused it
        places: list[tuple[Literal["text", "pair"], tuple[int, int]] | None] = [None]
        places += [("text", span) for span in taken(spans[0], rows[0][0])]
        places += [None] * len(middle)
        places += [("pair", span) for span in taken(spans[1], rows[0][1])]
        places.append(None)
        second, end = int(table.second[0]), int(table.offsets[1])
        return [
            Piece(
                id=int(number),
                segment=int(position >= second),
                of=place[0] if place else None,
                start=place[1][0] if place else None,
                end=place[1][1] if place else None,
            )
            for position, (number, place) in enumerate(zip(table.ids[:end], places, strict=True))
        ]

    def _part(
        self,
        encodings: Sequence[Any],
        others: Sequence[Any] | None,
        number: int,
        config: Tokens,
        place: Place,
        spans: bool,
        faults: list[str],
    ) -> TokenTable:
        """The table of texts from this number on, by the encodings of first and second texts; faults are added to."""
        start, end = self.specials.start, self.specials.end
        middle = self.specials.between if others is not None else ()
        room = config.max_length - 2 - len(middle)
        flat, places = array("i"), array("i")
        offsets, second, owners = array("q", [0]), array("i"), array("i")
        full = np.zeros(len(encodings), np.int32)
        for index, (a, b) in enumerate(zip(encodings, others or itertools.repeat(None), strict=False)):
            counts = len(a), len(b) if b is not None else 0
            rows = cuts(counts[0], counts[1] if b is not None else None, room, config)
            if rows is None:
                faults += [too_long(place(number + index), *counts, room, config)] * (len(faults) < SHOWN)
                continue
            full[index] = sum(counts) + config.max_length - room
            # Each of these makes a list of what is Rust's.
            ids_of_first, ids_of_other = a.ids, b.ids if b is not None else []
            within = (a if b is None else b).offsets if spans else []
            for of_first, of_second in rows:
                first = taken(ids_of_first, of_first)
                other = taken(ids_of_other, of_second)
                flat.extend((start, *first, *middle, *other, end))
                offsets.append(len(flat))
                owners.append(number + index)
                # Hugging Face counts the first separator to segment 0.
                second.append(2 + len(first) if b is not None else 2 + len(first) + len(other))
                if spans:
                    before = [(-1, -1)] * (1 + len(first) + len(middle)) if b is not None else [(-1, -1)]
                    inside = taken(within, of_first if b is None else of_second)
                    for span in (*before, *inside, (-1, -1)):
                        places.extend(span)
        return TokenTable(
            ids=_numbers(flat, np.int32),
            offsets=_numbers(offsets, np.int64),
            second=_numbers(second, np.int32),
            full=full,
            owners=_numbers(owners, np.int32),
            pad=self.specials.pad,
            spans=_numbers(places, np.int32).reshape(-1, 2) if spans else None,
        )

    def _encodings(self, texts: Sequence[str], start: int, place: Place, spans: bool) -> list[Any]:
        encode = self.rust.encode_batch if spans else self.rust.encode_batch_fast  # which leaves places out
        chunk = list(texts[start : start + CHUNK])
        try:
            return list(encode(chunk, add_special_tokens=False))
        except TypeError as error:
            faults = [f"{place(start + i)} {fault}" for i, text in enumerate(chunk) if (fault := unfit(text))]
            if not faults:
                raise
            raise DataError(faults[:SHOWN]) from error


def _numbers(values: array[int], kind: type[np.signedinteger[Any]]) -> np.ndarray:
    return np.frombuffer(values, kind) if values else np.zeros(0, kind)


def doubts(tokenizer: Tokenizer, tables: Mapping[str, TokenTable]) -> list[str]:
    """What looks wrong about the tokens: a guess about the vocabulary, many words that it lacks."""
    found = [tokenizer.note] if tokenizer.note else []
    for name, table in tables.items():
        unknown = float(np.mean(table.ids == tokenizer.unknown)) if tokenizer.unknown is not None else 0.0
        if unknown > MUCH_UNKNOWN:
            found.append(f"{unknown:.0%} of the {name} tokens are unknown to the vocabulary: is it the right one?")
    return found


def cut_told(tables: Mapping[str, TokenTable], config: Tokens) -> tuple[str, str]:
    """What becomes of long texts of each split: a topic, `warning` where many are cut, and a sentence."""
    if config.long == "window":
        told = ", ".join(f"{len(table.full):,} {name} texts in {len(table):,}" for name, table in tables.items())
        return "tokens", f"windows of at most {config.max_length} tokens: {told}"
    shares = {name: table.truncated / max(1, len(table)) for name, table in tables.items()}
    if not any(shares.values()):
        return "tokens", f"no text is cut: none has more than {config.max_length}"
    listed = ", ".join(
        f"{tables[name].truncated:,} of {len(tables[name]):,} {name}{f' ({share:.1%})' if share else ''}"
        for name, share in shares.items()
    )
    topic = "warning" if max(shares.values()) > MUCH_CUT else "tokens"
    return topic, f"{listed} texts are cut at tokens.max_length: {config.max_length}"


def load_tokenizer(path: Path, *, uncased: bool | None = None) -> Tokenizer:
    """The tokenizer of a vocabulary on disk; see `read_vocabulary` for what it takes and refuses."""
    rust, note = read_vocabulary(path, uncased=uncased)
    return Tokenizer(rust, note=note)


def _specials(rust: RustTokenizer) -> Specials:
    for start, end, pad, doubled in (("[CLS]", "[SEP]", "[PAD]", False), ("<s>", "</s>", "<pad>", True)):
        ids = [number for token in (start, end, pad) if (number := rust.token_to_id(token)) is not None]
        if len(ids) == 3:
            between = (ids[1], ids[1]) if doubled else (ids[1],)
            return Specials(start=ids[0], end=ids[1], pad=ids[2], between=between)
    raise EnvironmentFault("the vocabulary has neither [CLS] [SEP] [PAD] nor <s> </s> <pad>: use BERT's or RoBERTa's")
