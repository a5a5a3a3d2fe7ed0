"""Figures of a classifier from its logits and the true labels, with NumPy and scikit-learn alone.

In come logits `[rows, classes]` (softmax head) or `[rows, 1]` (one sigmoid unit) and labels
`[rows] int`, numbered from 0. Out come probabilities, predictions and plain Python numbers, ready
for JSON. No backend takes part, so every backend is judged by the same code.

Refused: no rows, logits that are not finite, labels outside the classes, arrays of different length.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from zoo.errors import DataError, TrainingError, ZooError
from zoo.recipe.showing import listed

__all__ = [
    "classification_table",
    "confused_pairs",
    "confusion",
    "evaluate",
    "finite",
    "majority_share",
    "most_confused",
    "predictions",
    "probabilities",
    "refuse_not_finite",
    "tune_threshold",
    "wilson_interval",
    "worst_classes",
]

Head = Literal["classifier", "binary"]
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def probabilities(logits: ArrayLike, head: Head) -> Floats:
    """Probabilities `[rows, classes] float64` from the logits of a head.

    `classifier`: softmax over `[rows, classes]`. `binary`: `[rows, 1]` (or `[rows]`) through a
    sigmoid, giving the columns of class 0 and class 1. The arithmetic is float64 whatever comes in.

    Raises TrainingError when a logit is not finite, ZooError when the shape is not the head's.
    """
    values = np.asarray(logits, dtype=np.float64)
    if head == "binary" and values.ndim == 1:
        values = values[:, np.newaxis]
    wanted = "[rows, 1]" if head == "binary" else "[rows, 2 or more]"
    if values.ndim != 2 or (values.shape[1] == 1) != (head == "binary"):
        raise ZooError(f"logits of a {head} head have the shape {list(values.shape)}, expected {wanted}")
    values = finite(values, values.shape[1])
    if head == "binary":
        # Softmax over (0, z) is the sigmoid, and keeps the smaller of the two probabilities exact.
        values = np.concatenate([np.zeros_like(values), values], axis=1)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def finite(logits: ArrayLike, units: int) -> Floats:
    """Logits `[rows, units]` as float64; TrainingError when one is not finite, ZooError for another shape."""
    values = np.asarray(logits, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != units:
        raise ZooError(f"logits have the shape {list(values.shape)}, expected [rows, {units}]")
    refuse_not_finite(values, "logits")
    return values


def refuse_not_finite(values: Floats, what: str) -> None:
    """TrainingError where values of the model, `[rows]` or `[rows, ...]`, are not finite; `what` they are called."""
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if bad.size:
        raise TrainingError(
            f"the model's {what} are not finite for {bad.size} of {len(values)} rows (first: row {bad[0]}): "
            "lower training.optimizer.learning_rate or set training.precision: float32"
        )


def predictions(probabilities: Floats, threshold: float | None = None) -> Labels:
    """Class numbers `[rows] int64`: the most probable class, or class 1 from `threshold` (0 to 1) up.

    A threshold is for two classes; raises ZooError with another number of columns.
    """
    if threshold is None:
        chosen = np.argmax(probabilities, axis=1)
    else:
        _two_classes(probabilities, "a threshold")
        chosen = probabilities[:, 1] >= threshold
    return np.asarray(chosen, dtype=np.int64)


def majority_share(targets: NDArray[Any]) -> float:
    """Share of the rows that have the commonest target, `[rows]` or `[rows, names]`: what that alone would score."""
    counts = np.unique(targets, axis=0, return_counts=True)[1]
    return float(counts.max() / len(targets))


def evaluate(
    probabilities: Floats, labels: ArrayLike, label_names: Sequence[str], threshold: float | None = None
) -> dict[str, float]:
    """The figures of one split, each a plain number.

    `rows`; `accuracy` with `accuracy_low` and `accuracy_high` (95% Wilson interval); `majority_share`;
    `classes_predicted`, how many classes any row is put into; `f1`, `precision`
    and `recall`, of class 1 with two classes and macro-averaged with more; `macro_f1`; `matthews`
    (Matthews 1975); `loss`, the mean cross-entropy in nats; with two classes, where both occur in
    `labels`, also `roc_auc` and `average_precision` of class 1. A macro average runs over the classes
    that occur in the labels or the predictions; a ratio whose denominator is 0 counts as 0.

    Raises DataError for no rows or a label outside `label_names`, ZooError when the shapes disagree.
    """
    from sklearn.metrics import (
        average_precision_score,
        matthews_corrcoef,
        precision_recall_fscore_support,
        roc_auc_score,
    )

    truth = _checked(probabilities, labels, label_names)
    predicted = predictions(probabilities, threshold)
    rows, classes = len(truth), list(range(len(label_names)))
    two = len(classes) == 2
    present = np.union1d(truth, predicted)
    # [figure, class]: precision, recall, F1. A class that occurs nowhere would count as 0, so it is left out.
    by_class = np.stack(precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0)[:3])
    macro = by_class[:, present].mean(axis=1)
    chosen = by_class[:, 1] if two else macro
    correct = int((truth == predicted).sum())
    low, high = wilson_interval(correct, rows)
    figures = {
        "rows": rows,
        "accuracy": correct / rows,
        "accuracy_low": low,
        "accuracy_high": high,
        "majority_share": majority_share(truth),
        "classes_predicted": len(np.unique(predicted)),
        "f1": float(chosen[2]),
        "precision": float(chosen[0]),
        "recall": float(chosen[1]),
        "macro_f1": float(macro[2]),
        # One class alone has no correlation; scikit-learn warns there and gives 0 too.
        "matthews": float(matthews_corrcoef(truth, predicted)) if len(present) > 1 else 0.0,
        "loss": _cross_entropy(probabilities, truth),
    }
    if two and len(np.unique(truth)) == 2:
        figures["roc_auc"] = float(roc_auc_score(truth, probabilities[:, 1]))
        figures["average_precision"] = float(average_precision_score(truth, probabilities[:, 1]))
    return figures


def classification_table(labels: ArrayLike, predicted: ArrayLike, label_names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a class, in class order: label, precision, recall, f1, rows (true), predicted (times).

    `labels` and `predicted` are `[rows] int`. A ratio whose denominator is 0 counts as 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    classes = range(len(label_names))
    rows, times = (np.bincount(np.asarray(numbers), minlength=len(classes)) for numbers in (labels, predicted))
    columns = precision_recall_fscore_support(labels, predicted, labels=list(classes), zero_division=0)
    return [
        {
            "label": label_names[index],
            "precision": float(columns[0][index]),
            "recall": float(columns[1][index]),
            "f1": float(columns[2][index]),
            "rows": int(rows[index]),
            "predicted": int(times[index]),
        }
        for index in classes
    ]


def confusion(labels: ArrayLike, predicted: ArrayLike, classes: Sequence[int] | Labels) -> Labels:
    """Counts `[classes, classes] int64` of some classes: rows are the true ones, columns the predicted ones.

    A row whose true or predicted class is none of these counts nowhere.
    """
    chosen = np.asarray(classes)
    truth, guess = np.asarray(labels), np.asarray(predicted)
    place = np.full(max(chosen.max(), truth.max(initial=0), guess.max(initial=0)) + 1, -1)
    place[chosen] = np.arange(len(chosen))
    inside = (place[truth] >= 0) & (place[guess] >= 0)
    cells = place[truth[inside]] * len(chosen) + place[guess[inside]]
    counts: Labels = np.bincount(cells, minlength=len(chosen) ** 2).reshape(len(chosen), len(chosen)).astype(np.int64)
    return counts


def worst_classes(table: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """At most so many rows of a `classification_table`, in their order: those with the lowest F1."""
    lowest = sorted(range(len(table)), key=lambda index: table[index]["f1"])[:most]
    return [table[index] for index in sorted(lowest)]


def confused_pairs(labels: ArrayLike, predicted: ArrayLike) -> list[tuple[int, int, int]]:
    """True class, predicted class and how many rows, of all that was wrong, the most rows first.

    `labels` and `predicted` are `[rows] int`. Time and room go with the rows, not with the square of the classes.
    """
    both = np.stack([np.asarray(labels, np.int64), np.asarray(predicted, np.int64)], axis=1)
    pairs, counts = np.unique(both[both[:, 0] != both[:, 1]], axis=0, return_counts=True)
    falling = np.argsort(-counts, kind="stable")
    worst = zip(pairs[falling].tolist(), counts[falling].tolist(), strict=True)
    return [(true, guess, rows) for (true, guess), rows in worst]


def most_confused(labels: ArrayLike, predicted: ArrayLike, classes: int, most: int) -> Labels:
    """Numbers, rising, of at most `most` classes: all of them, or those of the pairs that are confused most.

    Where the pairs have fewer classes, those with the most rows fill the number up.
    """
    if classes <= most:
        return np.arange(classes)
    by_rows = np.argsort(-np.bincount(np.asarray(labels), minlength=classes), kind="stable")
    wrong = itertools.chain.from_iterable((true, guess) for true, guess, _ in confused_pairs(labels, predicted))
    falling = dict.fromkeys(itertools.chain(wrong, by_rows.tolist()))
    return np.sort(np.fromiter(itertools.islice(falling, most), np.int64))


def tune_threshold(probabilities: Floats, labels: ArrayLike) -> float:
    """The threshold (0 to 1) on class 1's probability with the best F1 of class 1.

    `probabilities [rows, 2]`, `labels [rows]` of a validation split, never of the test split. The value
    lies midway between two neighbouring scores, so that rounding on another backend does not move a row
    across it; of equally good ones the nearest to 0.5 is taken. Without a row of class 1 it is 0.5.

    Source: Lipton, Elkan and Naryanaswamy 2014, "Optimal thresholding of classifiers to maximize F1".
    """
    _two_classes(probabilities, "a tuned threshold")
    truth = _checked(probabilities, labels, ("0", "1"))
    if not truth.any():
        return 0.5
    from sklearn.metrics import precision_recall_curve

    scores = probabilities[:, 1]
    precision, recall, edges = precision_recall_curve(truth, scores)
    # The curve ends with a point of no threshold (precision 1, recall 0), which is left out. The sum is 0
    # where nothing is found.
    total = precision[:-1] + recall[:-1]
    f1 = np.divide(2 * precision[:-1] * recall[:-1], total, out=np.zeros_like(total), where=total > 0)
    lower = np.concatenate([[0.0], edges[:-1]])
    midpoints = (edges + lower) / 2
    best = midpoints[np.isclose(f1, f1.max(), rtol=0.0, atol=1e-12)]
    return float(best[np.argmin(np.abs(best - 0.5))])


def wilson_interval(correct: int, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds, 0 to 1, of the score interval of `correct` out of `rows` (Wilson 1927), by default of 95%.

    Unlike the normal interval it stays inside 0 to 1 and is not empty at 0% or 100%.
    Raises DataError when there is no row.
    """
    if rows <= 0 or not 0 <= correct <= rows:
        raise DataError(
            f"{correct} correct of {rows} rows: expected at least one row; check that the split is not empty"
        )
    low, high = scipy.stats.binomtest(correct, rows).proportion_ci(confidence_level=confidence, method="wilson")
    return float(low), float(high)


