"""`python -m zoo.run RECIPE`: train, evaluate and report.

In comes a recipe; out comes a run folder and, in Python, a `Run`. The data goes one way, down:
recipe -> rows -> tokens -> model -> training -> results; of a recipe with stages once for each of them.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from zoo import cli
from zoo.backend import choose
from zoo.check import readable_parts, row_faults
from zoo.data.against_catalog import disagreements
from zoo.data.backbones import bring, missing
from zoo.data.dataset import SPLITS, Dataset, Split, load_dataset
from zoo.data.sources import cache_folder
from zoo.errors import RecipeError
from zoo.finished import Run, load_run
from zoo.recipe import Recipe, dump_recipe, load_recipe
from zoo.recipe.staging import stage_folder
from zoo.report.card import write_card
from zoo.report.report import texts_by_id, write_report
from zoo.runs.account import Stopwatch
from zoo.runs.events import Events
from zoo.runs.recording import Recorder, refuse_changes
from zoo.runs.run_folder import create_run, default_folder, finished_run
from zoo.runs.screen import Screen
from zoo.runs.staged import Stages
from zoo.runs.tracking import logging_to, refuse_loggers
from zoo.training.memory import within_memory
from zoo.training.prepare import activated, prepare


def train(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    progress: bool | Screen = True,
    log: Sequence[str] = (),
) -> Run:
    """Train a recipe and leave a run folder; of a recipe with stages one with a folder for each of them.

    Args:
        recipe: what to train.
        out: the run's folder; None makes runs/<recipe>/<backend>-<time>.
        resume: go on with the run that `out` holds; a finished one is left as it is, and so is a finished stage.
        progress: whether it is shown on stderr, as bars on a terminal and elsewhere as a line every few seconds; or a
            screen that shows it in its own way.
        log: loggers that are told of it beside the run's own files; `tensorboard`, `mlflow`.

    Returns:
        The run; of a recipe with stages that of the last one.

    Raises:
        ZooError: each kind as zoo/errors.py says.
    """
    screen = progress if isinstance(progress, Screen) else Screen(quiet=not progress)
    watch = Stopwatch()
    if resume:
        if out is None:
            raise RecipeError("resume: got no folder, expected that of the run to go on with: add --out DIR")
        done = finished_run(Path(out))
        if done is not None:
            refuse_changes(done, recipe)
            screen.say("done", f"{out} holds a finished run: nothing is left to do")
            return load_run(out)
    refuse_loggers(log)
    clashes = [f"{clash.keys[0]}: {clash.message}" for each in recipe.staged() for clash in disagreements(each)]
    if clashes:
        raise RecipeError(dict.fromkeys([*clashes, *row_faults(recipe)]))
    choice = choose(recipe.backend)
    screen.say("backend", f"{choice.name} ({choice.reason})")
    for need in missing(recipe):
        screen.say("fetch", str(need))
    with screen.downloads() as bars:
        bring(recipe, progress=bars.update)
    out = Path(out) if out is not None else default_folder(recipe.name, choice.name)
    if recipe.stages:
        _train_stages(recipe, out, backend=choice.name, resume=resume, screen=screen, log=log)
    else:
        _train(recipe, out, resume=resume, screen=screen, watch=watch, log=log)
    return load_run(out)


def _train_stages(recipe: Recipe, out: Path, *, backend: str, resume: bool, screen: Screen, log: Sequence[str]) -> None:
    """Train each stage in its own folder, all but those that are finished."""
    text, names = dump_recipe(recipe), [stage.name for stage in recipe.stages]
    with create_run(out, text, resume=resume, backend=backend, log=log) as folder:
        refuse_changes(folder, recipe)
        folder.write_text("recipe.yaml", text)  # keys may have changed on which no weight depends
        folder.update_run({"backend": backend, "profile": recipe.profile or folder.run.get("profile")})
        stages = Stages(folder, names)
        for number, stage in enumerate(recipe.staged(out)):
            within = out / stage_folder(number, names[number])
            screen.on_stage(names[number], number + 1, len(names))
            with stages.running(number):
                done = finished_run(within)
                if done is not None:
                    refuse_changes(done, stage)
                    screen.say("done", f"{within} holds a finished run")
                    continue
                # What a kill left of the stage is gone on with: the folder is this run's own.
                _train(stage, within, whole=out, resume=True, screen=screen, watch=Stopwatch(), log=log)


def _train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool,
    screen: Screen,
    watch: Stopwatch,
    log: Sequence[str],
    whole: Path | None = None,
) -> None:
    """Train one recipe whose data and weights are here; `whole` is the folder of all stages, where it is one."""
    with watch.measure("data"):
        dataset = load_dataset(recipe)
    _tell(dataset, screen)
    with watch.measure("import"):
        backend = activated(recipe)
        backend.keep_compiled(cache_folder() / "compiled")
    text = dump_recipe(recipe, out)
    with (
        create_run(out, text, resume=resume, backend=backend.name, log=log, whole=whole) as folder,
        # Batches say themselves what would fit.
        within_memory(backend, "the model", "choose a smaller model.backbone, or take a machine with more memory"),
        logging_to(log, folder) as loggers,
    ):
        recorder = Recorder(folder, screen, watch, recipe, dataset, loggers)
        session = prepare(
            recipe, dataset, backend=backend, stage=recorder.stage, tell=recorder.on_note, wait=recorder.on_wait
        )
        recorder.begin(session, backend)
        recorder.finish(session, recorder.train(session, resume=resume))
        _, warnings = write_report(folder, texts_by_id(dataset.test))
        write_card(folder)
        for warning in warnings:
            recorder.on_note(warning)
        recorder.conclude()


def _splits(dataset: Dataset) -> list[Split]:
    return [getattr(dataset, name) for name in SPLITS]


def _tell(dataset: Dataset, screen: Screen) -> None:
    rows = ", ".join(f"{len(split):,} {name}" for name, split in zip(SPLITS, _splits(dataset), strict=True))
    screen.say("data", f"{rows} rows; {dataset.task.listed_shares(dataset.train.labels)}")
    for note in dataset.notes:
        screen.say("warning", note)


def run(
    recipe: cli.RecipeArgument,
    profile: cli.ProfileOption = None,
    changes: cli.SetOption = None,
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="The run's folder, this very one.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that --out holds.")] = False,
    log: Annotated[
        list[str] | None,
        typer.Option("--log", metavar="NAME", help="Also write for tensorboard or mlflow; may be repeated."),
    ] = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Train, evaluate and report a recipe.

    Example: KERAS_BACKEND=jax python -m zoo.run recipes/imdb_bert.yaml --profile cpu --out runs/mine
    """
    path = cli.find_recipe(recipe)
    try:
        loaded = load_recipe(path, profile=profile, overrides=changes or ())
    except RecipeError as error:
        same_rows = readable_parts(path, profile=profile, overrides=changes or ())
        raise RecipeError([*error.faults, *(fault for each in same_rows for fault in row_faults(each))]) from error
    screen = Events() if output == "json" else Screen()
    done = train(loaded, out, resume=resume, progress=screen, log=log or ())
    path = done.path.parent if loaded.stages else done.path
    if isinstance(screen, Events):
        screen.end(done.folder.run["status"])
        print(json.dumps({"run": str(path), **done.folder.run}))
    else:
        screen.say("next", _next(done, path))
        cli.tell(path)
    return 0


def _next(done: Run, path: Path) -> str:
    """The command that most people want next."""
    task, folder = done.task, shlex.quote(str(path))
    if verb := task.served_by.get("predict"):
        return f'python -m zoo.{verb} {folder} "..."'
    if not task.answers:
        return f"python -m zoo.run RECIPE --set model.backbone.preset={folder}"
    given = task.options or ('--pair "..." "..."' if done.takes_pairs else '--text "..."')
    return f"python -m zoo.predict {folder} {given}"


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(run, argv, name="run")


if __name__ == "__main__":
    raise SystemExit(main())
