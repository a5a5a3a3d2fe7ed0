"""Which thresholds validation may decide: those that enough rows on both sides of them speak for.

In come flags of validation's rows; out come which classes have enough, and what is told of the others. Nothing is
refused. Thresholds are tuned for F1 alone: where one class is rare, the best accuracy is often that of never naming it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.recipe.showing import listed

__all__ = ["FEWEST", "enough", "left_alone"]

FEWEST = 20
"""Rows of validation with a class, and rows without it, below which its threshold is not tuned. F1 over fewer moves by
more from one draw of them to another than a threshold could win."""


def enough(flags: ArrayLike) -> NDArray[np.bool_]:
    """Whether there are FEWEST rows at least with each class, and without it: [names], or one value.

    Args:
        flags: 1 or true for the rows that have it, [rows, names] or [rows].
    """
    there = np.asarray(flags, bool).sum(axis=0)
    found: NDArray[np.bool_] = (there >= FEWEST) & (len(np.asarray(flags)) - there >= FEWEST)
    return found


def left_alone(what: Sequence[str], default: str) -> str:
    """That thresholds of these were not tuned."""
    each = "it" if len(what) == 1 else "each"
    return (
        f"the threshold of {listed(what)} stays at {default}: to tune it, validation has to have {FEWEST} rows with "
        f"{each} and as many without"
    )
