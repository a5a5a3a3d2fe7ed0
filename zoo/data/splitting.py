"""Drawing rows: which go to test, to validation, or beneath a limit.

In come strata (class numbers, for instance), how many rows are wanted and the recipe's seed; out come row numbers. The
draws sort the raw output of NumPy's PCG64, whose stream is guaranteed, so they are the same on every machine and
backend.
Nothing is refused.
"""

from __future__ import annotations

import numpy as np

STREAMS = (
    *("test", "train limit", "validation", "validation limit", "test limit", "order"),
    *("few train", "few validation", "folds"),
)
"""Another one is added at the end: its number is part of what is drawn."""


def shuffled(rows: int, seed: int, stream: str) -> np.ndarray:
    """The numbers 0 to rows - 1 in an order drawn from the seed; each purpose has a stream of its own, [rows] int64."""
    bits = np.random.PCG64(np.random.SeedSequence([seed, STREAMS.index(stream)]))
    return np.argsort(bits.random_raw(rows), kind="stable")


def draw(
    strata: np.ndarray, wanted: int, seed: int, stream: str, *, stratify: bool, least: int = 1, leave: int = 0
) -> np.ndarray:
    """Which rows are drawn, [rows] bool.

    Args:
        strata: by what rows are drawn in proportion, a number from 0 a row, [rows].
        wanted: rows to draw.
        seed: the recipe's seed.
        stream: what the draw is for, one of STREAMS.
        stratify: draw from each stratum in proportion.
        least: with `stratify`, rows of each stratum that are drawn at least, above `wanted` where it has to be.
        leave: with `stratify`, rows of each stratum that stay behind.
    """
    order = shuffled(len(strata), seed, stream)
    taken = np.zeros(len(strata), bool)
    if not stratify:
        taken[order[:wanted]] = True
        return taken
    share = shares(np.bincount(strata), wanted, leave, least)
    drawn = strata[order]
    for number, rows in enumerate(share):
        taken[order[drawn == number][:rows]] = True
    return taken


def few(strata: np.ndarray, wanted: int, number: int, seed: int, stream: str) -> np.ndarray:
    """Which rows are drawn of each stratum, `wanted` or all that there are: [rows] bool.

    Args:
        strata, seed, stream: see `draw`.
        wanted: rows to draw of each stratum.
        number: of the draw, from 0. Draws follow each other along one order of a stratum's rows, and around: they have
            other rows until all have come.
    """
    order = shuffled(len(strata), seed, stream)
    taken = np.zeros(len(strata), bool)
    for stratum in np.unique(strata):
        own = order[strata[order] == stratum]
        count = min(wanted, len(own))
        taken[own[(number * count + np.arange(count)) % len(own)]] = True
    return taken


def folded(strata: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each row, from 0, [rows] int64: folds differ by one row at most, and so do the rows that they have of
    each stratum."""
    order = shuffled(len(strata), seed, "folds")
    found = np.empty(len(strata), np.int64)
    # Dealt out stratum by stratum, each going on where the one before has ended.
    found[order[np.argsort(strata[order], kind="stable")]] = np.arange(len(strata)) % folds
    return found


def shares(counts: np.ndarray, wanted: int, leave: int = 0, least: int = 1) -> np.ndarray:
    """Rows to draw of each stratum: in proportion, by the largest remainder, at least `least`, [strata] int64."""
    most: np.ndarray = np.maximum(counts - leave, 0)
    exact = counts * (wanted / counts.sum())
    fewest = np.minimum(least, most)
    taken: np.ndarray = np.clip(np.floor(exact).astype(np.int64), fewest, most)
    # Once round gives the remainders out; a second round is for strata that the bounds above kept small.
    for number in np.tile(np.argsort(np.floor(exact) - exact, kind="stable"), 2):
        if taken.sum() < wanted and taken[number] < most[number]:
            taken[number] += 1
    while taken.sum() > max(wanted, fewest.sum()):
        taken[np.argmax(taken)] -= 1
    return taken
