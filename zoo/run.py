"""`python -m zoo.run RECIPE`: train, evaluate and report.

In comes a recipe; out comes a run folder and, in Python, a `Run`. The data goes one way, down:
recipe -> rows -> tokens -> model -> training -> results; of a recipe with stages, or with several draws of its rows,
once for each of them.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from zoo import cli
from zoo.backend import choose, launch, place_in_launch, to_launch, undivided
from zoo.check import placed_faults, readable_parts, row_faults
from zoo.data.against_catalog import disagreements
from zoo.data.backbones import bring, missing
from zoo.data.dataset import SPLITS, Dataset, Split, load_dataset
from zoo.data.room import held_bytes, refuse_full, refuse_full_cache, run_bytes
from zoo.data.sources import cache_folder
from zoo.errors import EXIT_TERMINATED, RecipeError
from zoo.finished import Run, load_run
from zoo.recipe import Recipe, dump_recipe, load_recipe
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.sharing import beyond_own_rows
from zoo.recipe.staging import stage_folder
from zoo.report.card import write_card
from zoo.report.report import tested_texts, texts_by_id, write_report
from zoo.runs.account import Stopwatch
from zoo.runs.default_folder import default_folder
from zoo.runs.events import Events
from zoo.runs.opening import finished_run, open_whole
from zoo.runs.pooled import pool, told
from zoo.runs.recording import Recorder, begun_with, refuse_changes
from zoo.runs.run_folder import RunFolder, create_run
from zoo.runs.screen import Screen
from zoo.runs.staged import Kind, Several, drop_models, whole_of
from zoo.runs.tracking import logging_to, refuse_loggers
from zoo.stopping import Terminated, leave
from zoo.training.following import follow
from zoo.training.memory import within_memory
from zoo.training.prepare import activated, prepare

LAST = 3.0
"""Seconds that a process outlives the first one, whose words and exit code are those of the run."""


def train(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    progress: bool | Screen = True,
    log: Sequence[str] = (),
    tested: bool = True,
) -> Run:
    """Train a recipe and leave a run folder; of a recipe with stages or parts one with a folder for each of them.

    Args:
        recipe: what to train.
        out: the run's folder; None makes runs/<recipe>/<backend>-<time>.
        resume: go on with the run that `out` holds; a finished one is left as it is, and so is a finished stage.
        progress: whether it is shown on stderr, as bars on a terminal and elsewhere as a line every few seconds; or a
            screen that shows it in its own way.
        log: loggers that are told of it beside the run's own files; `tensorboard`, `mlflow`.
        tested: whether the test split is looked at, once, at the end; a trial of a search leaves it alone, and has no
            report. It is of a recipe of one training.

    Returns:
        The run; of a recipe with stages that of the last one, of one with parts that of the first.

    Raises:
        ZooError: each kind as zoo/errors.py says.
    """
    number, count = place_in_launch(recipe.backend)
    if number:
        return _followed(recipe, out)
    screen = progress if isinstance(progress, Screen) else Screen(quiet=not progress)
    run = _led(recipe, out, resume=resume, screen=screen, log=log, tested=tested)
    if count > 1:
        activated(recipe).peers.order(None)
    return run


def _followed(recipe: Recipe, out: str | Path | None) -> Run:
    """The run that another process leads, once that is done."""
    if out is None:
        raise RecipeError("out: got no folder, expected that of the run, which its processes share: add --out DIR")
    follow(activated(recipe))
    return load_run(out)


def _led(
    recipe: Recipe, out: str | Path | None, *, resume: bool, screen: Screen, log: Sequence[str], tested: bool
) -> Run:
    """See `train`."""
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
    needs = missing(recipe)
    for need in needs:
        screen.say("fetch", str(need))
    refuse_full_cache(recipe, {need.uri for need in needs})
    with screen.downloads() as bars:
        bring(recipe, progress=bars.update)
    out = Path(out) if out is not None else default_folder(recipe.name, choice.name)
    if tested:
        _train_all(recipe, out, whole=out, backend=choice.name, resume=resume, screen=screen, watch=watch, log=log)
    else:
        _train(recipe, out, whole=out, resume=resume, screen=screen, watch=watch, log=log, tested=False)
    return load_run(out)


def _train_all(
    recipe: Recipe,
    out: Path,
    *,
    whole: Path,
    backend: str,
    resume: bool,
    screen: Screen,
    watch: Stopwatch,
    log: Sequence[str],
) -> None:
    """Train a recipe into a folder: each of its parts or stages in a folder of its own, all but those that are done.

    `whole` is the folder of the whole run, which is gone on with.
    """
    parts, stages = recipe.parts, recipe.stages
    if not parts and not stages:
        _train(recipe, out, whole=whole, resume=resume, screen=screen, watch=watch, log=log)
        return
    kind: Kind = "parts" if parts else "stages"
    folders = {name: name for name in parts} or {
        stage.name: stage_folder(number, stage.name) for number, stage in enumerate(stages)
    }
    text = dump_recipe(recipe)
    with create_run(out, text, resume=resume, backend=backend, log=log, whole=whole) as folder:
        refuse_changes(folder, recipe)
        folder.write_text("recipe.yaml", text)  # keys may have changed on which no weight depends
        folder.update_run({"backend": backend, "profile": recipe.profile or folder.run.get("profile")})
        several = Several(folder, kind, folders)
        trained = tuple(parts.values()) or recipe.staged(out)
        for number, ((name, within), each) in enumerate(zip(folders.items(), trained, strict=True)):
            (screen.on_part if parts else screen.on_stage)(name, number + 1, len(folders))
            with several.running(number):
                done = finished_run(out / within)
                if done is None:
                    # What a kill left of it is gone on with: the folder is this run's own.
                    _train_all(
                        each,
                        out / within,
                        whole=whole,
                        backend=backend,
                        resume=True,
                        screen=screen,
                        watch=Stopwatch(),
                        log=log,
                    )
                else:
                    refuse_changes(done, each)
                    screen.say("done", f"{out / within} holds a finished run")
                if parts and number:
                    drop_models(out / within)
        if parts:
            _conclude_parts(folder, [open_whole(out / within) for within in folders.values()], recipe, screen)


def _conclude_parts(folder: RunFolder, parts: Sequence[RunFolder], recipe: Recipe, screen: Screen) -> None:
    """Write down and tell what all parts came to."""
    pool(folder, parts, recipe.expected)
    _, warnings = write_report(folder, *tested_texts(folder))
    for warning in warnings:
        screen.on_note(warning)
    screen.say("test", told(folder.run, parts[0].task))
    screen.say("report", str(folder.path / "report.html"))


def _train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool,
    screen: Screen,
    watch: Stopwatch,
    log: Sequence[str],
    whole: Path,
    tested: bool = True,
) -> None:
    """Train one recipe whose data and weights are here; `whole` is the folder of the whole run."""
    with watch.measure("data"):
        dataset = load_dataset(recipe)
    _tell(dataset, screen)
    with watch.measure("import"):
        backend = activated(recipe)
        backend.keep_compiled(cache_folder() / "compiled")
    text = dump_recipe(recipe, out)
    with (
        create_run(out, text, resume=resume, backend=backend.name, log=log, whole=whole, told=tested) as folder,
        # Batches say themselves what would fit.
        within_memory(backend, "the model", "choose a smaller model.backbone, or take a machine with more memory"),
        logging_to(log, folder) as loggers,
    ):
        recorder = Recorder(folder, screen, watch, recipe, dataset, loggers, tested=tested)
        session = prepare(
            recipe,
            dataset,
            backend=backend,
            stage=recorder.stage,
            tell=recorder.on_note,
            wait=recorder.on_wait,
            begun=begun_with(folder, backend),
        )
        wanted = run_bytes(recipe, Dimensions.of(session.blueprint.backbone))
        refuse_full(folder.path, wanted - held_bytes(folder.path))
        recorder.begin(session, backend)
        backend.peers.order(recorder.order(session, resume=resume))
        recorder.finish(session, recorder.train(session, resume=resume))
        if not tested:
            return
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
    if dataset.copies:
        screen.say("augment", f"{dataset.copies:,} rows of train are changed copies")
    for note in dataset.notes:
        screen.say("warning", note)


def run(
    recipe: cli.RecipeArgument,
    profile: cli.ProfileOption = None,
    changes: cli.SetOption = None,
    out: Annotated[str | None, typer.Option("--out", metavar="DIR", help="The run's folder, this very one.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that --out holds.")] = False,
    devices: Annotated[
        int | None,
        typer.Option("--devices", metavar="N", help="How many share each batch; as --set training.devices=N."),
    ] = None,
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
    overrides = [*(changes or ()), *([] if devices is None else [f"training.devices={devices}"])]
    if faults := placed_faults(path, profile=profile, overrides=overrides):
        same_rows = readable_parts(path, profile=profile, overrides=overrides)
        raise RecipeError(dict.fromkeys([*faults, *(fault for each in same_rows for fault in row_faults(each))]))
    loaded = load_recipe(path, profile=profile, overrides=overrides)
    if to_launch(loaded.backend, loaded.training.devices):
        if faults := [fault for each in loaded.staged() for fault in beyond_own_rows(each)]:
            raise RecipeError(dict.fromkeys(faults))
        name = choose(loaded.backend).name
        if fault := undivided(name, max(each.training.model_parallel for each in loaded.staged())):
            raise fault
        folder = out or str(default_folder(loaded.name, name))
        options = {"--profile": [profile] if profile else [], "--set": overrides, "--log": log or [], "--out": [folder]}
        words = [word for option, values in options.items() for value in values for word in (option, value)]
        flags = ["--resume"] * resume + ["--debug"] * debug + ["--format", output]
        return launch("zoo.run", [str(path), *words, *flags], loaded.training.devices, tell=cli.tell)
    if place_in_launch(loaded.backend)[0]:
        try:
            train(loaded, out)
        except (KeyboardInterrupt, Terminated):
            time.sleep(LAST)
            leave(EXIT_TERMINATED)
        return 0
    screen = Events() if output == "json" else Screen()
    done = train(loaded, out, resume=resume, progress=screen, log=log or ())
    path = whole_of(done.path)
    if isinstance(screen, Events):
        found = open_whole(path).run
        screen.end(found["status"])
        print(json.dumps({"run": str(path), **found}))
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
