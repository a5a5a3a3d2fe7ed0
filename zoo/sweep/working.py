"""A worker of a search: takes the next trial that waits, trains it as a run of its own, tells what came of it.

In come a plan, its study and the function that trains a recipe; out come run folders, and lines of what goes on. What a
trial's training refuses ends the trial, as does a pruner; what no other trial could do better either (data, disk, a
signal) ends the worker, and leaves the trial to be gone on with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from zoo.errors import RecipeError, TrainingError
from zoo.recipe import Recipe
from zoo.runs.recorded import RUN
from zoo.runs.run_folder import Pruned, RunFolder
from zoo.runs.screen import Screen
from zoo.runs.staged import drop_models
from zoo.sweep.outcome import best_of, rows_of, seconds_of, told_values, trial_folder
from zoo.sweep.space import Plan
from zoo.sweep.study import ERROR, NUMBER, WORKER, again, give_back
from zoo.tasks.shown import figure

if TYPE_CHECKING:
    import optuna

__all__ = ["Train", "work"]

WAIT = 1.0
"""Seconds between two looks for a trial, where all that are left are others'."""


class Train(Protocol):
    """Trains a recipe into a folder without a look at the test split; see `zoo.run.train`."""

    def __call__(
        self, recipe: Recipe, out: Path, *, resume: bool, progress: Screen, log: Sequence[str], tested: bool
    ) -> object: ...


class Surplus(Exception):
    """Another worker took the last trial that waited, and the study made one more, which is none of the search."""


class Reporting(Screen):
    """Shows nothing, and tells a trial the figure of each epoch.

    Raises Pruned where the pruner says so. In the last epoch it is not asked: what is left is an evaluation.
    """

    def __init__(self, trial: optuna.Trial, monitor: str, reported: Mapping[int, float]) -> None:
        """`reported`: figures of epochs that an earlier attempt has told."""
        super().__init__(quiet=True)
        self._trial, self._monitor, self._reported, self._steps = trial, monitor, reported, 0

    def on_begin(self, step: int, steps: int) -> None:
        super().on_begin(step, steps)
        self._steps = steps

    def on_row(self, row: Mapping[str, Any]) -> None:
        super().on_row(row)
        if row["kind"] != "epoch":
            return
        epoch, value = row["epoch"], row["validation"][self._monitor]
        if epoch not in self._reported:
            self._trial.report(value, epoch)
        if row["step"] < self._steps and self._trial.should_prune():
            raise Pruned(f"the pruner stopped it after epoch {epoch}, at {self._monitor} {value:.4g} on validation")


class Objective:
    """What Optuna asks for the figure of a trial."""

    def __init__(
        self,
        plan: Plan,
        study: optuna.Study,
        out: Path,
        *,
        worker: str,
        label: str,
        train: Train,
        log: Sequence[str],
        screen: Screen,
    ) -> None:
        """worker: what the storage knows it by; label: what people do."""
        self._plan, self._study, self._out, self._worker, self._label = plan, study, out, worker, label
        self._train, self._log, self._screen = train, log, screen
        self.at: optuna.trial.FrozenTrial | None = None
        """The trial that goes on; None between two."""

    def __call__(self, trial: optuna.Trial) -> float:
        import optuna

        number = trial.user_attrs.get(NUMBER)
        if number is None:
            raise Surplus
        trial.set_user_attr(WORKER, self._worker)
        values = self._plan.suggested(trial, untouched=number == 0)
        self.at = self._study.get_trials(deepcopy=False)[trial.number]
        folder, monitor = trial_folder(self._out, number), self._plan.recipe.monitor
        told = told_values(values) if number else "the recipe as it is"
        begun = "goes on" if (folder / RUN).is_file() else "begins"
        self._say(number, f"{begun} in worker {self._label}: {told}")
        try:
            if (folder / RUN).is_file() and RunFolder(folder).run.get("status") == "pruned":
                raise Pruned
            self._train(
                self._plan.recipe_with(values),
                folder,
                resume=True,
                progress=Reporting(trial, monitor, self.at.intermediate_values),
                log=self._log,
                tested=False,
            )
        except Pruned:
            raise optuna.TrialPruned from None
        except (TrainingError, RecipeError) as error:
            trial.set_user_attr(ERROR, str(error))
            raise
        drop_models(folder)  # the best recipe is run again, with the others the figures are wanted alone
        value: float = RunFolder(folder).run["metrics"]["validation"][monitor]
        return value

    def told(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Say what came of a trial, and how it stands with the best one."""
        self.at = None
        if NUMBER not in trial.user_attrs:
            return
        rows = {row.number: row for row in rows_of(study, self._plan, None)}
        falling = study.direction.name == "MINIMIZE"
        row, best = rows[trial.user_attrs[NUMBER]], best_of(list(rows.values()), falling=falling)
        parts = [{"complete": "done", "failed": f"failed: {row.error}"}.get(row.status, row.status)]
        if row.value is not None:
            parts.append(f"{self._plan.recipe.monitor} {self._shown(row.value)}")
        if row.epochs and row.status == "pruned":
            parts.append(f"after {row.epochs} epoch{'s' * (row.epochs > 1)}")
        if (seconds := seconds_of(trial_folder(self._out, row.number))) is not None:
            parts.append(f"{seconds:.1f} s")
        if best is not None and best.value is not None:
            parts.append(f"best so far {self._shown(best.value)}, trial {best.number}")
        self._say(row.number, "   ".join(parts))

    def _shown(self, value: float) -> str:
        return shown_figure(self._plan, value)

    def _say(self, number: int, text: str) -> None:
        self._screen.say(f"trial {number}", text)


def shown_figure(plan: Plan, value: float) -> str:
    """The monitored figure for people."""
    from zoo.tasks import task_of

    task = task_of(plan.recipe.model.head)
    return figure(task.kind(plan.recipe.monitor.rpartition(".")[2]), value, None)


def work(
    plan: Plan,
    study: optuna.Study,
    out: Path,
    *,
    worker: str,
    label: str,
    train: Train,
    log: Sequence[str],
    screen: Screen,
    database: bool,
    over: Callable[[], bool],
) -> None:
    """Take trials until none is left, the dead workers' included; `over` says when no other one is to be begun."""
    import optuna

    waiting, running = optuna.trial.TrialState.WAITING, optuna.trial.TrialState.RUNNING
    objective = Objective(plan, study, out, worker=worker, label=label, train=train, log=log, screen=screen)
    while not over():
        for number in give_back(study, out, own=worker, database=database):
            screen.say(f"trial {number}", "its worker is gone: it waits again")
        left = {trial.state for trial in study.get_trials(deepcopy=False, states=(waiting, running))}
        if not left:
            return
        if waiting not in left:
            time.sleep(WAIT)
            continue
        try:
            study.optimize(
                objective,
                n_trials=1,
                catch=(TrainingError, RecipeError, Surplus),
                callbacks=[objective.told],
                gc_after_trial=True,
            )
        except BaseException:
            if objective.at is not None:  # a later worker goes on with it
                study.tell(objective.at.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
                again(study, study.get_trials(deepcopy=False)[objective.at.number], died=False)
            raise
