"""`python -m zoo.sweep SWEEP.yaml`: search over the keys of a recipe, many trials, each a run of its own.

In comes a search file; out comes a folder: a run folder a trial, the best recipe, its runs with further seeds, a table
and a report. The parent imports no backend; its workers, a process each, train one trial after another.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from zoo import cli
from zoo.backend import choose
from zoo.data.backbones import bring, missing
from zoo.data.dataset import Dataset, load_dataset
from zoo.data.locking import MARKS, Lock
from zoo.data.room import refuse_full_cache
from zoo.data.writing import make_folder, remove_empty, storage_errors, write_atomically
from zoo.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, OutputError, RecipeError, ZooError
from zoo.recipe import dump_recipe
from zoo.recipe.hiding import hide_in, show
from zoo.recipe.showing import as_json
from zoo.runs.default_folder import default_folder
from zoo.runs.json_values import plain
from zoo.runs.resuming import called
from zoo.runs.screen import Screen
from zoo.runs.tracking import Family, refuse_loggers
from zoo.stopping import Terminated, leave
from zoo.sweep.conclusion import conclude
from zoo.sweep.ledger import Ledger
from zoo.sweep.reading import SEARCH, read_kept, read_plan, refuse_rows, texts_of
from zoo.sweep.space import Plan
from zoo.sweep.study import JOURNAL, begin, line_up, open_study, refuse_missing, storage_problems, worker_lock
from zoo.sweep.workers import KINDS, call, environment, keep

if TYPE_CHECKING:
    from zoo.engines.on_ray_tune import Cluster

Call = Callable[[Sequence[str]], None]
"""Runs a Python process with these words behind the interpreter to its end."""
STORAGE = "ZOO_SWEEP_STORAGE"
"""What stands for `--storage` in the environment."""
FREE = ("trials", "seeds", "pruner")
"""Keys of a search that may change when it goes on."""


def sweep(
    search: Annotated[
        str, typer.Argument(metavar="SWEEP", help="A search file: a recipe, and which of its keys are searched.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The sweep's folder, this very one. Default: runs/NAME/sweep-TIME."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Trials that are trained at once. Default: 1, on a cluster as many as it has room for.",
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", metavar="N", min=1, help="Trials in all, in place of the file's.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=0.0, help="After so long no further trial is begun."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            metavar="URL",
            envvar=STORAGE,
            help="A database for workers on several machines, as postgresql+psycopg://USER@HOST/NAME. Default: a file "
            "in the sweep's folder.",
        ),
    ] = None,
    engine: Annotated[
        Literal["ray"] | None,
        typer.Option("--engine", help="A cluster to train on, by Ray Tune. Default: processes of this machine."),
    ] = None,
    cpus: Annotated[
        float | None,
        typer.Option(
            "--cpus-per-trial", metavar="N", min=0.0, help="Cores of the cluster that a trial has. Default: 1."
        ),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            "--gpus-per-trial", metavar="N", min=0.0, help="Its GPUs. Default: 1, or none where the cluster has none."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the search that --out, or --storage, holds.")
    ] = False,
    log: Annotated[
        list[str] | None,
        typer.Option("--log", metavar="NAME", help="Also write for tensorboard or mlflow; may be repeated."),
    ] = None,
    worker: Annotated[int | None, typer.Option("--worker", hidden=True)] = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Search over keys of a recipe: learning rate, batch size, lengths, or any other.

    Example: python -m zoo.sweep recipes/sweeps/quickstart.yaml --workers 2 --out runs/sweep
    """
    refuse_missing(engine)
    _refuse_beside(engine, {"--storage": storage}, {"--cpus-per-trial": cpus, "--gpus-per-trial": gpus})
    refuse_loggers(log or ())
    loggers = [word for name in log or () for word in ("--log", name)]
    if worker is not None:
        try:
            _work(out or Path(), worker, timeout=timeout, storage=storage, log=log or ())
        except (KeyboardInterrupt, Terminated) as error:  # who started it says so, and how it goes on
            leave(EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_TERMINATED)
        return 0
    plan = read_plan(search, cli.find_recipe)
    if trials is not None:
        plan = plan.with_trials(trials)
    screen = Screen()
    backend = choose(plan.recipe.backend)
    screen.say("backend", f"{backend.name} ({backend.reason})")
    dataset = _rows(plan, screen)
    out = out if out is not None else default_folder(plan.search.name, "sweep")
    with folder_of(out, plan, storage, resume=resume) as kept:
        try:
            own = _begin(plan, dataset, out, storage, kept=kept, resume=resume)
            family = _family(plan, out, storage) if "mlflow" in (log or ()) else None
            told = {"KERAS_BACKEND": backend.name, **(family.environment if family is not None else {})}
            with contextlib.ExitStack() as connected:
                if engine is None:
                    limit = [] if timeout is None else ["--timeout", str(timeout)]
                    run = _by_workers(plan, out, workers or 1, [*loggers, *limit], told, storage, screen)
                else:
                    from zoo.engines.on_ray_tune import cluster

                    nodes = connected.enter_context(cluster(told, cpus=1.0 if cpus is None else cpus, gpus=gpus))
                    _on_cluster(nodes, plan, out, at_once=workers, timeout=timeout, log=log or (), screen=screen)
                    run = nodes.call

                def train_again(file: Path, changes: Mapping[str, int], folder: Path) -> None:
                    changed = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
                    run(["-m", "zoo.run", str(file), *changed, "--out", str(folder), "--resume", *loggers])

                with storage_problems():
                    study = open_study(plan, out, storage)
                    found = conclude(plan, study, dataset, out, train_again=train_again if own else None, screen=screen)
            if family is not None:
                family.end({f"validation/{found['monitor']}": found["best"]["value"]}, found["best"]["values"])
        except BaseException as error:
            if not isinstance(error, ZooError):
                given: dict[str, object] = {"--out": out, "--workers": workers, "--trials": trials}
                given |= {"--timeout": timeout, "--engine": engine}
                given |= {"--cpus-per-trial": cpus, "--gpus-per-trial": gpus}
                if storage is not None and os.environ.get(STORAGE) != storage:
                    given["--storage"] = hide_in(storage)
                options = [word for name, value in given.items() if value is not None for word in (name, str(value))]
                words = [search, *options, *loggers, "--resume"]
                error.add_note(f"go on with: {called('zoo.sweep', words, backend.name)}")
            raise
    if output == "json":
        print(as_json(plain(found), indent=2))
    else:
        cli.tell(out)
    return 0


