"""What several trainings of one recipe come to, draws of few rows or folds: run.json of the whole, and of folds
out_of_fold.jsonl, what was said of each row by the model that it was held out of.

In come the folder of the whole run, open for writing, and the runs of its parts, which are done; out go the figures of
all, their means and how far they spread. Nothing is refused.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.recipe.types import Expected
from zoo.runs.recorded import OUT_OF_FOLD
from zoo.runs.run_folder import RunFolder
from zoo.score.seeds import seed_interval
from zoo.tasks import Task

__all__ = ["pool", "told"]

OF_ALL = ("backend", "device", "precision", "platform", "versions", "seed", "parameters")
"""Keys of run.json in which the parts are alike."""


def pool(folder: RunFolder, parts: Sequence[RunFolder], expected: Expected | None) -> None:
    """Write down what the parts came to, and what was expected of all."""
    runs, task = [part.run for part in parts], parts[0].task
    of = str(folder.run["parts"][0]["name"]).partition("-")[0]
    spreads = {
        split: _spreads(task, [run["metrics"][split] for run in runs], of=of) for split in ("validation", "test")
    }
    rows = dict(runs[0]["dataset"]["rows"])
    metrics = {split: {"rows": rows[split], **_means(found)} for split, found in spreads.items()}
    if of == "fold":
        held_out = [{**row, "fold": fold} for fold, part in enumerate(parts, 1) for row in part.predictions]
        folder.write_predictions(held_out, OUT_OF_FOLD)
        targets, values = task.of_rows(held_out)
        metrics["test"] = task.figures(values, targets)
        rows["test"] = len(held_out)
    timing = {key: sum(run["timing"][key] for run in runs) for key in runs[0]["timing"] if key.endswith("_seconds")}
    folder.update_run(
        {
            **{key: runs[0][key] for key in OF_ALL if key in runs[0]},  # one of an earlier version may lack some
            "task": runs[0]["task"],
            "dataset": {"rows": rows, "sha256": runs[0]["dataset"]["sha256"]},
            "metrics": metrics,
            "pooled": {"of": of, "figures": spreads["test"]},
            "expected": expected.model_dump() if expected else None,
            "timing": timing,
        }
    )


def told(run: Mapping[str, Any], task: Task) -> str:
    """What the whole came to, in a line: the figures that matter most."""
    figures, rows, count = run["pooled"]["figures"], run["metrics"]["test"]["rows"], len(run["parts"])
    shown = {
        name: {key: task.shown(name, value, rows) for key, value in figures[name].items() if key != "values"}
        for name in task.headline
        if name in figures
    }
    if run["pooled"]["of"] == "fold":
        spread = ", ".join(f"{name} {each['deviation']}" for name, each in shown.items())
        return f"{rows:,} rows, each held out once: {task.told(run['metrics']['test'])}; deviation of folds: {spread}"
    parts = [
        f"{name} {each['mean']} (95% interval {each['low']} to {each['high']}; deviation {each['deviation']})"
        for name, each in shown.items()
    ]
    return f"the mean of {count} draws: {', '.join(parts)}"


def _spreads(task: Task, figures: Sequence[Mapping[str, Any]], *, of: str) -> dict[str, dict[str, Any]]:
    """Of each figure that all parts have: its values, their mean and standard deviation, and of draws the 95% interval
    of the mean by Student's t.

    Folds have none: their trainings share most rows, and nothing estimates the variance of such a mean without bias
    (Bengio and Grandvalet 2004).
    """
    found: dict[str, dict[str, Any]] = {}
    for name in task.titles:
        values = [each[name] for each in figures if each.get(name) is not None]
        if len(values) < len(figures):
            continue
        found[name] = {"mean": statistics.mean(values), "deviation": statistics.stdev(values), "values": values}
        if of == "draw":
            low, high = seed_interval(values, share=task.kind(name) == "share")
            found[name] |= {"low": low, "high": high}
    return found


def _means(spreads: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The means as the figures of a split, accuracy with its interval as a single run has it."""
    found = {name: each["mean"] for name, each in spreads.items()}
    if "low" in spreads.get("accuracy", {}):
        found |= {f"accuracy_{end}": spreads["accuracy"][end] for end in ("low", "high")}
    return found
