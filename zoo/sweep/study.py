"""The trials of a search where all its workers see them: an Optuna study, in a file of the sweep's folder or in a
database.

In come a plan, a folder and, for a database, its URL; out comes the study, with every trial waiting in it from the
start: a worker takes the next one that waits, and a trial whose process died waits again. Refused: optuna is not
installed, a database or its driver that is not there.
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.data.locking import Lock
from zoo.data.writing import make_folder, storage_errors
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.recipe.hiding import hide_in
from zoo.sweep.space import Plan

if TYPE_CHECKING:
    import optuna

__all__ = [
    "ERROR",
    "JOURNAL",
    "NUMBER",
    "WORKER",
    "again",
    "begin",
    "give_back",
    "line_up",
    "open_study",
    "refuse_missing",
    "storage_problems",
    "why_failed",
    "worker_lock",
]

JOURNAL = "journal.log"
NUMBER, WORKER, DEATHS, ERROR = "number", "worker", "deaths", "error"
"""What a trial says of itself in the storage: which one of the search it is, also when it is taken up again; who has
it; how many of its processes died; why it failed."""
OWNER = "owner"
"""What a study says of itself: which folder began it."""
RETRIES = 2
"""How often a trial is taken up again whose process died."""
HEARTBEAT, SILENCE = 10, 60
"""Seconds between two signs of life in a database, and those after which a worker counts as dead."""
UNNAMED = 60.0
"""Seconds after which a trial of which no worker says that it has it counts as one of a dead worker."""


def refuse_missing(engine: str | None = None) -> None:
    """EnvironmentFault where optuna is not installed, or the engine that trials are to run on."""
    if importlib.util.find_spec("optuna") is None:
        raise EnvironmentFault("optuna is not installed, which zoo.sweep needs: pip install 'text-zoo[sweep]'")
    if engine is not None and importlib.util.find_spec(engine) is None:
        raise EnvironmentFault(
            f"{engine} is not installed, which --engine {engine} needs: pip install 'text-zoo[sweep,{engine}]'"
        )


@contextlib.contextmanager
def storage_problems() -> Iterator[None]:
    """What a database, or its driver, raises within, as errors of ours; without passwords."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    try:
        yield
    except (ArgumentError, NoSuchModuleError) as error:
        raise RecipeError(
            f"--storage: got no address of a database ({hide_in(str(error))}), expected one as "
            "postgresql+psycopg://USER@HOST/DATABASE"
        ) from None
    except (SQLAlchemyError, StorageInternalError) as error:
        told = hide_in(" ".join(str(error.__cause__ or error).split()))
        raise OutputError(
            f"the storage does not answer: {told}; see that what --storage names runs and may be written, and "
            "go on with --resume"
        ) from None


def _storage(out: Path, url: str | None) -> optuna.storages.BaseStorage:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what there is to say is said by the workers
    if url is None:
        with storage_errors(out):
            return optuna.storages.JournalStorage(JournalFileBackend(str(out / JOURNAL)))
    with storage_problems(), warnings.catch_warnings():
        # The heartbeat is marked as one that may change, and constraints.txt pins what it was tried with.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        try:
            return optuna.storages.RDBStorage(
                url,
                engine_kwargs={"pool_pre_ping": True},
                heartbeat_interval=HEARTBEAT,
                grace_period=SILENCE,
                heartbeat_stale_trial_callback=_silent,
            )
        except ImportError:
            repair = "pip install 'text-zoo[postgresql]'" if url.startswith("postgresql") else "install that"
            raise EnvironmentFault(
                f"the driver of the database that --storage names is not installed: {repair}"
            ) from None


def begin(plan: Plan, out: Path, url: str | None, *, falling: bool, resume: bool) -> bool:
    """Make the study, or with `resume` go on with the one that is there; returns whether it is this folder's own, or
    in a database another one's that this one helps with.

    falling: whether less of the figure is better by which trials are judged.
    """
    import optuna

    storage, name, owner = _storage(out, url), plan.search.name, f"{socket.gethostname()}:{out.resolve()}"
    with storage_problems():
        try:
            study = optuna.create_study(
                storage=storage, study_name=name, direction="minimize" if falling else "maximize"
            )
        except optuna.exceptions.DuplicatedStudyError:
            if not resume:
                raise OutputError(
                    f"the storage holds a search {name} already: choose another name in the search file, or go on "
                    "with it by --resume"
                ) from None
            study = optuna.load_study(study_name=name, storage=storage)
        if OWNER not in study.user_attrs:
            study.set_user_attr(OWNER, owner)
        return url is None or study.user_attrs[OWNER] == owner  # the file of a folder that was moved is still its own


