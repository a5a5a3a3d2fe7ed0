"""The rows of all splits one after the other, for what is looked at across them.

In come the splits; out come texts and classes in one order, and of each row by its number where it stands. Nothing is
refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zoo.data.dataset import SPLITS, Dataset, Split
from zoo.data.near import Alike
from zoo.tasks import Task

__all__ = ["Together"]


@dataclass(frozen=True, kw_only=True)
class Together:
    """Rows of train, then of validation, then of test, without changed copies."""

    task: Task
    splits: dict[str, Split]

    @classmethod
    def of(cls, data: Dataset) -> Together:
        """Those of a data set of one task."""
        rows = data.without_copies()
        return cls(task=data.task, splits={name: getattr(rows, name) for name in SPLITS})

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each split."""
        return {name: len(split) for name, split in self.splits.items()}

    @cached_property
    def split_numbers(self) -> NDArray[np.int64]:
        """The number in SPLITS of each row's split, [rows]."""
        return np.repeat(np.arange(len(SPLITS)), list(self.rows.values()))

    @cached_property
    def texts(self) -> list[str]:
        """First text of each row."""
        return [text for split in self.splits.values() for text in split.texts]

    @cached_property
    def pairs(self) -> list[str] | None:
        """Second text of each row; None where rows have one."""
        if self.splits["train"].pairs is None:
            return None
        return [text for split in self.splits.values() for text in split.pairs or ()]

    @cached_property
    def whole(self) -> list[str]:
        """All that each row has to read: of pairs both texts, a line each."""
        if self.pairs is None:
            return self.texts
        return [f"{first}\n{second}" for first, second in zip(self.texts, self.pairs, strict=True)]

    @cached_property
    def classes(self) -> NDArray[np.bool_] | None:
        """Which classes each row has, [rows, names]; None where labels are none."""
        if self.task.exclusive is None:
            return None
        return np.concatenate([self.task.memberships(split.labels) for split in self.splits.values()])

    def contradicting(self, alike: Alike) -> bool:
        """Whether near duplicates have different classes."""
        return self.classes is not None and len(np.unique(self.classes[list(alike.rows)], axis=0)) > 1

    def at(self, row: int) -> tuple[Split, int]:
        """The split of a row, and its number there."""
        number = int(self.split_numbers[row])
        return self.splits[SPLITS[number]], row - sum(list(self.rows.values())[:number])

    def split(self, row: int) -> str:
        """The name of a row's split."""
        return SPLITS[int(self.split_numbers[row])]

    def id(self, row: int) -> str:
        """As predictions.jsonl has it."""
        split, own = self.at(row)
        return split.ids[own]

    def place(self, row: int) -> str:
        """Where people find it."""
        split, own = self.at(row)
        return split.place(own)
