"""Whether recipes reach what they expect: the runs of each contender, all seeds together.

In come rows of whole runs as compare.py has them; out comes a verdict for each recipe and contender, plain values for
JSON. README.md says what the bounds are of; `zoo.score.seeds` has the arithmetic. Nothing is refused.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import protocol
from zoo.score.seeds import Bounds, Tally, Verdict, collapsed, f1_bounds, judged, seed_bounds, share_bounds, worst

OPEN = "nothing expected"
TRAINED, COLLAPSED = "trained", "collapsed"
BY_SEEDS, BY_ROWS = "seeds", "rows"
"""What the bounds of a figure are made from."""

Row = Mapping[str, Any]


def outcome(found: Row) -> str:
    """What became of a whole run that ended well: `trained`, or `collapsed`.

    Args:
        found: what its process said.
    """
    return COLLAPSED if found["tally"] is not None and collapsed(Tally(**found["tally"])) else TRAINED


def verdicts(results: Sequence[Row]) -> list[dict[str, Any]]:
    """A verdict for each recipe, profile and contender, in the order of their first rows.

    Its keys, beside those that all its rows have: seeds (of the runs that were judged), wanted (how many the recipe
    wants), collapsed (how many of them; None where predictions are not right or wrong), figures (see `figure_of`, by
    name) and verdict, of all figures; `nothing expected`, or why there is no run.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in results:
        groups.setdefault(tuple(row[key] for key in ("recipe", "profile", "contender")), []).append(row)
    return [_verdict(rows) for rows in groups.values()]


def _verdict(rows: Sequence[Row]) -> dict[str, Any]:
    shared = {key: rows[0][key] for key in ("recipe", "profile", "model", "dataset", "expected", "contender", "peer")}
    expected, runs = shared["expected"] or {}, [row for row in rows if "test" in row]
    found = {**shared, "seeds": [row["seed"] for row in runs], "wanted": expected.get("seeds", 1)}
    if not runs:
        return {**found, "collapsed": None, "figures": {}, "verdict": rows[0]["outcome"]}
    told = [row["outcome"] == COLLAPSED for row in runs if row["tally"] is not None]
    figures = {name: figure_of(name, runs, expected.get(name)) for name in ("accuracy", "f1", "hours")}
    figures = {name: figure for name, figure in figures.items() if figure["mean"] is not None or figure["target"]}
    judged_ones = [figure["verdict"] for figure in figures.values() if figure["verdict"] is not None]
    return {
        **found,
        "collapsed": sum(told) if told else None,
        "figures": figures,
        "verdict": worst(judged_ones) if judged_ones else OPEN,
    }


def figure_of(name: str, runs: Sequence[Row], target: float | None) -> dict[str, Any]:
    """A figure over runs, at least one.

    Args:
        name: accuracy or f1 of the test split, or hours of training, compilation included.
        runs: rows of whole runs.
        target: what is expected of it, in its own unit; None where nothing is.

    Returns:
        mean (None where a run does not have it), deviation over seeds (None of one run), low and high, one-sided 95%
        bounds, by (`seeds` or `rows`; None where the figure is compared as it is), target, and verdict (None
        without a target).
    """
    if name == "hours":
        values = [seconds / 3600.0 for row in runs if (seconds := protocol.training_seconds(row)) is not None]
    else:
        values = [row["test"][name] for row in runs if name in row["test"]]
    figure: dict[str, Any] = {"mean": None, "deviation": None, "low": None, "high": None, "by": None, "target": target}
    if len(values) < len(runs):
        # A figure that the recipe's task does not have is none that was met.
        return {**figure, "verdict": None if target is None else "missed"}
    several = len(values) > 1
    bounds = None if name == "hours" else _of_seeds(values) if several else _of_rows(name, runs[0])
    mean = statistics.mean(values)
    figure |= {"mean": mean, "deviation": statistics.stdev(values) if several else None}
    if bounds is not None:
        figure |= {**bounds._asdict(), "by": BY_SEEDS if several else BY_ROWS}
    return {**figure, "verdict": None if target is None else _judged(name, mean, bounds, target)}


def _of_seeds(values: Sequence[float]) -> Bounds:
    """Bounds of a share over two seeds or more: Student's t knows nothing of 0 and 1, beyond which there is none."""
    low, high = seed_bounds(values)
    return Bounds(low=max(0.0, low), high=min(1.0, high))


def _of_rows(name: str, run: Row) -> Bounds | None:
    """Bounds from the test rows of one run; None where there are none for such a figure, as for a mean of F1s."""
    if run["tally"] is None:
        return None
    counts = Tally(**run["tally"])
    if name == "accuracy":
        return share_bounds(counts.correct, counts.rows)
    return f1_bounds(counts.found or 0, counts.relevant) if counts.relevant else None


def _judged(name: str, mean: float, bounds: Bounds | None, target: float) -> Verdict:
    if bounds is not None:
        return judged(bounds, target)
    return "met" if (mean <= target if name == "hours" else mean >= target) else "missed"
