"""What came of a search: a row a trial, the best of them, what they cost, and which keys mattered.

In come a plan and its study; out come plain values, for tables, JSON and the report. Nothing is refused.
"""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo.recipe.showing import as_cell
from zoo.runs.recorded import RUN
from zoo.runs.run_folder import RunFolder
from zoo.sweep.space import Plan
from zoo.sweep.study import NUMBER, WORKER, why_failed

if TYPE_CHECKING:
    import optuna

__all__ = [
    *(
        "Row",
        "as_csv",
        "best_of",
        "brief",
        "costs",
        "importances",
        "rows_of",
        "seconds_of",
        "told_best",
        "told_values",
        "trial_folder",
    ),
]

Status = Literal["complete", "pruned", "failed", "running", "waiting"]
STATES: Mapping[str, Status] = {
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial of the search, as its last attempt stands."""

    number: int
    status: Status
    value: float | None
    """The figure that the recipe monitors, on validation; of a pruned trial that of its last epoch."""
    values: Mapping[str, Any]
    """Those that are searched, by dotted key."""
    epochs: int
    seconds: float | None
    """What its run took in all; None where its folder is not here."""
    attempts: int
    """How often a worker began with it."""
    worker: str | None
    error: str | None


def trial_folder(out: Path, number: int) -> Path:
    """Where the run of a trial lies."""
    return out / "trials" / f"{number:04d}"


def rows_of(study: optuna.Study, plan: Plan, out: Path | None) -> list[Row]:
    """Every trial of the search once, in order; `out` has their run folders, None does not look for what they took."""
    attempts: dict[int, list[optuna.trial.FrozenTrial]] = {}
    for trial in study.get_trials(deepcopy=False):
        if NUMBER in trial.user_attrs:  # another one was asked for and not listed: see `Surplus` of working.py
            attempts.setdefault(trial.user_attrs[NUMBER], []).append(trial)
    return [_row(number, attempts[number], plan, out) for number in sorted(attempts)]


def _row(number: int, attempts: Sequence[optuna.trial.FrozenTrial], plan: Plan, out: Path | None) -> Row:
    last = attempts[-1]
    epochs = last.intermediate_values
    pruned = epochs[max(epochs)] if epochs and last.state.name == "PRUNED" else None
    own = plan.recipe_values() if number == 0 else {}
    return Row(
        number=number,
        status=STATES[last.state.name],
        value=last.value if last.state.name == "COMPLETE" else pruned,
        values={**own, **plan.values(last.params)},
        epochs=len(epochs),
        seconds=None if out is None else seconds_of(trial_folder(out, number)),
        attempts=sum(trial.datetime_start is not None for trial in attempts),
        worker=last.user_attrs.get(WORKER),
        error=why_failed(last),
    )


def seconds_of(folder: Path) -> float | None:
    """What a run took, as far as it is; None where there is none."""
    if not (folder / RUN).is_file():
        return None
    seconds: float | None = RunFolder(folder).run.get("timing", {}).get("total_seconds")
    return seconds


def best_of(rows: Sequence[Row], *, falling: bool) -> Row | None:
    """The best of those that are complete, of equals the first; None where none is."""
    complete = [row for row in rows if row.status == "complete" and row.value is not None]
    return min(complete, key=lambda row: (row.value or 0.0) * (1 if falling else -1), default=None)


def costs(rows: Sequence[Row]) -> dict[str, Any]:
    """Trials by status; in the mean, seconds and epochs of a complete and of a pruned one, and the latter's share."""
    found: dict[str, Any] = {"trials": dict(Counter(row.status for row in rows))}
    for status in ("complete", "pruned"):
        of = [row for row in rows if row.status == status]
        seconds = [row.seconds for row in of if row.seconds is not None]
        if seconds:
            mean = {"seconds": statistics.mean(seconds), "epochs": statistics.mean(row.epochs for row in of)}
            found[status] = mean
    if "complete" in found and "pruned" in found:
        found["pruned_share"] = found["pruned"]["seconds"] / found["complete"]["seconds"]
    found["seconds"] = sum(row.seconds or 0.0 for row in rows)
    return found


def importances(study: optuna.Study, plan: Plan) -> dict[str, float]:
    """How much of the differences between complete trials each key explains, the most important first (fANOVA, Hutter
    et al. 2014); empty where there are too few of them, or all have one figure."""
    import optuna

    keys = {each.key for each in plan.parameters}
    states = (optuna.trial.TrialState.COMPLETE,)
    trials = [trial for trial in study.get_trials(deepcopy=False, states=states) if {*trial.params} == keys]
    if len(trials) < 4 or len({trial.value for trial in trials}) < 2:
        return {}
    whole = optuna.create_study(direction=study.direction)  # without those that have not all keys
    whole.add_trials(trials)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=plan.search.seed)
    return {
        key: float(value) for key, value in optuna.importance.get_param_importances(whole, evaluator=evaluator).items()
    }


def as_csv(rows: Sequence[Row], plan: Plan, monitor: str) -> str:
    """A line a trial, a column a key."""
    keys, table = [each.key for each in plan.parameters], io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["trial", "status", monitor, *keys, "epochs", "seconds", "attempts", "worker", "error"])
    for row in rows:
        values = [_cell(row.values[key]) if key in row.values else "" for key in keys]
        rest = [row.epochs, row.seconds, row.attempts, row.worker, row.error]
        writer.writerow([row.number, row.status, row.value, *values, *(_cell(each) for each in rest)])
    return table.getvalue()


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    return as_cell(value if isinstance(value, str) else json.dumps(value))


def told_values(values: Mapping[str, Any]) -> str:
    """Values for people, each under as much of its key as it takes to know it."""
    names = Counter(map(brief, values))
    told = []
    for key, value in values.items():
        shown = f"{value:.3g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
        told.append(f"{brief(key) if names[brief(key)] == 1 else key} {shown}")
    return ", ".join(told)


def told_best(best: Mapping[str, Any]) -> str:
    """The values of the best trial, as sweep.json has it, for people."""
    return f"{'the recipe as it is, ' if best['trial'] == 0 else ''}{told_values(best['values'])}"


def brief(key: str) -> str:
    """The last part of a key, with the one before it where it says nothing alone."""
    group, _, last = key.rpartition(".")
    return f"{group.rpartition('.')[2]}.{last}" if last == "type" else last
