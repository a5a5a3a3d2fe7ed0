"""Whether one run is better than another on the same test rows: McNemar's test.

In come the rows of two runs' predictions.jsonl; out come counts of who was right and two p-values. Refused: rows that
are not the same, by id and label, and rows of numbers that are no levels (DataError).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import scipy

from zoo.errors import DataError

__all__ = ["by_task", "compare_rows", "mcnemar"]


def compare_rows(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts over the rows of two runs, in any order, and whether they differ by more than chance.

    rows; both_right; only_first, only_second: right in one alone; both_wrong; difference: accuracy of the first minus
    that of the second, -1 to 1; p_exact and p_mid as `mcnemar` gives them.

    Raises DataError, saying what differs, unless both have the same ids with the same labels.
    """
    _same_rows(first, second)
    if any(isinstance(row["label"], dict) and "values" not in row for row in (*first, *second)):
        raise DataError("numbers are not right or wrong, expected classes or levels: compare their errors")
    others = {row["id"]: row for row in second}
    right = [(row["label"] == row["prediction"], row["label"] == others[row["id"]]["prediction"]) for row in first]
    only_first, only_second = right.count((True, False)), right.count((False, True))
    exact, mid = mcnemar(only_first, only_second)
    return {
        "rows": len(right),
        "both_right": right.count((True, True)),
        "only_first": only_first,
        "only_second": only_second,
        "both_wrong": right.count((False, False)),
        "difference": (only_first - only_second) / len(right),
        "p_exact": exact,
        "p_mid": mid,
    }


def by_task(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each of several tasks by its name, with the ids that they have in a run of it alone; those of a run
    of one task by an empty name."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        name = row.get("task", "")
        found.setdefault(name, []).append({**row, "id": row["id"].removeprefix(f"{name}/")} if name else row)
    return found or {"": []}


def mcnemar(only_first: int, only_second: int) -> tuple[float, float]:
    """Two-sided p-values of so many rows that one alone of two had right: exact, and mid-p.

    Both ask how likely such a split of these rows is, or one further from half, where either run is as likely to have
    a row right as the other. The exact one is the binomial test; mid-p counts what is just as far from half as the
    observed split by half only, and so errs less on the cautious side.

    Source: McNemar 1947; Fagerland, Lydersen and Laake 2013 for mid-p, which they advise.
    """
    rows = only_first + only_second
    if rows == 0:
        return 1.0, 1.0
    exact = float(scipy.stats.binomtest(only_first, rows).pvalue)
    # A split and its mirror image are equally far from half; an even one is its own.
    as_far = float(scipy.stats.binom.pmf(min(only_first, only_second), rows, 0.5)) * (
        1 if only_first == only_second else 2
    )
    return exact, exact - as_far / 2


def _same_rows(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> None:
    labels, others = ({row["id"]: row["label"] for row in rows} for rows in (first, second))
    faults = []
    if not labels or not others:
        faults.append("a run without test predictions has no rows")
    elif len(labels) < len(first) or len(others) < len(second):
        faults.append("an id stands twice")
    elif labels.keys() != others.keys():
        missing, added = len(labels.keys() - others.keys()), len(others.keys() - labels.keys())
        faults.append(f"{missing} ids of the first are not in the second, {added} of the second not in the first")
    elif labels != others:
        differing = sum(label != others[key] for key, label in labels.items())
        faults.append(f"{differing} of {len(labels)} rows have another label")
    if faults:
        raise DataError(f"{faults[0]}, expected the same test rows: compare runs with the same data and splits")
