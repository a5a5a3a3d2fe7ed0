"""Rows of one split, as all that follows takes them: texts, targets and ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.strings import Strings
from zoo.data.tables import places
from zoo.score.ragged import Ragged

__all__ = ["SPLITS", "Split"]

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, repr=False)
class Split:
    """Rows of one split.

    texts: [rows], the first text of each row.
    pairs: [rows], the second text, or None where rows have one.
    labels: the targets, [rows] int32 class numbers or as the task has them: an array [rows, ...], a `Ragged`, or a
    class of the task's own that has rows as these do (a length, rows by number, mask or numbers, and `tobytes`).
    ids: [rows], split and row number in the file it came from, counted from 0, as in train/123.
    path: that file. lines: [rows] int64, where each row begins in it, as `zoo.data.tables.place` takes it; None both
    where the rows are of several files.
    words: first and one past the last character of each word of the texts, [words, 2] int32; None where the task has no
    use for words.
    weights: by how much each row counts in the loss, [rows] float64 above 0; None counts all alike.
    """

    texts: Strings
    pairs: Strings | None
    labels: Any
    ids: Strings
    path: Path | None
    lines: np.ndarray | None
    words: Ragged | None = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"Split({len(self):,} rows)"

    def take(self, chosen: np.ndarray) -> Split:
        """The rows of a mask, in their order, or of row numbers, in theirs."""
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return Split(
            texts=self.texts.take(rows),
            pairs=None if self.pairs is None else self.pairs.take(rows),
            labels=self.labels[rows],
            ids=self.ids.take(rows),
            words=None if self.words is None else self.words[rows],
            weights=None if self.weights is None else self.weights[rows],
            path=self.path,
            lines=None if self.lines is None else self.lines[rows],
        )

    def place(self, row: int) -> str:
        """Where people find a row, by its number."""
        assert self.path is not None
        assert self.lines is not None
        return f"{self.path}: {places(self.path, self.lines[row : row + 1].tolist())}"