def _refuse_beside(engine: str | None, alone: Mapping[str, object], with_it: Mapping[str, object]) -> None:
    """RecipeError for options that an engine leaves no room for, and for those that are nothing without one."""
    refused, why = (
        (with_it, "without --engine, expected --engine ray beside it")
        if engine is None
        else (alone, f"beside --engine {engine}, expected none: leave it out")
    )
    if faults := [f"{option}: got one {why}" for option, value in refused.items() if value is not None]:
        raise RecipeError(faults)


def _rows(plan: Plan, screen: Screen) -> Dataset:
    """The rows of the recipe, brought with its weights; what they do not allow is refused before a trial begins."""
    needs = missing(plan.recipe)
    for need in needs:
        screen.say("fetch", str(need))
    refuse_full_cache(plan.recipe, {need.uri for need in needs})
    with screen.downloads() as bars:
        bring(plan.recipe, progress=bars.update)
    dataset = load_dataset(plan.recipe)
    refuse_rows(plan, dataset)
    return dataset


def _by_workers(
    plan: Plan,
    out: Path,
    count: int,
    options: Sequence[str],
    told: Mapping[str, str],
    storage: str | None,
    screen: Screen,
) -> Call:
    """Have the trials trained by processes of this machine; returns what runs a command as they do."""
    around = {**environment(count), **told}
    if storage is not None:
        around[STORAGE] = storage  # it may hold a password, and a command is seen by all
    command = [sys.executable, "-m", "zoo.sweep", str(out / SEARCH), "--out", str(out), *options]
    keep(command, count, most_deaths=plan.trials, environment=around, screen=screen)
    return functools.partial(call, environment=around)


def _on_cluster(
    nodes: Cluster,
    plan: Plan,
    out: Path,
    *,
    at_once: int | None,
    timeout: float | None,
    log: Sequence[str],
    screen: Screen,
) -> None:
    """Have the trials trained by the nodes of a cluster, as what this process alone hands out."""
    from zoo.run import train

    begun, name = time.monotonic(), _name()
    lock = worker_lock(out, name)
    if not lock.take():
        raise lock.refusal()
    try:
        ledger = Ledger(
            plan,
            open_study(plan, out, None, draw=(1, _finished(plan, out, None))),
            out,
            worker=name,
            screen=screen,
            over=lambda: timeout is not None and time.monotonic() - begun > timeout,
        )
        screen.say("ray", str(nodes))
        if not nodes.room:
            screen.on_note("no node has as much now: trials wait for one that does")
        nodes.search(ledger, out, at_once=at_once, train=train, log=log)
    finally:
        lock.release()
    if ledger.fault is not None:
        kind = KINDS.get(ledger.fault.code, ZooError)
        raise kind(f"{ledger.fault.error}: repair it, and go on with --resume")


