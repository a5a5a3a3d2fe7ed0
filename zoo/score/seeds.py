"""Whether a recipe reaches a figure, from runs of several seeds or from the test rows of one run.

In come figures of runs, [seeds], or a `Tally` of test rows; out come one-sided 95% bounds and a verdict. Refused, as
DataError: no run, no row, counts that cannot be.

Over seeds the bounds are of the mean on these test rows; those of one run are of the rows, and say nothing of another
seed.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import scipy

from zoo.errors import DataError
from zoo.score.metrics import wilson_interval

__all__ = [
    "Bounds",
    "Tally",
    "Verdict",
    "collapsed",
    "f1_bounds",
    "judged",
    "seed_bounds",
    "seed_interval",
    "share_bounds",
    "tally",
    "worst",
]

CONFIDENCE = 0.95
"""Of each bound by itself; both together hold the middle 90%."""
TWO_SIDED = 0.975
"""Confidence of each bound by itself, of an interval that holds 95%."""

Verdict = Literal["met", "within noise", "missed"]
VERDICTS: tuple[Verdict, ...] = ("met", "within noise", "missed")
"""The better first."""


class Bounds(NamedTuple):
    """One-sided 95% bounds of a figure, each by itself, in the figure's own unit."""

    low: float
    high: float


class Tally(NamedTuple):
    """Test rows of one run.

    correct: rows with the right prediction. most_frequent: rows with the commonest label. found: rows of class 1 with
    that prediction, and relevant: rows of class 1 or with that prediction; None where F1 is not that of one class.
    """

    rows: int
    correct: int
    most_frequent: int
    found: int | None = None
    relevant: int | None = None


def tally(rows: Sequence[Mapping[str, Any]], positive: str | None = None) -> Tally:
    """Counts over rows of predictions.jsonl; `positive` is the class whose F1 is judged, None where it is none's."""
    right = [row for row in rows if row["label"] == row["prediction"]]
    # A label is text, a list of classes or numbers by name.
    labels = Counter(json.dumps(row["label"], sort_keys=True) for row in rows)
    counts = Tally(rows=len(rows), correct=len(right), most_frequent=max(labels.values(), default=0))
    if positive is None:
        return counts
    found = sum(row["label"] == positive for row in right)
    return counts._replace(found=found, relevant=sum(positive in (row["label"], row["prediction"]) for row in rows))


def seed_bounds(values: Sequence[float], confidence: float = CONFIDENCE) -> Bounds:
    """Bounds of the mean over seeds, [seeds], by Student's t, each by itself with this confidence; raises DataError for
    fewer than two seeds.

    The seeds are taken for a sample of all seeds, and their figures for normally distributed (Student 1908). Where some
    runs collapsed they are not: the bounds are then wide.
    """
    if len(values) < 2:
        raise DataError(f"{len(values)} seeds have no spread, expected two or more: run more seeds")
    # Exact, unlike NumPy's: equal figures have no spread, and their mean is that figure.
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    reach = float(scipy.stats.t.ppf(confidence, len(values) - 1)) * deviation / math.sqrt(len(values))
    return Bounds(low=mean - reach, high=mean + reach)


def seed_interval(values: Sequence[float], *, share: bool) -> Bounds:
    """The interval that holds the mean over seeds with 95%, see `seed_bounds`; of a share it ends at 0 and 1."""
    low, high = seed_bounds(values, confidence=TWO_SIDED)
    return Bounds(low=max(low, 0.0), high=min(high, 1.0)) if share else Bounds(low=low, high=high)


def share_bounds(correct: int, rows: int) -> Bounds:
    """Bounds, 0 to 1, of a share of rows (Wilson 1927); raises DataError when there is no row."""
    return Bounds(*wilson_interval(correct, rows, confidence=2 * CONFIDENCE - 1))


def f1_bounds(found: int, relevant: int) -> Bounds:
    """Bounds, 0 to 1, of the F1 of one class, from the counts of a `Tally`; raises DataError when no row is relevant.

    F1 is a rising function of the share of relevant rows that were found, 2 s / (1 + s) (Hand, Christen and Kirielle
    2021), so Wilson's bounds of that share give those of F1: the Wilson indirect method of Lam, Gopal and Qian 2023.
    """
    low, high = share_bounds(found, relevant)
    return Bounds(low=2 * low / (1 + low), high=2 * high / (1 + high))


def collapsed(counts: Tally) -> bool:
    """Whether a run learned nothing: its share of right rows is not above the commonest label's by more than chance.

    Devlin et al. 2019 report degenerate runs of BERT-Large on small sets; Mosbach et al. 2021 call a run failed that is
    right at most as often as a majority classifier. Here the limit is the upper bound of that share, so that answers
    drawn at random are not taken for learning. Where one class is rare and the threshold is tuned for F1, a useful run
    may be right no more often either: look at its F1.
    """
    limit = share_bounds(counts.most_frequent, counts.rows).high
    return counts.correct / counts.rows <= limit


def judged(bounds: Bounds, target: float) -> Verdict:
    """`met` where the lower bound is at or above the target, `missed` where the upper one is below it."""
    if bounds.low >= target:
        return "met"
    return "within noise" if bounds.high >= target else "missed"


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on several figures, at least one: all have to be met."""
    return max(verdicts, key=VERDICTS.index)
