"""Texts to token ids, by the Rust `tokenizers` library.

In come a folder or file that holds a vocabulary, and a split's texts; out come a `Tokenizer` and a
`TokenTable`: all rows in one flat array, special tokens and truncation done. Refused: what
vocabulary.py refuses, a vocabulary without the tokens that frame a row, a pair that the recipe's
truncation cannot shorten. Equality with transformers is shown by tools/comparisons/tokenization.py.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tokenizers
from tokenizers import Tokenizer as RustTokenizer

from zoo.data.dataset import SPLITS, Dataset
from zoo.data.sources import ANOTHER_CACHE, cache_folder
from zoo.data.vocabulary import read_vocabulary
from zoo.data.writing import storage_errors, write_atomically
from zoo.errors import DataError, EnvironmentFault
from zoo.recipe.showing import is_unicode
from zoo.recipe.types import Tokens

FORMAT = "2"
"""Of the cached tables; another one is another file."""

CHUNK = 2000
"""Rows tokenized between two reports of progress."""

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

    ids: [tokens] int32, row after row, special tokens included.
    offsets: [rows + 1] int64; row i is ids[offsets[i]:offsets[i + 1]].
    second: [rows] int32, where in the row segment 1 begins (the row's length where there is none).
    full: [rows] int32, tokens the row would have without truncation.
    """

    ids: np.ndarray
    offsets: np.ndarray
    second: np.ndarray
    full: np.ndarray
    pad: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens a row, [rows] int64."""
        return np.diff(self.offsets)

    @property
    def truncated(self) -> int:
        """Rows that lost tokens."""
        return int((self.full > self.lengths).sum())


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
        self.rust.no_truncation()
        self.rust.no_padding()
        self.specials = _specials(rust)

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        return cls(RustTokenizer.from_str(text))

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
        ids: Sequence[str] | None = None,
    ) -> TokenTable:
        """Tokenize all rows.

        Args:
            texts: first text of each row.
            pairs: second text of each row, or None.
            config: length and truncation.
            progress: called with the number of rows done since the last call.
            ids: what an error calls each row; None counts them from 0.

        Raises:
            DataError: a text is not Unicode, or a pair is too long and the text that has to give way would vanish.
        """
        start, end = self.specials.start, self.specials.end
        middle = self.specials.between if pairs is not None else ()
        room = config.max_length - 2 - len(middle)
        strategy = config.pair_truncation if pairs is not None else "longest_first"
        flat = array("i")
        offsets = np.zeros(len(texts) + 1, np.int64)
        second = np.zeros(len(texts), np.int32)
        full = np.zeros(len(texts), np.int32)
        for index, (a, b) in enumerate(self._raw(texts, pairs, progress)):
            kept = _budgets(len(a), len(b), room, strategy)
            if kept is None:
                raise DataError(_too_long(ids[index] if ids else str(index), len(a), len(b), room, config))
            full[index] = len(a) + len(b) + config.max_length - room
            a, b = _cut(a, kept[0], config), _cut(b, kept[1], config)
            flat.extend((start, *a, *middle, *b, end))
            offsets[index + 1] = len(flat)
            # Hugging Face counts the first separator to segment 0.
            second[index] = 2 + len(a) if pairs is not None else 2 + len(a) + len(b)
        tokens = np.frombuffer(flat, np.int32) if flat else np.zeros(0, np.int32)
        return TokenTable(ids=tokens, offsets=offsets, second=second, full=full, pad=self.specials.pad)

    def row(self, text: str, pair: str | None, config: Tokens) -> list[Piece]:
        """The tokens of one row, each with its place in its text; raises as `encode`."""
        table = self.encode([text], None if pair is None else [pair], config)
        spans = [self.rust.encode(part, add_special_tokens=False).offsets for part in (text, pair or "")]
        middle = self.specials.between if pair is not None else ()
        strategy = config.pair_truncation if pair is not None else "longest_first"
        kept = _budgets(len(spans[0]), len(spans[1]), config.max_length - 2 - len(middle), strategy)
        assert kept is not None  # encode would have refused it
        places: list[tuple[Literal["text", "pair"], tuple[int, int]] | None] = [None]
        places += [("text", spans[0][i]) for i in _cut(list(range(len(spans[0]))), kept[0], config)]
        places += [None] * len(middle)
        places += [("pair", spans[1][i]) for i in _cut(list(range(len(spans[1]))), kept[1], config)]
        places.append(None)
        second = int(table.second[0])
        return [
            Piece(
                id=int(number),
                segment=int(position >= second),
                of=place[0] if place else None,
                start=place[1][0] if place else None,
                end=place[1][1] if place else None,
            )
            for position, (number, place) in enumerate(zip(table.ids, places, strict=True))
        ]

    def _raw(
        self, texts: Sequence[str], pairs: Sequence[str] | None, progress: Callable[[int], None] | None
    ) -> Iterator[tuple[list[int], list[int]]]:
        for start in range(0, len(texts), CHUNK):
            chunk = slice(start, start + CHUNK)
            first = self._ids(texts[chunk])
            other: list[list[int]] = self._ids(pairs[chunk]) if pairs is not None else [[]] * len(first)
            yield from zip(first, other, strict=True)
            if progress is not None:
                progress(len(first))

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        try:
            return [e.ids for e in self.rust.encode_batch_fast(list(texts), add_special_tokens=False)]
        except TypeError as error:
            broken = next((text for text in texts if not is_unicode(text)), None)
            if broken is None:
                raise
            raise DataError(
                f"a text holds half of a character (a lone surrogate): {broken!r:.80}; expected Unicode, repair the row"
            ) from error


def _budgets(
    a: int, b: int, room: int, strategy: Literal["longest_first", "only_first", "only_second"]
) -> tuple[int, int] | None:
    """Tokens that each text of a row may keep, None where the one to be cut would vanish; as transformers decides."""
    if a + b <= room:
        return a, b
    if strategy == "only_first":
        return (room - b, b) if b < room else None
    if strategy == "only_second":
        return (a, room - a) if a < room else None
    shorter = min(a, b, room // 2)
    return (room - shorter, shorter) if a > b else (shorter, room - shorter)


def _too_long(row: str, a: int, b: int, room: int, config: Tokens) -> str:
    cut, kept, count = ("first", "second", b) if config.pair_truncation == "only_first" else ("second", "first", a)
    return (
        f"row {row}: its texts have {a} and {b} tokens, and the {kept} one alone leaves no room for the {cut} one, "
        f"which tokens.pair_truncation: {config.pair_truncation} cuts; expected {kept} texts of less than {room} "
        f"tokens: set tokens.max_length to {config.max_length - room + count + 1} or more, or "
        "tokens.pair_truncation=longest_first"
    )


def _cut(ids: list[int], budget: int, config: Tokens) -> list[int]:
    if len(ids) <= budget:
        return ids
    if config.truncation == "head":
        return ids[:budget]
    if config.truncation == "tail":
        return ids[len(ids) - budget :]
    head = min(config.head if config.head is not None else config.max_length // 4, budget)
    return ids[:head] + ids[len(ids) - (budget - head) :]


def encode_cached(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    config: Tokens,
    *,
    progress: Callable[[int], None] | None = None,
    ids: Sequence[str] | None = None,
    tell: Callable[[str], None] | None = None,
) -> TokenTable:
    """`Tokenizer.encode`, kept on disk under a hash of the tokenizer, the settings and the texts.

    Args:
        tell: called with a sentence where the file is damaged; it is then made anew.

    Raises:
        OutputError: the cache cannot be written.
    """
    path = cache_folder() / "tokens" / f"{_content_key(tokenizer, texts, pairs, config)}.npz"
    if path.is_file():
        table, wrong = _stored(path, len(texts), tokenizer.specials.pad)
        if table is not None:
            if progress is not None:
                progress(len(table))
            return table
        if tell is not None:
            tell(f"{path}, the cache of tokens, is damaged ({wrong}): it is made anew")
    table = tokenizer.encode(texts, pairs, config, progress=progress, ids=ids)
    with storage_errors(path.parent, ANOTHER_CACHE), write_atomically(path) as stream:
        np.savez(stream, **{name: getattr(table, name) for name in _ARRAYS})
    return table


_ARRAYS = {"ids": np.int32, "offsets": np.int64, "second": np.int32, "full": np.int32}
"""What a stored table holds; see TokenTable."""


def _stored(path: Path, rows: int, pad: int) -> tuple[TokenTable | None, str]:
    """The table of a file; or None, and what is wrong with the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()  # against its checksums, before NumPy believes any header
        if broken is not None:
            return None, f"{broken} is not as it was written"
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _ARRAYS}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
    ) as error:
        return None, str(error) or type(error).__name__
    offsets, lengths = arrays["offsets"], {"offsets": rows + 1, "second": rows, "full": rows}
    typed = all(arrays[name].dtype == kind and arrays[name].ndim == 1 for name, kind in _ARRAYS.items())
    if not typed or any(len(arrays[name]) != length for name, length in lengths.items()):
        return None, "its arrays have other types or lengths"
    if offsets[0] != 0 or offsets[-1] != len(arrays["ids"]) or (np.diff(offsets) < 0).any():
        return None, "its rows overlap"
    return TokenTable(**arrays, pad=pad), ""


