"""One trial of a search: the values that it tries, its training as a run of its own, and lines of how it goes.

In come a plan, a trial and the function that trains a recipe; out come a run folder and the figure that the recipe
monitors. Refused: what training refuses. Who asks the study for trials is a worker (`working`), or the one process that
hands them out to an engine (`ledger`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from zoo.recipe import Recipe
from zoo.runs.recorded import RUN
from zoo.runs.run_folder import Pruned, RunFolder
from zoo.runs.screen import Screen
from zoo.runs.staged import drop_models
from zoo.sweep.outcome import best_of, rows_of, seconds_of, told_values, trial_folder
from zoo.sweep.space import Plan
from zoo.sweep.study import NUMBER, WORKER
from zoo.tasks.shown import figure

if TYPE_CHECKING:
    import optuna

__all__ = ["Attempts", "Stops", "Train", "tried"]


class Train(Protocol):
    """Trains a recipe into a folder without a look at the test split; see `zoo.run.train`."""

    def __call__(
        self, recipe: Recipe, out: Path, *, resume: bool, progress: Screen, log: Sequence[str], tested: bool
    ) -> object: ...


Stops = Callable[[int, float, bool], bool]
"""Told the number of an epoch, its figure, and whether it is the last one: whether the trial is stopped after it."""


class Reporting(Screen):
    """Shows nothing, and tells the figure of each epoch; raises Pruned where it hears so."""

    def __init__(self, monitor: str, stops: Stops) -> None:
        super().__init__(quiet=True)
        self._monitor, self._stops, self._steps = monitor, stops, 0

    def on_begin(self, step: int, steps: int) -> None:
        super().on_begin(step, steps)
        self._steps = steps

    def on_row(self, row: Mapping[str, Any]) -> None:
        super().on_row(row)
        if row["kind"] != "epoch":
            return
        epoch, value = row["epoch"], row["validation"][self._monitor]
        if self._stops(epoch, value, row["step"] >= self._steps):
            raise Pruned(f"the pruner stopped it after epoch {epoch}, at {self._monitor} {value:.4g} on validation")


def tried(
    plan: Plan, values: Mapping[str, Any], folder: Path, *, train: Train, log: Sequence[str], stops: Stops
) -> float:
    """Train a trial in its folder, or go on with it there; returns its figure.

    Raises Pruned where it is stopped, or was when an earlier attempt had it, and as `train` does.
    """
    if (folder / RUN).is_file() and RunFolder(folder).run.get("status") == "pruned":
        raise Pruned
    progress = Reporting(plan.recipe.monitor, stops)
    train(plan.recipe_with(values), folder, resume=True, progress=progress, log=log, tested=False)
    drop_models(folder)  # the best recipe is run again, with the others the figures are wanted alone
    value: float = RunFolder(folder).run["metrics"]["validation"][plan.recipe.monitor]
    return value


class Attempts:
    """Trials of a study as one process takes them: their values, their figures after each epoch, and how they end.

    Args:
        worker: what the storage knows the process by.
        where: what people do, behind `begins`.
    """

    def __init__(self, plan: Plan, study: optuna.Study, out: Path, *, worker: str, where: str, screen: Screen) -> None:
        self._plan, self._study, self._out = plan, study, out
        self._worker, self._where, self._screen = worker, where, screen

    def begin(self, trial: optuna.Trial) -> tuple[int, dict[str, Any], Stops]:
        """The number of a trial that the study has just given, its values, and what is told of its epochs."""
        number = trial.user_attrs[NUMBER]
        trial.set_user_attr(WORKER, self._worker)
        values = self._plan.suggested(trial, untouched=number == 0)
        told = told_values(values) if number else "the recipe as it is"
        begun = "goes on" if (trial_folder(self._out, number) / RUN).is_file() else "begins"
        self._say(number, f"{begun}{self._where}: {told}")
        known = {*self._study.get_trials(deepcopy=False)[trial.number].intermediate_values}

        def stops(epoch: int, value: float, last: bool) -> bool:
            """In the last epoch the pruner is not asked: what is left is an evaluation."""
            if epoch not in known:  # an earlier attempt may have told it
                trial.report(value, epoch)
                known.add(epoch)
            return not last and trial.should_prune()

        return number, values, stops

    def say_ended(self, number: int) -> None:
        """Say what came of a trial, and how it stands with the best one."""
        rows = {row.number: row for row in rows_of(self._study, self._plan, None)}
        falling = self._study.direction.name == "MINIMIZE"
        row, best = rows[number], best_of(list(rows.values()), falling=falling)
        parts = [{"complete": "done", "failed": f"failed: {row.error}"}.get(row.status, row.status)]
        if row.value is not None:
            parts.append(f"{self._plan.recipe.monitor} {self._shown(row.value)}")
        if row.epochs and row.status == "pruned":
            parts.append(f"after {row.epochs} epoch{'s' * (row.epochs > 1)}")
        if (seconds := seconds_of(trial_folder(self._out, row.number))) is not None:
            parts.append(f"{seconds:.1f} s")
        if best is not None and best.value is not None:
            parts.append(f"best so far {self._shown(best.value)}, trial {best.number}")
        self._say(number, "   ".join(parts))

    def _shown(self, value: float) -> str:
        return shown_figure(self._plan, value)

    def _say(self, number: int, text: str) -> None:
        self._screen.say(f"trial {number}", text)


def shown_figure(plan: Plan, value: float) -> str:
    """The monitored figure for people."""
    from zoo.tasks import task_of

    task = task_of(plan.recipe.model.head)
    return figure(task.kind(plan.recipe.monitor.rpartition(".")[2]), value, None)
