"""Batches in which rows have others of their class beside them.

In come the classes of rows and a seed; out come row numbers by batch, drawn by NumPy's PCG64 from seed and epoch alone,
the same on every backend and for a run that goes on. Lengths do not count: else a row would never meet those of other
lengths. Nothing is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["coupled_order"]


def coupled_order(
    classes: NDArray[np.integer], *, repeats: int, batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Which rows each step of an epoch takes: every row `repeats` times, two by two with one of its class.

    Args:
        classes: of the rows, [rows].
        repeats: how often each row comes; all rows have come before one comes again.
        batch_size: rows a step, the last one has what is left.
        seed, epoch: what is drawn from.
    """
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    turns = [_turn(classes, random) for _ in range(repeats)]
    rows = np.concatenate(turns)
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def _turn(classes: NDArray[np.integer], random: np.random.Generator) -> NDArray[np.int64]:
    """Every row once, beside one of its class where there is another; of an odd class one row is alone."""
    couples: list[NDArray[np.int64]] = []
    for number in np.unique(classes):
        rows = random.permutation(np.flatnonzero(classes == number))
        couples += [rows[start : start + 2] for start in range(0, len(rows), 2)]
    return np.concatenate([couples[place] for place in random.permutation(len(couples))])
