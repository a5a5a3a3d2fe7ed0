"""The rows of several tasks as those of one data set, whose task is all of them.

In come the splits of each task, as its own recipe has them; out come splits with the rows of one task after those of
another, their ids beginning with its name, as in imdb/train/3. Refused: single texts beside pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zoo.data.identity import standing_in
from zoo.data.split import SPLITS, Split
from zoo.data.strings import Strings
from zoo.errors import RecipeError
from zoo.tasks import Joint, Task

__all__ = ["MIXED", "Rows", "joined"]

MIXED = "single texts beside pairs, expected one of the two in all tasks: they share a batch"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What a recipe's rows come to: train, validation and test by name, the task, warnings, and how many rows of train
    are changed copies."""

    splits: Mapping[str, Split]
    task: Task
    notes: Sequence[str]
    copies: int


def joined(parts: Mapping[str, Rows], weights: Mapping[str, float]) -> Rows:
    """The rows of several tasks together.

    Args:
        parts: by the name of the task.
        weights: how much a row of each counts in the loss.
    """
    task = Joint(tasks={name: part.task for name, part in parts.items()}, weights=dict(weights))
    splits = {split: _together(task, {name: part.splits[split] for name, part in parts.items()}) for split in SPLITS}
    notes = [f"{name}: {note}" for name, part in parts.items() for note in part.notes]
    copies = sum(part.copies for part in parts.values())
    return Rows(splits=splits, task=task, notes=(*notes, *_shared(parts)), copies=copies)


def _together(task: Joint, parts: Mapping[str, Split]) -> Split:
    each = list(parts.values())
    pairs = [part.pairs for part in each if part.pairs is not None]
    if pairs and len(pairs) < len(each):
        raise RecipeError(f"tasks: got {MIXED}")
    return replace(
        each[0],
        texts=Strings.joined([part.texts for part in each]),
        pairs=Strings.joined(pairs) if pairs else None,
        labels=task.together({name: part.labels for name, part in parts.items()}),
        ids=Strings.of(f"{name}/{key}" for name, part in parts.items() for key in part.ids),
        path=None,
        lines=None,
        weights=_weights(each),
    )


def _weights(parts: Sequence[Split]) -> np.ndarray | None:
    """By how much each row counts, all alike in tasks that do not say."""
    if all(part.weights is None for part in parts):
        return None
    return np.concatenate([np.ones(len(part)) if part.weights is None else part.weights for part in parts])


def _shared(parts: Mapping[str, Rows]) -> list[str]:
    """A note where rows that one task is tested on are trained on by another."""
    notes = []
    for name, part in parts.items():
        for other, beside in parts.items():
            if other == name:
                continue
            others = [beside.splits[split] for split in ("train", "validation")]
            if count := np.count_nonzero(standing_in(part.splits["test"], others)):
                notes.append(f"{name}: {count} rows of test also stand in train or validation of {other}")
    return notes
