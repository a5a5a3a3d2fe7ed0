"""Drawing rows: which go to test, to validation, or beneath a limit.

In come class numbers, how many rows are wanted and the recipe's seed; out come row numbers. The draws sort the
raw output of NumPy's PCG64, whose stream is guaranteed, so they are the same on every machine and backend.
Refused: a class with too few rows to stand in every part.
"""

from __future__ import annotations

import numpy as np

from zoo.errors import DataError

STREAMS = ("test", "train limit", "validation", "validation limit", "test limit", "order")


def shuffled(rows: int, seed: int, stream: str) -> np.ndarray:
    """The numbers 0 to rows - 1 in an order drawn from the seed; each purpose has a stream of its own, [rows] int64."""
    bits = np.random.PCG64(np.random.SeedSequence([seed, STREAMS.index(stream)]))
    return np.argsort(bits.random_raw(rows), kind="stable")


def draw(labels: np.ndarray, wanted: int, seed: int, stream: str, *, stratify: bool, leave: int = 0) -> np.ndarray:
    """Which rows are drawn, [rows] bool.

    Args:
        labels: class number of each row, [rows] int32.
        wanted: rows to draw; with `stratify` at least one a class is drawn.
        seed: the recipe's seed.
        stream: what the draw is for, one of STREAMS.
        stratify: draw from each class in proportion.
        leave: with `stratify`, rows of each class that stay behind.
    """
    order = shuffled(len(labels), seed, stream)
    taken = np.zeros(len(labels), bool)
    if not stratify:
        taken[order[:wanted]] = True
        return taken
    share = shares(np.bincount(labels), wanted, leave)
    drawn = labels[order]
    for number, rows in enumerate(share):
        taken[order[drawn == number][:rows]] = True
    return taken


def shares(counts: np.ndarray, wanted: int, leave: int = 0) -> np.ndarray:
    """Rows to draw of each class: in proportion, by the largest remainder, at least one of each, [classes] int64."""
    most: np.ndarray = np.maximum(counts - leave, 0)
    exact = counts * (wanted / counts.sum())
    taken: np.ndarray = np.clip(np.floor(exact).astype(np.int64), most > 0, most)
    # Once round gives the remainders out; a second round is for classes that the bounds above kept small.
    for number in np.tile(np.argsort(np.floor(exact) - exact, kind="stable"), 2):
        if taken.sum() < wanted and taken[number] < most[number]:
            taken[number] += 1
    while taken.sum() > max(wanted, np.count_nonzero(most)):
        taken[np.argmax(taken)] -= 1
    return taken


def refuse_small_classes(labels: np.ndarray, names: tuple[str, ...], parts: tuple[str, ...]) -> None:
    """DataError where a class has too few rows to stand in train and in each of the carved `parts`."""
    needed = len(parts) + 1
    counts = np.bincount(labels, minlength=len(names))
    few = [f"{names[number]} ({count})" for number, count in enumerate(counts) if count < needed]
    if few and parts:
        more = f" and {len(few) - 8} more" if len(few) > 8 else ""
        raise DataError(
            f"label: too few rows to keep every class in train and in {' and '.join(parts)}: "
            f"{', '.join(few[:8])}{more}, expected at least {needed} of each; "
            f"add rows, or set data.{parts[0]}.stratify=false"
        )
