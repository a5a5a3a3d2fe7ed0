"""Figures of predicted numbers, with NumPy, SciPy and scikit-learn alone.

In come values, what the model says, and targets, what is true: `[rows, names]` of any numbers, or `[rows]` of one
number on a scale of whole levels. Out come plain Python numbers, ready for JSON.

Refused: no rows, targets that are not finite or not on the scale, values that are not finite, arrays of different
shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from zoo.errors import DataError, ZooError
from zoo.score.metrics import majority_share, refuse_not_finite, wilson_interval

__all__ = ["error_table", "evaluate", "ordinal", "rounded"]

FIGURES = ("mean_absolute_error", "mean_squared_error", "r2", "spearman")

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def evaluate(values: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> dict[str, float]:
    """The figures of one split, each a plain number.

    `rows`; `mean_absolute_error`, in the unit of the targets, and `mean_squared_error`, in its square; `r2`, the share
    of the targets' variance that is explained (1 at best, below 0 where the mean would have been nearer); `spearman`,
    the rank correlation (Spearman 1904), -1 to 1. Each is the mean over the names; with more than one name each is
    also given by itself, as `r2.NAME`. A figure that is not defined for some name, as `error_table` says, is left out
    for it and from the means.

    Raises DataError for no rows or a target that is not finite, TrainingError for a value that is not finite, ZooError
    when the shapes disagree.
    """
    table = error_table(values, targets, names)
    figures: dict[str, float] = {"rows": len(np.asarray(targets))}
    for figure in FIGURES:
        by_name = {row["name"]: row[figure] for row in table if row[figure] is not None}
        if len(by_name) == len(table):
            figures[figure] = fmean(by_name.values())
        if len(table) > 1:
            figures |= {f"{figure}.{name}": value for name, value in by_name.items()}
    return figures


def ordinal(values: ArrayLike, targets: ArrayLike, levels: tuple[int, int]) -> dict[str, float]:
    """The figures of one number `[rows]` on a scale of whole levels, lowest and highest given; each a plain number.

    Those of `evaluate`, of the values as they are; of the values `rounded` to a level: `accuracy` with `accuracy_low`
    and `accuracy_high` (95% Wilson interval), `majority_share`, `within_one`, the share that is at most one level off,
    and `quadratic_kappa` (Cohen 1968), agreement beyond chance where a mistake weighs the square of its levels, -1 to
    1; this one is left out where all targets and predictions are one and the same level.

    Raises as `evaluate` does, and DataError for a target that is no level.
    """
    given, truth = _checked(values, targets, ())
    lowest, highest = levels
    outside = np.flatnonzero((truth < lowest) | (truth > highest) | (truth != np.floor(truth)))
    if outside.size:
        raise DataError(
            f"row {outside[0]} has the target {truth[outside[0]]:g}, expected a whole number from {lowest} to "
            f"{highest}: correct the target column or the levels ({outside.size} such rows)"
        )
    predicted, rows = rounded(given, levels), len(truth)
    off = np.abs(predicted - truth)
    correct = int((off == 0).sum())
    low, high = wilson_interval(correct, rows)
    figures = evaluate(given[:, np.newaxis], truth[:, np.newaxis], ("value",)) | {
        "accuracy": correct / rows,
        "accuracy_low": low,
        "accuracy_high": high,
        "majority_share": majority_share(truth),
        "within_one": float((off <= 1).mean()),
    }
    if len(np.union1d(truth, predicted)) > 1:
        from sklearn.metrics import cohen_kappa_score

        scale = range(lowest, highest + 1)
        kappa = cohen_kappa_score(truth.astype(np.int64), predicted, labels=list(scale), weights="quadratic")
        figures["quadratic_kappa"] = float(kappa)
    return figures


def rounded(values: ArrayLike, levels: tuple[int, int]) -> Labels:
    """The nearest level, `int64` in the shape of the values, of the lowest to the highest; halves go upward."""
    return np.clip(np.floor(np.asarray(values, dtype=np.float64) + 0.5), *levels).astype(np.int64)


def error_table(values: ArrayLike, targets: ArrayLike, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a name, in their order: name, the four figures of `evaluate`, mean and deviation of the targets.

    The deviation is the standard one of these rows (their number is the divisor). Where all targets of a name are
    equal, r2 and spearman are not defined, and spearman not where all its values are: they are None.

    Raises as `evaluate` does.
    """
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    columns = zip(names, *(each.T for each in _checked(values, targets, (len(names),))), strict=True)
    return [
        {
            "name": name,
            "mean_absolute_error": float(mean_absolute_error(truth, given)),
            "mean_squared_error": float(mean_squared_error(truth, given)),
            "r2": float(r2_score(truth, given)) if _varies(truth) else None,
            "spearman": float(scipy.stats.spearmanr(given, truth).statistic)
            if _varies(truth) and _varies(given)
            else None,
            "mean": float(truth.mean()),
            "deviation": float(truth.std()),
        }
        for name, given, truth in columns
    ]


def _varies(column: Floats) -> bool:
    return bool(column.min() < column.max())


def _checked(values: ArrayLike, targets: ArrayLike, columns: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Values and targets, both `[rows, *columns]`."""
    given, truth = np.asarray(values, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if not len(truth):
        raise DataError("there is no row to evaluate: check that the split is not empty")
    wanted = (len(truth), *columns)
    for what, shape in (("values", given.shape), ("targets", truth.shape)):
        if shape != wanted:
            raise ZooError(
                f"{what} have the shape {list(shape)}, expected {list(wanted)}: a row a text"
                + (" and a column a name" if columns else "")
            )
    bad = np.flatnonzero(~np.isfinite(truth).reshape(len(truth), -1).all(axis=1))
    if bad.size:
        raise DataError(
            f"targets are not finite for {bad.size} of {len(truth)} rows (first: row {bad[0]}): "
            "correct the target column"
        )
    refuse_not_finite(given, "values")
    return given, truth
