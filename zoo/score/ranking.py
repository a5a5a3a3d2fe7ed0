"""How well each class's probability ranks its rows above all others: precision-recall and ROC, with their areas.

In come probabilities `[rows, classes]` and labels `[rows] int`; out come curves as arrays and areas as numbers, by
scikit-learn. A class that no row has, or every row, has no curve. Nothing is refused: what was evaluated was checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Ranking", "macro_average", "rank", "rank_each"]

Floats = NDArray[np.float64]

GRID = 2001
"""Points at which the curves of the classes are averaged."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """One class against all others.

    share: of the rows, those that are of the class, which is the precision of a coin; recall and precision
    `[thresholds]`, recall falling; average_precision: the area under their steps; false_positives and true_positives
    `[thresholds]`: the ROC's rates, rising; roc_auc: the area under it.
    """

    name: str
    share: float
    recall: Floats
    precision: Floats
    average_precision: float
    false_positives: Floats
    true_positives: Floats
    roc_auc: float


def rank(probabilities: ArrayLike, labels: ArrayLike, label_names: Sequence[str]) -> list[Ranking | None]:
    """A ranking a class, in class order, each one against the rest; None where no row or every row is of the class.

    Source: Davis and Goadrich 2006 (precision-recall), Fawcett 2006 (ROC). The area under precision-recall is the
    sum over its steps, without interpolation, which would flatter it.
    """
    scores, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    return [_ranking(name, scores[:, number], truth == number) for number, name in enumerate(label_names)]


def rank_each(probabilities: ArrayLike, targets: ArrayLike, label_names: Sequence[str]) -> list[Ranking | None]:
    """As `rank`, where a row may have any number of classes: targets are 1 or 0, `[rows, classes]`."""
    scores, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(targets) == 1
    return [_ranking(name, scores[:, number], truth[:, number]) for number, name in enumerate(label_names)]


def macro_average(rankings: Sequence[Ranking]) -> Ranking:
    """The mean curve of some classes; its areas are the means of theirs, up to the grid it is drawn on."""
    grid = np.linspace(0.0, 1.0, GRID)
    return Ranking(
        name="macro average",
        share=float(np.mean([each.share for each in rankings])),
        recall=grid[::-1],
        precision=np.mean([_precision_at(each, grid) for each in rankings], axis=0)[::-1],
        average_precision=float(np.mean([each.average_precision for each in rankings])),
        false_positives=grid,
        true_positives=np.mean(
            [np.interp(grid, each.false_positives, each.true_positives) for each in rankings], axis=0
        ),
        roc_auc=float(np.mean([each.roc_auc for each in rankings])),
    )


def _ranking(name: str, scores: Floats, positive: NDArray[np.bool_]) -> Ranking | None:
    if positive.all() or not positive.any():
        return None
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    precision, recall, _ = precision_recall_curve(positive, scores, drop_intermediate=True)
    false_positives, true_positives, _ = roc_curve(positive, scores)
    return Ranking(
        name=name,
        share=float(positive.mean()),
        recall=recall,
        precision=precision,
        average_precision=float(average_precision_score(positive, scores)),
        false_positives=false_positives,
        true_positives=true_positives,
        roc_auc=float(roc_auc_score(positive, scores)),
    )


def _precision_at(ranking: Ranking, recall: Floats) -> Floats:
    """Precision at the threshold that first reaches each recall: the steps whose area is the average precision."""
    rising, precision = ranking.recall[::-1], ranking.precision[::-1]
    found: Floats = precision[np.searchsorted(rising, recall, side="left").clip(max=len(rising) - 1)]
    return found
