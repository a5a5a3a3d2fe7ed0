"""Labels as transformers takes them -> targets as the zoo's tasks take them; NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from zoo.data.masking import NOTHING, PLACES, TARGETS
from zoo.tasks.losses import END, START

__all__ = ["hidden", "spans", "targets_of"]


def hidden(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Where a token is to be told, and which: inputs of a masked language model, each [rows, places] int32.

    Args:
        labels: ids [rows, length], negative where none is to be told.
    """
    rows = [np.flatnonzero(row >= 0) for row in labels]
    shape = (len(rows), max(map(len, rows)))
    found = {PLACES: np.zeros(shape, np.int32), TARGETS: np.full(shape, NOTHING, np.int32)}
    for row, places in enumerate(rows):
        found[PLACES][row, : len(places)], found[TARGETS][row, : len(places)] = places, labels[row, places]
    return found


def spans(starts: np.ndarray, ends: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The bits of tokens at which answers start and end, [rows, length] int32.

    Args:
        starts, ends: the first and the last token of each answer, [rows].
        shape: rows and length.
    """
    found = np.zeros(shape, np.int32)
    for places, bit in ((starts, START), (ends, END)):
        found[np.arange(len(found)), places] += bit
    return found


def targets_of(batch: Mapping[str, np.ndarray], task: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What a task's inputs are beside the tokens, and its targets; batch: from reference.py."""
    if task == "masked":
        found = hidden(batch["labels"])
        return {PLACES: found[PLACES]}, found[TARGETS]
    if task == "span":
        return {}, spans(batch["start_positions"], batch["end_positions"], batch["token_ids"].shape)
    return {}, np.maximum(batch["labels"], NOTHING)
