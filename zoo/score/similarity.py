"""How well embeddings tell classes apart, by the cosines of all pairs of rows.

In come embeddings of length 1 and class numbers; out come cosines and figures. Sums over pairs are computed from sums
over rows, so that no array has rows by rows. Nothing is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["evaluate", "to_classes"]

Floats = NDArray[np.float64]
ALONE = -1.0
"""The cosine to a class that has no other row: the lowest."""


def to_classes(embeddings: Floats, classes: NDArray[np.integer], count: int) -> Floats:
    """The cosine of each row to the mean of the other rows of each class, [rows, count].

    Args:
        embeddings: [rows, hidden] of length 1.
        classes: [rows], from 0.
        count: of classes.
    """
    own = np.eye(count)[classes]
    sums = own.T @ embeddings
    # The sum of its own class without the row itself, and the length of that.
    products = embeddings @ sums.T
    selves = own * np.square(embeddings).sum(axis=1, keepdims=True)
    squares = np.square(sums).sum(axis=1) - 2.0 * own * products + selves
    lengths = np.sqrt(np.maximum(squares, 0.0))
    others = np.bincount(classes, minlength=count) - own
    there = (others > 0) & (lengths > 0)
    return np.where(there, (products - selves) / np.where(there, lengths, 1.0), ALONE)


def evaluate(embeddings: Floats, classes: NDArray[np.integer], count: int) -> dict[str, float]:
    """Figures of a split.

    accuracy: share of rows that are nearest to their own class, see `to_classes`. same_cosine, other_cosine: mean over
    all pairs of rows of one class, and of two. loss: mean squared difference of the cosine from 1 over the first, and
    from 0 over the second, and of both the mean. What there are no pairs for is left out.
    """
    found: dict[str, float] = {"rows": len(embeddings)}
    if not len(embeddings):
        return found
    found["accuracy"] = float((to_classes(embeddings, classes, count).argmax(axis=1) == classes).mean())
    cosines, squares = _sums(embeddings)
    pairs, same_pairs, same_cosines, same_squares = len(embeddings) ** 2, 0, 0.0, 0.0
    for number in np.unique(classes):
        rows = embeddings[classes == number]
        sums = _sums(rows)
        same_pairs, same_cosines, same_squares = (
            same_pairs + len(rows) ** 2,
            same_cosines + sums[0],
            same_squares + sums[1],
        )
    lengths = np.square(embeddings).sum(axis=1)  # each row beside itself is no pair
    losses = []
    if other_pairs := pairs - same_pairs:
        found["other_cosine"] = (cosines - same_cosines) / other_pairs
        losses.append((squares - same_squares) / other_pairs)
    if same_pairs := same_pairs - len(embeddings):
        mean = (same_cosines - float(lengths.sum())) / same_pairs
        found["same_cosine"] = mean
        losses.append(1.0 - 2.0 * mean + (same_squares - float(np.square(lengths).sum())) / same_pairs)
    if losses:
        found["loss"] = max(0.0, sum(losses) / len(losses))
    return found


def _sums(embeddings: Floats) -> tuple[float, float]:
    """Over all pairs of rows, each with itself too: of the cosine, and of its square."""
    return (
        float(np.square(embeddings.sum(axis=0)).sum()),
        float(np.square(embeddings.T @ embeddings).sum()),
    )