def _cross_entropy(probabilities: Floats, labels: Labels) -> float:
    taken = probabilities[np.arange(len(labels)), labels]
    # A probability that has underflowed to 0 counts as the smallest normal number: 708 nats, not infinity.
    return float(-np.log(np.maximum(taken, np.finfo(np.float64).tiny)).mean())


def _two_classes(probabilities: Floats, what: str) -> None:
    if probabilities.ndim != 2 or probabilities.shape[1] != 2:
        raise ZooError(f"{what} is for two classes: probabilities have the shape {list(probabilities.shape)}")


def _checked(probabilities: Floats, labels: ArrayLike, label_names: Sequence[str]) -> Labels:
    truth = np.asarray(labels)
    if not len(truth):
        raise DataError("there is no row to evaluate: check that the split is not empty")
    if probabilities.shape != (len(truth), len(label_names)):
        raise ZooError(
            f"probabilities have the shape {list(probabilities.shape)}, expected {[len(truth), len(label_names)]}: "
            "a row a label and a column a label name"
        )
    if not np.issubdtype(truth.dtype, np.integer):
        raise DataError(f"labels are {truth.dtype}, expected whole class numbers from 0 to {len(label_names) - 1}")
    outside = np.flatnonzero((truth < 0) | (truth >= len(label_names)))
    if outside.size:
        raise DataError(
            f"row {outside[0]} has the label {truth[outside[0]]}, expected 0 to {len(label_names) - 1} "
            f"({listed(label_names)}): correct the label column ({outside.size} such rows)"
        )
    return truth.astype(np.int64)
