"""The end of a search: the best recipe, its runs with further seeds, and the files that tell of all.

In come a plan, its study and a way to run a recipe; out come best.yaml, trials.csv, sweep.json, report.html and a run a
seed in best/. Here the test split is looked at, by the runs of the best recipe alone. Refused: no trial is complete.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.data.dataset import Dataset
from zoo.data.writing import storage_errors, write_atomically
from zoo.errors import TrainingError
from zoo.recipe import Recipe, dump_recipe
from zoo.runs.json_values import plain
from zoo.runs.opening import finished_run
from zoo.runs.screen import Screen
from zoo.score.seeds import seed_interval
from zoo.sweep.outcome import Row, as_csv, best_of, costs, importances, rows_of, told_best
from zoo.sweep.page import write_page
from zoo.sweep.space import Plan
from zoo.tasks import Task

if TYPE_CHECKING:
    import optuna

__all__ = ["BEST", "OUTCOME", "conclude"]

BEST, OUTCOME, TABLE = "best.yaml", "sweep.json", "trials.csv"

Again = Callable[[Path, Mapping[str, int], Path], None]
"""Trains a recipe file with other values of some dotted keys into a folder, or goes on with it."""


def conclude(
    plan: Plan, study: optuna.Study, dataset: Dataset, out: Path, *, train_again: Again | None, screen: Screen
) -> dict[str, Any]:
    """Write down and tell what came of a search; returns what sweep.json says. Raises TrainingError where no trial is
    complete, once that is written down.

    train_again: None leaves the seeds out.
    """
    task, monitor = dataset.task, plan.recipe.monitor
    falling = monitor in task.falling
    rows = rows_of(study, plan, out)
    best = best_of(rows, falling=falling)
    found: dict[str, Any] = {
        "name": plan.search.name,
        "monitor": monitor,
        "better": "less" if falling else "more",
        "validation_rows": len(dataset.validation),
        "test_rows": len(dataset.test),
        "best": None,
        "own": next((row.value for row in rows if row.number == 0 and row.status == "complete"), None),
        "importance": importances(study, plan),
        "cost": costs(rows),
        "seeds": {"runs": [], "validation": None, "test": {}},
        "trials": [dataclasses.asdict(row) for row in rows],
    }
    _say_costs(found, screen)
    if best is not None:
        recipe = plan.recipe_with(plan.values(_params(study, best)))
        found["best"] = {"trial": best.number, "value": best.value, "values": dict(best.values)}
        _write(out / BEST, dump_recipe(recipe))
        screen.say("best", f"trial {best.number}: {told_best(found['best'])}; {out / BEST}")
        if train_again is not None:
            found["seeds"] = _seeds(plan, recipe, best, task, out, train_again, screen)
    _write(out / TABLE, as_csv(rows, plan, monitor))
    _write(out / OUTCOME, json.dumps(plain(found), indent=2, ensure_ascii=False) + "\n")
    for warning in write_page(out, plan, task, rows, found):
        screen.on_note(warning)
    if best is None:
        raise TrainingError(f"no trial is complete, expected one at least: see why in {out / TABLE}")
    screen.say("report", str(out / "report.html"))
    return found


def _params(study: optuna.Study, best: Row) -> dict[str, Any]:
    from zoo.sweep.study import NUMBER

    attempts = [each for each in study.get_trials(deepcopy=False) if each.user_attrs.get(NUMBER) == best.number]
    return attempts[-1].params


def _say_costs(found: dict[str, Any], screen: Screen) -> None:
    cost = found["cost"]
    told = ", ".join(f"{count:,} {status}" for status, count in cost["trials"].items())
    each = [f"a {name} one {cost[name]['seconds']:.1f} s" for name in ("complete", "pruned") if name in cost]
    share = [f"which is {cost['pruned_share']:.0%}"] if "pruned_share" in cost else []
    screen.say("trials", "; ".join([told, ", ".join([*each, *share])]))


def _seeds(
    plan: Plan, recipe: Recipe, best: Row, task: Task, out: Path, train_again: Again, screen: Screen
) -> dict[str, Any]:
    """The best recipe with each seed: its own, whose figure is that of its trial, and others, which chose nothing."""
    monitor, runs = recipe.monitor, []
    for seed in range(recipe.seed, recipe.seed + plan.search.seeds):
        folder = Path("best") / f"{best.number:04d}" / f"seed-{seed}"  # a search that goes on may find a better one
        done = finished_run(out / folder)
        if done is None:
            train_again(out / BEST, _seeded(recipe, seed), out / folder)
            done = finished_run(out / folder)
        if done is None:
            raise TrainingError(f"{out / folder} is not done, expected a finished run: see its log.txt")
        metrics = done.run["metrics"]
        value = metrics["validation"][monitor]
        runs.append({"seed": seed, "folder": str(folder), "validation": value, "test": metrics["test"]})
        shown = task.shown(monitor, value, metrics["validation"].get("rows"))
        screen.say(f"seed {seed}", f"validation {monitor} {shown}; test {task.told(metrics['test'])}")
        if seed == recipe.seed and value != best.value:
            screen.on_note(
                f"the best recipe run again gives {monitor} {value!r}, its trial gave {best.value!r}: the same numbers "
                "want the same machine, threads, backend and training.precision"
            )
    test = {
        name: spread
        for name in task.headline
        if (spread := _spread([run["test"].get(name) for run in runs], name, task))
    }
    return {"runs": runs, "validation": _spread([run["validation"] for run in runs], monitor, task), "test": test}


def _seeded(recipe: Recipe, seed: int) -> dict[str, int]:
    """The keys of a run with another seed, on the rows of the recipe's own: trials have learned from others' test."""
    if seed == recipe.seed:
        return {}
    groups = {f"tasks.{name}.data": each.data for name, each in recipe.tasks.items()} or {"data": recipe.data}
    return {"seed": seed, **{f"{key}.seed": recipe.seed for key, data in groups.items() if data.seed is None}}


def _spread(values: Sequence[float | None], name: str, task: Task) -> dict[str, Any] | None:
    """Mean, deviation and 95% interval of the mean, of two values or more; None where not all runs have one."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return None
    found: dict[str, Any] = {"mean": statistics.mean(known), "values": known}
    if len(known) > 1:
        low, high = seed_interval(known, share=task.kind(name) == "share")
        found |= {"deviation": statistics.stdev(known), "low": low, "high": high}
    return found


def _write(path: Path, text: str) -> None:
    with storage_errors(path.parent), write_atomically(path) as file:
        file.write(text.encode())
