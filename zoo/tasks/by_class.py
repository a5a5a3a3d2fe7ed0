"""What tasks with classes show alike: the table of the classes, curves of each, how often they occur, examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.score import metrics
from zoo.score.ranking import Ranking
from zoo.tasks.shown import Column, Mistake, Mistakes, Picture, Table

__all__ = ["class_occurrences", "class_table", "in_turns", "mistakes", "ranking_pictures", "strata_of", "with_shares"]

FEWEST = 4
"""Rows of a set of classes that is a stratum of its own; rarer sets are drawn together."""


def mistakes(
    wrong: NDArray[np.bool_],
    by: NDArray[np.float64],
    told: Callable[[int], tuple[str, str, str]],
    *,
    most: int,
    note: str,
    figure: str,
) -> Mistakes:
    """Rows that are answered wrongly, those first of which there is most.

    Args:
        wrong: whether each is, [rows].
        by: of what there is most, [rows].
        told: from a row to its label, what is predicted, and `by` as it is written.
        most: rows.
        note: what these rows are, behind their number.
        figure: what `by` is.
    """
    rows = np.flatnonzero(wrong)
    worst = []
    for row in rows[np.argsort(-by[rows], kind="stable")][:most].tolist():
        label, prediction, value = told(row)
        worst.append(Mistake(row=row, label=label, prediction=prediction, figure=value))
    note = f"{len(worst)} of {len(rows):,} {note}: a look here often finds wrong labels."
    return Mistakes(note=note, figure=figure, wrong=len(rows), worst=tuple(worst))


def with_shares(names: Sequence[str], counts: np.ndarray, rows: int) -> list[str]:
    """Each class with its share of the rows."""
    return [f"{name} {count / rows:.1%}" for name, count in zip(names, counts, strict=True)]


def strata_of(flags: np.ndarray) -> NDArray[np.int64]:
    """The set of each row's classes, [rows, classes] of 0 and 1, where it has enough rows; the others together."""
    if not flags.shape[1]:
        return np.zeros(len(flags), np.int64)
    _, which, rows = np.unique(flags, axis=0, return_inverse=True, return_counts=True)
    _, numbers = np.unique(np.where(rows[which.reshape(-1)] < FEWEST, -1, which.reshape(-1)), return_inverse=True)
    found: NDArray[np.int64] = numbers.astype(np.int64)
    return found


def class_table(
    rows: Sequence[Mapping[str, Any]],
    ranked: Sequence[Ranking | None] | None,
    most: int,
    title: str = "By class",
) -> Table:
    """A row a class, at most so many, and then those with the lowest F1.

    Args:
        rows: of `metrics.classification_table`.
        ranked: how well each class is told from the others; None leaves the columns out.
        most: rows.
        title: of the table.
    """
    columns = [
        Column(title="precision", kind="share", rows="predicted"),
        Column(title="recall", kind="share", rows="rows"),
        Column(title="F1", kind="share", rows="rows"),
    ]
    keys = ["precision", "recall", "f1"]
    if ranked is not None:
        columns += [
            Column(title=title, kind="number", rows="rows") for title in ("area under ROC", "average precision")
        ]
        keys += ["roc_auc", "average_precision"]
        rows = [
            {**row, "roc_auc": each and each.roc_auc, "average_precision": each and each.average_precision}
            for row, each in zip(rows, ranked, strict=True)
        ]
    columns += [Column(title=title, kind="number") for title in ("rows", "predicted")]
    keys = ["label", *keys, "rows", "predicted"]
    left_out = max(0, len(rows) - most)
    return Table(
        title=title,
        columns=(Column(title="class", kind="name"), *columns),
        rows=tuple(tuple(row[key] for key in keys) for row in metrics.worst_classes(rows, most)),
        note=f"The {most} classes with the lowest F1; {left_out:,} others are left out." if left_out else "",
    )


def ranking_pictures(rankings: Sequence[Ranking | None], rows: int) -> dict[str, Picture]:
    """Precision-recall and ROC of so many rows; none where no class has a curve."""
    if not any(rankings):
        return {}
    return {
        "precision_recall": Picture(
            kind="precision_recall",
            arguments=(rankings, rows),
            caption="Test split: precision over recall as the threshold falls, with the average precision",
        ),
        "roc": Picture(
            kind="roc",
            arguments=(rankings, rows),
            caption="Test split: receiver operating characteristic, with the area under it",
        ),
    }


def class_occurrences(
    account: Mapping[str, Any], names: Sequence[str], *, one: str = "class", rows: Mapping[str, int] | None = None
) -> Picture | None:
    """How often each class occurs, from `label_counts`.

    Args:
        account: of the data set, as `Task.account` gives it.
        names: of the classes.
        one: what one of them is called.
        rows: of each split, where a row is of other than one class.
    """
    counts = account.get("label_counts")
    if not counts:
        return None
    return Picture(kind="labels", arguments=(counts, names, one, rows), caption=f"How often each {one} occurs")


def in_turns(classes: np.ndarray, sure: np.ndarray, count: int) -> list[int]:
    """Row numbers, of each class one in turn, the surest first.

    Args:
        classes: the number of each row's class, [rows].
        sure: how sure the model is of it, [rows].
        count: of classes.
    """
    falling = np.argsort(-sure, kind="stable")
    by_class = [falling[classes[falling] == number].tolist() for number in range(count)]
    longest = max(map(len, by_class), default=0)
    return [rows[place] for place in range(longest) for rows in by_class if place < len(rows)]
