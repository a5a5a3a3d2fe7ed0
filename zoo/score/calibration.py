"""Whether a model is as often right as it says: reliability by bins, expected calibration error, Brier score.

In come probabilities `[rows, classes]` and labels `[rows] int`; out come plain numbers and arrays. Judged is the most
probable class, so a tuned threshold does not matter here. Refused: no rows (ValueError).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BINS", "Reliability", "brier_score", "reliability"]

Floats = NDArray[np.float64]

BINS = 15
"""Bins of equal width over 0 to 1, as in Guo et al. 2017."""


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Rows by how sure the model was of them.

    edges `[bins + 1]`; rows `[bins]`: how many; confidence and accuracy `[bins]`: their mean probability and the share
    that was right, NaN in an empty bin; error: the expected calibration error, 0 to 1.
    """

    edges: Floats
    rows: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats
    error: float


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = BINS) -> Reliability:
    """Rows binned by the probability of their most probable class, a bin being (low, high].

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2: the error is the mean distance
    of accuracy and confidence over the bins, weighted with their rows. Raises ValueError for no rows.
    """
    shares, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if not len(truth):
        raise ValueError("there is no row to bin")
    sure, right = shares.max(axis=1), shares.argmax(axis=1) == truth
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, sure, side="left") - 1, 0, bins - 1)
    rows = np.bincount(place, minlength=bins)
    held = np.where(rows, rows, np.nan)
    confidence = np.bincount(place, sure, bins) / held
    accuracy = np.bincount(place, right, bins) / held
    error = float(np.nansum(rows / len(truth) * np.abs(accuracy - confidence)))
    return Reliability(edges=edges, rows=rows, confidence=confidence, accuracy=accuracy, error=error)


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance of the probabilities from what came true.

    With two classes that of class 1, 0 to 1; with more the sum over the classes, 0 to 2, as Brier 1950 has it.
    """
    shares, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    squares = np.square(shares - np.eye(shares.shape[1])[truth]).sum(axis=1)
    return float(squares.mean()) / (2.0 if shares.shape[1] == 2 else 1.0)
