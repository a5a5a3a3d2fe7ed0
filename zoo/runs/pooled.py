"""What several trainings of one recipe come to, the draws of few rows: run.json of the whole.

In come the folder of the whole run, open for writing, and the runs of its parts, which are done; out go the figures of
all, their means and how far they spread. Nothing is refused.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.recipe.types import Expected
from zoo.runs.run_folder import RunFolder
from zoo.score.seeds import seed_bounds
from zoo.tasks import Task

__all__ = ["pool", "told"]

TWO_SIDED = 0.975
"""Confidence of each bound by itself, of an interval that holds 95%."""
OF_ALL = ("backend", "device", "precision", "platform", "versions", "seed")
"""Keys of run.json in which the parts are alike."""


def pool(folder: RunFolder, parts: Sequence[RunFolder], expected: Expected | None) -> None:
    """Write down what the parts came to, and what was expected of all."""
    runs, task = [part.run for part in parts], parts[0].task
    spreads = {split: _spreads(task, [run["metrics"][split] for run in runs]) for split in ("validation", "test")}
    rows = runs[0]["dataset"]["rows"]
    metrics = {split: {"rows": rows[split], **_means(found)} for split, found in spreads.items()}
    timing = {key: sum(run["timing"][key] for run in runs) for key in runs[0]["timing"] if key.endswith("_seconds")}
    folder.update_run(
        {
            **{key: runs[0][key] for key in OF_ALL},
            "task": runs[0]["task"],
            "dataset": {"rows": rows},
            "metrics": metrics,
            "pooled": {"of": "draw", "figures": spreads["test"]},
            "expected": expected.model_dump() if expected else None,
            "timing": timing,
        }
    )


def told(run: Mapping[str, Any], task: Task) -> str:
    """What the whole came to, in a line: the figures that matter most."""
    figures, rows = run["pooled"]["figures"], run["metrics"]["test"]["rows"]
    count = len(run["parts"])
    parts = []
    for name in task.headline:
        if name in figures:
            mean, deviation, low, high = (
                task.shown(name, figures[name][key], rows) for key in ("mean", "deviation", "low", "high")
            )
            parts.append(f"{name} {mean} (95% interval {low} to {high}; deviation {deviation})")
    return f"the mean of {count} draws: {', '.join(parts)}"


def _spreads(task: Task, figures: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each figure that all parts have: its values, their mean, standard deviation, and the 95% interval of the mean
    by Student's t."""
    found = {}
    for name in task.titles:
        values = [each[name] for each in figures if each.get(name) is not None]
        if len(values) == len(figures):
            low, high = seed_bounds(values, confidence=TWO_SIDED)
            if task.kind(name) == "share":
                low, high = max(low, 0.0), min(high, 1.0)
            spread = {"mean": statistics.mean(values), "deviation": statistics.stdev(values), "low": low, "high": high}
            found[name] = {**spread, "values": values}
    return found


def _means(spreads: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The means as the figures of a split, the first one that matters with its interval."""
    found = {name: each["mean"] for name, each in spreads.items()}
    if "accuracy" in found:
        found |= {f"accuracy_{end}": spreads["accuracy"][end] for end in ("low", "high")}
    return found
