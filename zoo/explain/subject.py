"""One text as a model sees it: what explanations are of.

In comes a text, or a pair, and a run; out come its token ids, the words that they stand for, and the probability of a
class where some of the tokens are others or away. Refused, as DataError: a text without a token; as RecipeError: a
class that the run does not have, and runs with an answer for every token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from zoo.data.tokens import Piece, TokenTable
from zoo.data.words import words
from zoo.errors import DataError, RecipeError
from zoo.models import inference
from zoo.models.opened import Opened
from zoo.recipe.faults import not_among

if TYPE_CHECKING:
    from zoo.runs.run import Run

TOKENS_AT_ONCE = 2048
"""Tokens that are computed together, at most: what bounds the memory."""
ROWS_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Span:
    """Characters `start` to `end` of the text, or with `of` of the second text of a pair."""

    start: int
    end: int
    of: Literal["text", "pair"] = "text"


class Subject:
    """A text, and the class whose probability is explained.

    pieces: the row's tokens, with their places. spans: the words of which the model sees at least a part, in order.
    parts [words, length]: which share of a token's characters lies in a word. unseen: words that are cut off. label:
    the class that is explained; predicted: what the run answers to the text.
    """

    def __init__(self, run: Run, text: str, pair: str | None, label: str | None) -> None:
        for given in (text,) if pair is None else (text, pair):
            if not isinstance(given, str):
                raise DataError(f"got {given!r:.60}, expected a string: give one text at a time")
            if not given.strip():
                raise DataError("the text is empty, expected some words: give a text with at least one")
        if run.task.each == "token":
            raise RecipeError(
                f"zoo.explain: got a run of task: {run.task.type}, which answers for every token, expected one with an "
                "answer for the text: zoo.predict tells its answers, and how sure it is of each"
            )
        self.text, self.pair = text, pair
        card, self._tokenizer = run.card, run.tokenizer
        self._task = run.task
        if self._tokenizer.encode([text], None if pair is None else [pair], card.tokens).windowed:
            raise DataError(
                f"the text is longer than one window of {card.tokens.max_length} tokens, and its answer is pooled over "
                "several: give a part of it"
            )
        self.pieces: tuple[Piece, ...] = tuple(self._tokenizer.row(text, pair, card.tokens))
        if all(piece.of is None for piece in self.pieces):
            raise DataError(f"{text!r:.60} has no token in this vocabulary: give a text with words or signs")
        self.ids = np.array([piece.id for piece in self.pieces], np.int32)
        self.second = sum(piece.segment == 0 for piece in self.pieces)
        self.spans, self.parts = _words(text, pair, self.pieces)
        cut = len(self.pieces) >= card.tokens.max_length
        self.unseen = len(words(text)) + len(words(pair or "")) - len(self.spans) if cut else 0
        names = run.task.names
        if label is not None and label not in names:
            raise RecipeError(f"label: {not_among(label, names)}")
        self.opened: Opened = run.opened
        shares = self._task.values(self.logits([np.ones(len(self), bool)]))
        self.probabilities = dict(zip(names, map(float, shares[0]), strict=True))
        self.predicted = self._task.predictions(shares)[0].told()[0]
        self.label = names[int(self._task.foremost(shares)[0])] if label is None else label
        self.target = names.index(self.label)

    def __len__(self) -> int:
        """Tokens in the row, with those that frame it."""
        return len(self.ids)

    @property
    def framing(self) -> np.ndarray:
        """Which tokens stand for no part of a text, [length] bool."""
        return np.array([piece.of is None for piece in self.pieces])

    @property
    def shown(self) -> tuple[str, ...]:
        """Each token as people read it: its characters in the text, or the vocabulary's own word for it."""
        texts = {"text": self.text, "pair": self.pair or ""}
        names = self._tokenizer.pieces([piece.id for piece in self.pieces])
        return tuple(
            (texts[piece.of][piece.start : piece.end].strip() or name) if piece.of else name
            for piece, name in zip(self.pieces, names, strict=True)
        )

    @property
    def blank(self) -> int:
        """The id that stands in for a word."""
        return self._tokenizer.blank

    @property
    def pad(self) -> int:
        """The id that holds no token."""
        return self._tokenizer.specials.pad

    @property
    def weights(self) -> np.ndarray:
        """By what the logits are multiplied to get the one of the class, [units] float32."""
        return self._task.direction(self.target)

    def words_of(self, spans: Sequence[Span]) -> list[str]:
        """The characters of these places."""
        return [(self.pair or "" if span.of == "pair" else self.text)[span.start : span.end] for span in spans]

    def inputs(self, rows: int) -> dict[str, np.ndarray]:
        """token_ids, padding_mask and segment_ids of the text, the same in so many rows, [rows, length] int32."""
        one = {
            "token_ids": self.ids,
            "padding_mask": np.ones(len(self), np.int32),
            "segment_ids": np.array([piece.segment for piece in self.pieces], np.int32),
        }
        return {name: np.repeat(value[None], rows, axis=0) for name, value in one.items()}

    def logits(self, kept: Sequence[np.ndarray], ids: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """Logits [rows, units] float32 of the model where it gets other tokens.

        Args:
            kept: which tokens are there, each [length] bool; the others are taken out, and the row is shorter.
            ids: what the tokens are, each [length] int32; None leaves them as they are.
        """
        ids = [self.ids] * len(kept) if ids is None else ids
        sizes = [int(mask.sum()) for mask in kept]
        table = TokenTable(
            ids=np.concatenate([row[mask] for row, mask in zip(ids, kept, strict=True)]),
            offsets=np.concatenate([[0], np.cumsum(sizes)]),
            second=np.array([mask[: self.second].sum() for mask in kept], np.int32),
            full=np.array(sizes, np.int32),
            owners=np.arange(len(sizes), dtype=np.int32),
            pad=self.pad,
        )
        return inference.logits(
            self.opened.predict,
            table,
            names=inference.input_names(self.opened.model),
            batch_size=self.rows_at_once,
            lengths=[len(self)],  # one shape for all: a compiler sees it once
        )

    def probability(self, kept: Sequence[np.ndarray], ids: Sequence[np.ndarray] | None = None) -> np.ndarray:
        """The class's probability, [rows] float64; see `logits`."""
        return self._task.values(self.logits(kept, ids))[:, self.target]

    @cached_property
    def rows_at_once(self) -> int:
        """Rows of this length that are computed together, a power of two."""
        return 1 << (max(1, min(ROWS_AT_ONCE, TOKENS_AT_ONCE // len(self))).bit_length() - 1)


def _words(text: str, pair: str | None, pieces: Sequence[Piece]) -> tuple[tuple[Span, ...], np.ndarray]:
    """The words that tokens are part of, and `parts`."""
    spans = [Span(start=start, end=end) for start, end in words(text)]
    spans += [Span(start=start, end=end, of="pair") for start, end in words(pair or "")]
    parts = np.zeros((len(spans), len(pieces)))
    for column, piece in enumerate(pieces):
        if piece.of is None or piece.start is None or piece.end is None:
            continue
        for row, span in enumerate(spans):
            if span.of == piece.of:
                parts[row, column] = max(0, min(span.end, piece.end) - max(span.start, piece.start))
    parts /= np.maximum(parts.sum(axis=0), 1.0)  # a token without a character, as of a space alone, is of no word
    seen = np.flatnonzero(parts.any(axis=1))
    return tuple(spans[number] for number in seen), parts[seen]