def encode_splits(
    tokenizer: Tokenizer,
    dataset: Dataset,
    config: Tokens,
    *,
    progress: Callable[[int], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> dict[str, TokenTable]:
    """The tables of train, validation and test, by name.

    Args:
        progress: called with the number of rows done.
        tell: called with what there is to say of the cache.
    """
    splits = {name: getattr(dataset, name) for name in SPLITS}
    return {
        name: encode_cached(tokenizer, split.texts, split.pairs, config, progress=progress, ids=split.ids, tell=tell)
        for name, split in splits.items()
    }


def doubts(tokenizer: Tokenizer, tables: Mapping[str, TokenTable], config: Tokens) -> list[str]:
    """What looks wrong about the tokens: a guess about the vocabulary, many words that it lacks."""
    found = [tokenizer.note] if tokenizer.note else []
    for name, table in tables.items():
        unknown = float(np.mean(table.ids == tokenizer.unknown)) if tokenizer.unknown is not None else 0.0
        if unknown > MUCH_UNKNOWN:
            found.append(f"{unknown:.0%} of the {name} tokens are unknown to the vocabulary: is it the right one?")
    return found


def cut_told(tables: Mapping[str, TokenTable], config: Tokens) -> tuple[str, str]:
    """How many rows of each split are cut: a topic, `warning` where they are many, and a sentence."""
    shares = {name: table.truncated / max(1, len(table)) for name, table in tables.items()}
    if not any(shares.values()):
        return "tokens", f"no text is cut: none has more than {config.max_length}"
    listed = ", ".join(
        f"{tables[name].truncated:,} of {len(tables[name]):,} {name}{f' ({share:.1%})' if share else ''}"
        for name, share in shares.items()
    )
    topic = "warning" if max(shares.values()) > MUCH_CUT else "tokens"
    return topic, f"{listed} texts are cut at tokens.max_length: {config.max_length}"


def _content_key(tokenizer: Tokenizer, texts: Sequence[str], pairs: Sequence[str] | None, config: Tokens) -> str:
    digest = hashlib.sha256()
    for part in (FORMAT, tokenizers.__version__, tokenizer.to_json(), config.model_dump_json()):
        digest.update(part.encode())
    for column in (texts, pairs):
        digest.update(b"\x01" if column is not None else b"\x00")
        for text in column or ():
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
    return digest.hexdigest()


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