@contextlib.contextmanager
def folder_of(out: Path, plan: Plan, storage: str | None, *, resume: bool) -> Iterator[bool]:
    """The sweep's folder, of which this process has the lock; yields whether it held this search already.

    Raises OutputError where it holds something else, or another search, or is another process's.
    """
    texts = texts_of(plan, dump_recipe(plan.recipe))
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file, expected a folder for the search: choose another --out")
    with storage_errors(out):
        made = make_folder(out)
        lock, kept = Lock.of_folder(out), True
        if not lock.take():
            raise lock.refusal()
        try:
            held = sorted(name for name in os.listdir(out) if not name.startswith(MARKS))
            kept = SEARCH in held
            if held and not resume:
                raise OutputError(
                    f"{out} is not empty (it holds {', '.join(held[:5])}): choose another --out, or go on with its "
                    "search by --resume"
                )
            if resume and not kept and (held or storage is None):
                raise OutputError(f"{out} holds no search, expected one to go on with: leave out --resume")
            if kept:
                _refuse_changes(read_kept(out), plan, out)
            for name, text in texts.items():
                with write_atomically(out / name) as file:
                    file.write(text.encode())
            yield kept
        finally:
            found = {name for name in os.listdir(out) if not name.startswith(MARKS)}
            if not kept and found == {*texts}:  # it was refused before a trial began
                for name in texts:
                    (out / name).unlink()
            lock.release()
            remove_empty(made)


def _refuse_changes(kept: Plan, plan: Plan, out: Path) -> None:
    """OutputError where a search was begun with another recipe, or over other values."""
    old, new = (
        {
            **each.search.model_dump(exclude={"recipe", "profile", "overrides", *FREE}),
            "recipe": each.recipe.model_dump(),
        }
        for each in (kept, plan)
    )
    old["recipe"].pop("profiles"), new["recipe"].pop("profiles")
    faults = [
        f"{key}: the search was begun with another one"
        if key in ("recipe", "search")
        else f"{key}: the search was begun with {show(old[key])}, now it is {show(new[key])}"
        for key in new
        if old[key] != new[key]
    ]
    if faults:
        raise OutputError([*faults, f"{out}: put these back to go on, or choose another --out"])


def _begin(plan: Plan, dataset: Dataset, out: Path, storage: str | None, *, kept: bool, resume: bool) -> bool:
    """Have all trials wait in the storage; returns whether the search is this folder's own, or one that another
    machine began and this one helps with."""
    if kept and storage is None and not (out / JOURNAL).is_file():
        raise RecipeError(f"--storage: got none, expected the database that the search in {out} was begun with")
    falling = plan.recipe.monitor in dataset.task.falling
    own = begin(plan, out, storage, falling=falling, resume=resume)
    if own:
        with storage_problems():
            line_up(open_study(plan, out, storage), plan)
    return own


def _family(plan: Plan, out: Path, storage: str | None) -> Family:
    """The run of MLflow of which all trials are parts, on all machines, also when the search goes on."""
    with storage_problems():
        study = open_study(plan, out, storage)
        family = Family(out, plan.recipe, plan.search.name, study.user_attrs.get("mlflow"))
        study.set_user_attr("mlflow", family.run)
    return family


def _work(out: Path, number: int, *, timeout: float | None, storage: str | None, log: Sequence[str]) -> None:
    """Be a worker of the sweep in a folder, as long as the process that started it lives."""
    from zoo.run import train
    from zoo.sweep.working import work

    begun, parent = time.monotonic(), os.getppid()
    plan, screen, name = read_kept(out), Screen(), _name()
    lock = worker_lock(out, name)
    if not lock.take():
        raise lock.refusal()
    try:
        with storage_problems():
            # Workers draw apart, those of other machines too, and so do parts of a search that went on.
            draw = (number, _finished(plan, out, storage), *([zlib.crc32(name.encode())] if storage else []))
            work(
                plan,
                open_study(plan, out, storage, draw=draw),
                out,
                worker=name,
                label=str(number),
                train=train,
                log=log,
                screen=screen,
                database=storage is not None,
                over=lambda: os.getppid() != parent or (timeout is not None and time.monotonic() - begun > timeout),
            )
    finally:
        lock.release()


def _name() -> str:
    """What a storage knows this process by."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _finished(plan: Plan, out: Path, storage: str | None) -> int:
    """How many attempts at trials have ended."""
    return sum(trial.state.is_finished() for trial in open_study(plan, out, storage).get_trials(deepcopy=False))


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(sweep, argv, name="sweep")


if __name__ == "__main__":
    raise SystemExit(main())
