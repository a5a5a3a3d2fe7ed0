"""The trials of a search as one process hands them out to an engine that runs them elsewhere, and hears of them.

In come a plan and its study, which nobody else writes to; out go values to try, and whether a trial is stopped. A trial
whose process died waits again, as a worker's does. A fault that no other trial could do better either is kept for who
has begun the search, and no further trial is handed out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo.errors import RecipeError, TrainingError, ZooError
from zoo.runs.run_folder import Pruned
from zoo.runs.screen import Screen
from zoo.sweep.outcome import rows_of
from zoo.sweep.space import Plan
from zoo.sweep.study import ERROR, again, give_back, open_study
from zoo.sweep.trying import Attempts, Stops

if TYPE_CHECKING:
    import optuna

__all__ = ["End", "Ledger", "end_of", "is_pruned"]


@dataclass(frozen=True, kw_only=True)
class End:
    """How the training of a trial ended, in its own process."""

    status: Literal["complete", "pruned", "failed", "fault"]
    """`fault` is one that no other trial could do better either."""
    value: float | None = None
    """The figure of one that is complete."""
    error: str = ""
    code: int = 0
    """The exit code of a fault."""


def end_of(train: Callable[[], float]) -> End:
    """How a training ends that gives a figure, or raises what `zoo.sweep.trying.tried` does."""
    try:
        return End(status="complete", value=train())
    except Pruned:
        return End(status="pruned")
    except (TrainingError, RecipeError) as error:
        return End(status="failed", error=str(error))
    except ZooError as error:
        return End(status="fault", error=str(error), code=error.exit_code)
    except Exception as error:  # noqa: BLE001 - it is told where the search was begun
        return End(status="fault", error=f"a bug of ours: {type(error).__name__}: {error}", code=ZooError.exit_code)


def is_pruned(plan: Plan, out: Path, number: int) -> bool:
    """Whether the study in a sweep's folder says that a trial was stopped."""
    rows = rows_of(open_study(plan, out, None), plan, None)
    return any(row.number == number and row.status == "pruned" for row in rows)


class Ledger:
    """Which trial is where, by the key that the engine knows it by.

    Args:
        worker: what the storage knows this process by, whose lock it holds.
        over: says when no further trial is to be begun.
    """

    def __init__(
        self, plan: Plan, study: optuna.Study, out: Path, *, worker: str, screen: Screen, over: Callable[[], bool]
    ) -> None:
        self._study, self._screen, self._over = study, screen, over
        self._attempts = Attempts(plan, study, out, worker=worker, where="", screen=screen)
        self._given: dict[str, tuple[optuna.Trial, int, Stops]] = {}
        self.fault: End | None = None
        """What ended the search; None while nothing has."""
        for number in give_back(study, out, own=worker, database=False):
            screen.say(f"trial {number}", "its worker is gone: it waits again")

    @property
    def closed(self) -> bool:
        """Whether no further trial will be handed out; one that is given out may still come back."""
        return self._over() or self.fault is not None or not (self._given or self._waits)

    def take(self, key: str) -> tuple[int, dict[str, Any]] | None:
        """The next trial that waits: its number, and its values by dotted key; None where none does."""
        if not self._waits:
            return None
        trial = self._study.ask()
        number, values, stops = self._attempts.begin(trial)
        self._given[key] = trial, number, stops
        return number, values

    def stops(self, key: str, epoch: int, value: float, last: bool) -> bool:
        """Whether a trial is stopped after an epoch, of which it has told; the study knows so first (`is_pruned`)."""
        import optuna

        trial, _, stops = self._given[key]
        stopped = stops(epoch, value, last)
        if stopped:
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return stopped

    def ended(self, key: str, end: End) -> None:
        """Hear how a trial ended, also one that was stopped."""
        import optuna

        trial, number, _ = self._given.pop(key)
        if end.status == "fault":
            self.fault = self.fault or end
            self._wait_again(trial, died=False)
            return
        if end.error:
            trial.set_user_attr(ERROR, end.error)
        states = {"pruned": optuna.trial.TrialState.PRUNED, "failed": optuna.trial.TrialState.FAIL}
        self._study.tell(trial, end.value, state=states.get(end.status), skip_if_finished=True)
        self._attempts.say_ended(number)

    def died(self, key: str) -> None:
        """Hear that the process of a trial is gone: it waits again, unless too many of its processes died."""
        trial, number, _ = self._given.pop(key)
        if self._wait_again(trial, died=True):
            self._screen.say(f"trial {number}", "its process is gone: it waits again")
        else:
            self._attempts.say_ended(number)

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """The block in which trials are handed out; those of a block that is broken off wait again."""
        try:
            yield
        except BaseException:
            for trial, number, _ in self._given.values():
                if self._wait_again(trial, died=False):
                    self._screen.say(f"trial {number}", "stopped: it waits again")
            raise

    def _wait_again(self, trial: optuna.Trial, *, died: bool) -> bool:
        """Have a trial wait that is not known to have ended; returns whether it does."""
        import optuna

        self._study.tell(trial, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
        found = self._study.get_trials(deepcopy=False)[trial.number]
        return found.state == optuna.trial.TrialState.FAIL and again(self._study, found, died=died)

    @property
    def _waits(self) -> bool:
        import optuna

        return bool(self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)))
