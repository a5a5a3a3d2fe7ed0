"""Figures of a model that gives a text any number of classes, with NumPy and scikit-learn alone.

In come probabilities `[rows, names]`, one of each class by itself, and targets `[rows, names]`, 1 where the class is
the row's and 0 elsewhere. Out come decisions, thresholds and plain Python numbers, ready for JSON.

Refused: no rows, targets other than 0 and 1, arrays of different shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.errors import DataError, ZooError
from zoo.score.metrics import majority_share, tune_threshold, wilson_interval

__all__ = ["class_table", "decided", "evaluate", "tune_thresholds"]

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def decided(probabilities: Floats, thresholds: Sequence[float]) -> Labels:
    """Classes `[rows, names] int64`: 1 where the probability is at least the threshold (0 to 1) of its column, else 0.

    Raises ZooError unless there is one threshold a column.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != len(thresholds):
        raise ZooError(
            f"probabilities have the shape {list(probabilities.shape)}, expected [rows, {len(thresholds)}]: "
            "a column a threshold"
        )
    return np.asarray(probabilities >= np.asarray(thresholds), dtype=np.int64)


def evaluate(
    probabilities: Floats, targets: ArrayLike, names: Sequence[str], thresholds: Sequence[float]
) -> dict[str, float]:
    """The figures of one split, each a plain number.

    `rows`; `accuracy`, the share of rows whose whole set of classes is right, with `accuracy_low` and `accuracy_high`
    (95% Wilson interval); `majority_share`, of the commonest set; `f1`, `precision` and `recall`, macro averages over
    the classes that occur in the targets or the predictions; `micro_f1`, of all decisions taken together; `samples_f1`,
    the mean of the rows' own; `label_ranking_average_precision` (Tsoumakas et al. 2010); `hamming_loss`, the share of
    decisions that are wrong; `loss`, the mean binary cross-entropy of rows and classes in nats; where some class has
    rows with and without it, also `roc_auc` and `average_precision`, macro averages over such classes.

    A ratio whose denominator is 0 counts as 0, but a row with neither true nor predicted classes is right: its
    `samples_f1` counts as 1, and so does the ranking of a row without true classes.

    Raises DataError for no rows or a target other than 0 and 1, ZooError when the shapes disagree.
    """
    from sklearn.metrics import (
        average_precision_score,
        f1_score,
        hamming_loss,
        label_ranking_average_precision_score,
        roc_auc_score,
    )

    truth = _checked(probabilities, targets, names)
    predicted = decided(probabilities, thresholds)
    rows = len(truth)
    correct = int((truth == predicted).all(axis=1).sum())
    low, high = wilson_interval(correct, rows)
    occurs = (truth | predicted).any(axis=0)
    # [figure, class]: precision, recall, F1.
    by_class = np.stack(_by_class(truth, predicted)[:3])
    macro = by_class[:, occurs].mean(axis=1) if occurs.any() else np.zeros(3)
    figures = {
        "rows": rows,
        "accuracy": correct / rows,
        "accuracy_low": low,
        "accuracy_high": high,
        "majority_share": majority_share(truth),
        "f1": float(macro[2]),
        "precision": float(macro[0]),
        "recall": float(macro[1]),
        "micro_f1": float(f1_score(truth.ravel(), predicted.ravel(), zero_division=0.0)),
        "samples_f1": float(f1_score(_wide(truth), _wide(predicted), average="samples", zero_division=1.0)),
        "label_ranking_average_precision": float(label_ranking_average_precision_score(truth, probabilities)),
        "hamming_loss": float(hamming_loss(truth.ravel(), predicted.ravel())),
        "loss": _cross_entropy(probabilities, truth),
    }
    mixed = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
    for name, area in (("roc_auc", roc_auc_score), ("average_precision", average_precision_score)):
        if mixed.size:
            figures[name] = float(np.mean([area(truth[:, column], probabilities[:, column]) for column in mixed]))
    return figures


def tune_thresholds(probabilities: Floats, targets: ArrayLike) -> tuple[float, ...]:
    """For each class, in order, the threshold (0 to 1) with the best F1 of that class: `metrics.tune_threshold`.

    `probabilities` and `targets` are `[rows, names]` of a validation split, never of the test split. A class that no
    row has gets 0.5. Raises as `evaluate` does.
    """
    truth = _checked(probabilities, targets, [str(column) for column in range(probabilities.shape[-1])])
    return tuple(
        tune_threshold(np.stack([1 - scores, scores], axis=1), column)
        for scores, column in zip(probabilities.T, truth.T, strict=True)
    )


def class_table(targets: ArrayLike, predicted: ArrayLike, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a class, in class order: label, precision, recall, f1, rows (true), predicted (times).

    `targets` and `predicted` are `[rows, names]` of 0 and 1. A ratio whose denominator is 0 counts as 0.
    """
    truth, guess = np.asarray(targets, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    columns = zip(names, *_by_class(truth, guess), guess.sum(axis=0), strict=True)
    return [
        {
            "label": name,
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
            "rows": int(rows),
            "predicted": int(times),
        }
        for name, precision, recall, f1, rows, times in columns
    ]


def _by_class(truth: Labels, predicted: Labels) -> tuple[Any, Any, Any, Any]:
    """Precision, recall, F1 and true rows, each `[names]`."""
    from sklearn.metrics import precision_recall_fscore_support

    classes = list(range(truth.shape[1]))
    found: tuple[Any, Any, Any, Any] = precision_recall_fscore_support(
        _wide(truth), _wide(predicted), labels=classes, zero_division=0
    )
    return found


def _wide(matrix: Labels) -> Labels:
    """With one more class that no row has: scikit-learn takes a single column for something else than classes."""
    return np.pad(matrix, ((0, 0), (0, 1)))


def _cross_entropy(probabilities: Floats, truth: Labels) -> float:
    # Where the target is 1, a probability that has underflowed to 0 counts as the smallest normal number: 708 nats.
    # Where it is 0, one that was rounded to 1 counts as the largest number below it: 37 nats. Neither is infinite.
    least, most = np.finfo(np.float64).tiny, np.nextafter(1.0, 0.0)
    bounded = np.clip(probabilities, least, most)
    return float(-np.where(truth == 1, np.log(bounded), np.log1p(-bounded)).mean())


def _checked(probabilities: Floats, targets: ArrayLike, names: Sequence[str]) -> Labels:
    truth = np.asarray(targets)
    if not len(truth):
        raise DataError("there is no row to evaluate: check that the split is not empty")
    wanted = [len(truth), len(names)]
    for what, shape in (("probabilities", probabilities.shape), ("targets", truth.shape)):
        if list(shape) != wanted:
            raise ZooError(f"{what} have the shape {list(shape)}, expected {wanted}: a row a text and a column a name")
    if not np.issubdtype(truth.dtype, np.integer):
        raise DataError(f"targets are {truth.dtype}, expected whole numbers: 1 for a class of the row and 0 for others")
    outside = np.argwhere((truth != 0) & (truth != 1))
    if outside.size:
        row, column = outside[0]
        raise DataError(
            f"row {row} has the target {truth[row, column]} for the class {names[column]!r}, expected 0 or 1: "
            f"correct the label column ({len(outside)} such targets)"
        )
    return truth.astype(np.int64)
