"""A worker of a search: takes the next trial that waits, trains it as a run of its own, tells what came of it.

In come a plan, its study and the function that trains a recipe; out come run folders, and lines of what goes on. What a
trial's training refuses ends the trial, as does a pruner; what no other trial could do better either (data, disk, a
signal) ends the worker, and leaves the trial to be gone on with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import RecipeError, TrainingError
from zoo.runs.run_folder import Pruned
from zoo.runs.screen import Screen
from zoo.sweep.outcome import trial_folder
from zoo.sweep.space import Plan
from zoo.sweep.study import ERROR, NUMBER, again, give_back
from zoo.sweep.trying import Attempts, Train, tried

if TYPE_CHECKING:
    import optuna

__all__ = ["work"]

WAIT = 1.0
"""Seconds between two looks for a trial, where all that are left are others'."""


class Surplus(Exception):
    """Another worker took the last trial that waited, and the study made one more, which is none of the search."""


class Objective:
    """What Optuna asks for the figure of a trial."""

    def __init__(self, plan: Plan, out: Path, attempts: Attempts, *, train: Train, log: Sequence[str]) -> None:
        self._plan, self._out, self._attempts, self._train, self._log = plan, out, attempts, train, log
        self.at: int | None = None
        """What the storage calls the trial that goes on; None between two."""

    def __call__(self, trial: optuna.Trial) -> float:
        import optuna

        if NUMBER not in trial.user_attrs:
            raise Surplus
        self.at = trial.number
        number, values, stops = self._attempts.begin(trial)
        folder = trial_folder(self._out, number)
        try:
            return tried(self._plan, values, folder, train=self._train, log=self._log, stops=stops)
        except Pruned:
            raise optuna.TrialPruned from None
        except (TrainingError, RecipeError) as error:
            trial.set_user_attr(ERROR, str(error))
            raise

    def told(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Say what came of a trial."""
        self.at = None
        if NUMBER in trial.user_attrs:
            self._attempts.say_ended(trial.user_attrs[NUMBER])


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
    """Take trials until none is left, the dead workers' included; `over` says when no other one is to be begun.

    worker: what the storage knows it by; label: what people do.
    """
    import optuna

    waiting, running = optuna.trial.TrialState.WAITING, optuna.trial.TrialState.RUNNING
    attempts = Attempts(plan, study, out, worker=worker, where=f" in worker {label}", screen=screen)
    objective = Objective(plan, out, attempts, train=train, log=log)
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
            if objective.at is not None:
                study.tell(objective.at, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
                left_off = study.get_trials(deepcopy=False)[objective.at]
                if left_off.state == optuna.trial.TrialState.FAIL and again(study, left_off, died=False):
                    screen.say(f"trial {left_off.user_attrs[NUMBER]}", "stopped: it waits again")
            raise