def open_study(plan: Plan, out: Path, url: str | None, *, draw: Sequence[int] = ()) -> optuna.Study:
    """The study, with sampler and pruner of the plan; `draw` tells workers apart, and parts of one that went on."""
    import optuna

    storage = _storage(out, url)
    seed = int(np.random.SeedSequence((plan.search.seed, *draw)).generate_state(1)[0])
    samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        # Its trials wait with their values: Optuna's own sampler of grids would try the recipe's own point twice.
        "grid": lambda: optuna.samplers.RandomSampler(seed=seed),
    }
    pruners: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
        "median": optuna.pruners.MedianPruner,
        "hyperband": optuna.pruners.HyperbandPruner,
        "none": optuna.pruners.NopPruner,
    }
    with storage_problems():
        return optuna.load_study(
            study_name=plan.search.name,
            storage=storage,
            sampler=samplers[plan.search.sampler](),
            pruner=pruners[plan.search.pruner](),
        )


def line_up(study: optuna.Study, plan: Plan) -> int:
    """Have every trial of the plan wait that is not there yet, the recipe as it is first; returns their number."""
    import optuna

    known = {trial.user_attrs[NUMBER] for trial in study.get_trials(deepcopy=False) if NUMBER in trial.user_attrs}
    total = min(plan.trials, 1 + len(plan.grid)) if plan.search.sampler == "grid" else plan.trials
    for number in range(total):
        if number in known:
            continue
        if number == 0 or plan.search.sampler == "grid":
            point = plan.grid[number - 1] if number else plan.own
            study.enqueue_trial(dict(point), user_attrs={NUMBER: number})
        else:
            waiting = optuna.trial.create_trial(state=optuna.trial.TrialState.WAITING, user_attrs={NUMBER: number})
            study.add_trial(waiting)
    return max(total, len(known))


def again(study: optuna.Study, trial: optuna.trial.FrozenTrial, *, died: bool = True) -> bool:
    """Have a trial that has failed wait once more, with its values and what it has reported: it goes on in its run
    folder. One whose process `died` too often is left as it is; returns whether it waits."""
    import optuna

    deaths = trial.user_attrs.get(DEATHS, 0) + died
    if NUMBER not in trial.user_attrs or deaths > RETRIES:
        return False
    study.add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={NUMBER: trial.user_attrs[NUMBER], DEATHS: deaths},
            system_attrs=trial.system_attrs,
            intermediate_values=trial.intermediate_values,
        )
    )
    return True


def why_failed(trial: optuna.trial.FrozenTrial) -> str | None:
    """The reason, of a trial that has failed for good."""
    told: str | None = trial.user_attrs.get(ERROR)
    if told is None and trial.state.name == "FAIL" and trial.user_attrs.get(DEATHS, 0) == RETRIES:
        return f"its process died {RETRIES + 1} times: see its log.txt, and what the system's log says of it"
    return told


def _silent(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """What the heartbeat calls for a trial whose worker it has not heard of."""
    again(study, trial)


def worker_lock(out: Path, worker: str) -> Lock:
    """What a worker holds as long as it lives; in a database its heartbeat says so."""
    with storage_errors(out):
        make_folder(out / "workers")
    return Lock.beside(out / "workers" / worker)


def give_back(study: optuna.Study, out: Path, *, own: str, database: bool) -> list[int]:
    """Have the trials of dead workers wait again; returns their numbers, where it is not the database that found them.
    `own` is the worker that looks."""
    import optuna

    if database:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        return []
    found = []
    for worker in {_worker(trial) for trial in _running(study)} - {own}:
        if worker is None:
            found += _failed(study, None)
            continue
        lock = worker_lock(out, worker)
        if lock.take():  # nobody holds it, so it is dead; who takes it alone gives its trials back
            try:
                found += _failed(study, worker)
            finally:
                lock.release()
    return found


def _failed(study: optuna.Study, worker: str | None) -> list[int]:
    """Fail the trials of a worker that is gone, and have them wait again; None are those that nobody says to have."""
    import optuna

    numbers = []
    for trial in _running(study):
        if _worker(trial) != worker or (worker is None and not _old(trial)):
            continue
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
        again(study, trial)
        numbers.append(trial.user_attrs.get(NUMBER, trial.number))
    return numbers


def _running(study: optuna.Study) -> list[Any]:
    import optuna

    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))


def _worker(trial: optuna.trial.FrozenTrial) -> str | None:
    name: str | None = trial.user_attrs.get(WORKER)
    return name


def _old(trial: optuna.trial.FrozenTrial) -> bool:
    begun = trial.datetime_start
    return begun is not None and (datetime.now() - begun).total_seconds() > UNNAMED
