"""How many rows of each task, or of each class, an epoch has, and which.

In come the task or the class of each row, what the recipe says of their number, and a seed; out come row numbers,
drawn by NumPy's PCG64 from seed and epoch alone, the same on every backend and for a run that goes on. Nothing is
refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zoo.recipe.learning import Resample
from zoo.recipe.several import Sampling, Temperature

__all__ = ["rows_by_class", "rows_by_task", "rows_of_epoch"]

STREAM = 7
"""Tells these draws from others of the same seed."""


def rows_by_task(counts: NDArray[np.int64], sampling: Sampling) -> NDArray[np.int64]:
    """Rows that each task has in an epoch, as many together as there are rows, [tasks].

    In proportion to the root of each task's rows that the temperature says: all alike for a temperature without end,
    as `equal` has it.
    """
    if isinstance(sampling, Temperature):
        wanted = counts ** (1.0 / sampling.temperature)
    else:
        wanted = counts.astype(float) if sampling.type == "proportional" else np.ones(len(counts))
    exact = wanted / wanted.sum() * counts.sum()
    found: NDArray[np.int64] = np.maximum(np.floor(exact), 1).astype(np.int64)
    for number in np.argsort(np.floor(exact) - exact, kind="stable"):
        if found.sum() < counts.sum():
            found[number] += 1
    return found


def rows_by_class(counts: NDArray[np.int64], resample: Resample) -> NDArray[np.int64]:
    """Rows that each class has in an epoch, [classes]: as many as the largest has, or of `under` the smallest, and with
    a temperature that times the root of how much smaller, or larger, the class is; none of a class without rows."""
    there = counts > 0
    alike = counts.max() if resample.type == "over" else counts[there].min()
    power = 0.0 if resample.temperature is None else 1.0 / resample.temperature
    exact: NDArray[np.float64] = alike * (counts[there] / alike) ** power
    found = np.zeros(len(counts), np.int64)
    found[there] = np.maximum(np.rint(exact), 1)
    return found


def rows_of_epoch(
    groups: NDArray[np.int64], sampling: Sampling | Resample, *, seed: int, epoch: int
) -> NDArray[np.int64]:
    """The numbers of an epoch's rows, those of one task after those of another.

    Each task, or class, goes through its rows in a drawn order, and through all of them before one comes again, over
    the epochs.

    Args:
        groups: the task or the class of each row, by number, [rows]; each task has one row at least.
        sampling: of the recipe.
        seed: of the recipe; epoch: counted from 0.
    """
    counts = np.bincount(groups)
    chosen = []
    by_group = rows_by_class(counts, sampling) if isinstance(sampling, Resample) else rows_by_task(counts, sampling)
    for task, wanted in enumerate(by_group):
        if not wanted:
            continue
        rows = np.flatnonzero(groups == task)
        places = np.arange(epoch * wanted, (epoch + 1) * wanted)
        turns = np.unique(places // len(rows))
        orders = {turn: _order(len(rows), seed, task, turn) for turn in turns.tolist()}
        of_turns = (orders[turn][places[places // len(rows) == turn] % len(rows)] for turn in orders)
        chosen.append(rows[np.concatenate(list(of_turns))])
    return np.concatenate(chosen)


def _order(rows: int, seed: int, task: int, turn: int) -> NDArray[np.int64]:
    """In which order a task's rows are gone through for the turn-th time."""
    bits = np.random.PCG64(np.random.SeedSequence([seed, STREAM, task, turn]))
    found: NDArray[np.int64] = np.argsort(bits.random_raw(rows), kind="stable")
    return found
