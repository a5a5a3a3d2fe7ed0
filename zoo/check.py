"""`python -m zoo.check RECIPE`: every fault of a recipe, its data and its environment at once.

In comes a recipe; out go what is wrong with it and each of its profiles, what of its data and weights is
not cached, whether its backend is installed, and an estimate of memory and time. No backend is imported and
no network is used. Ends in the exit code of the gravest fault: 2 recipe, 3 data, 4 environment, 0 none.
Rows are read where the files are here and small (MAX_READ); what is larger, `zoo.run` checks, or `--deep`, which reads
all of them and looks for what makes figures doubtful.
"""

from __future__ import annotations

import json
import os.path
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from pydantic import ValidationError
from rich.filesize import decimal

from zoo import backend, cli
from zoo.data.against_catalog import dimensions, disagreements, training_rows
from zoo.data.backbones import missing
from zoo.data.catalog import dataset_card
from zoo.data.dataset import Split, load_dataset, missing_data, rows_an_epoch, stated_task
from zoo.data.deep import Bars, look
from zoo.data.expense import expense
from zoo.data.room import refuse_full, refuse_full_cache, run_bytes
from zoo.data.sources import locate_first
from zoo.data.tokens import TokenTable, cut_told, doubts
from zoo.errors import DataError, EnvironmentFault, OutputError, RecipeError, ZooError
from zoo.recipe import Recipe
from zoo.recipe.estimate import divided_told
from zoo.recipe.faults import find_faults, in_stage, sound_part
from zoo.recipe.length import run_length
from zoo.recipe.reading import Overrides, profile_names, read_document, resolved
from zoo.recipe.sharing import beyond_own_rows
from zoo.recipe.staging import STAGE, stage_documents
from zoo.recipe.yaml12 import Document, Fault
from zoo.recipe.yaml12 import Path as KeyPath
from zoo.runs.default_folder import RUNS
from zoo.runs.screen import Screen
from zoo.tasks import Task

MAX_READ = 16 * 1024 * 1024
MAX_CUT = 2000
"""Texts that are cut into tokens, to see how many are too long."""


@dataclass(kw_only=True)
class Report:
    """What the check found; `notes` are topic and text, in the order in which they are shown."""

    recipe: str
    profile: str | None
    faults: list[ZooError] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    estimate: dict[str, Any] = field(default_factory=dict)
    """Figures; of a recipe with stages by the name of the stage."""
    deep: dict[str, Any] = field(default_factory=dict)
    """What was found in all rows, where they were asked for; of stages by their names, of several tasks by
    theirs."""

    @property
    def exit_code(self) -> int:
        return min((fault.exit_code for fault in self.faults), default=0)


def examine(path: Path, *, profile: str | None = None, overrides: Overrides = (), deep: Bars | None = None) -> Report:
    """Check a recipe file, the profile and overrides that are asked for, and each of its other profiles.

    Args:
        deep: has all rows looked through, and is told how far that is; None looks at some.
    """
    report = Report(recipe=str(path), profile=profile)
    recipe, of_rows = _check_recipe(path, profile, overrides, report)
    for each in of_rows:
        _check_data(each, report, whole=deep is not None)
    if recipe is not None and recipe.stages:
        for number, (stage, whole) in enumerate(zip(recipe.stages, recipe.staged(), strict=True), 1):
            report.notes.append(("stage", f"{number} of {len(recipe.stages)}: {stage.name}"))
            report.estimate[stage.name] = _check_whole(whole, path, profile, report, deep, stage.name)
    elif recipe is not None:
        report.estimate = _check_whole(recipe, path, profile, report, deep)
    _check_backend(recipe, report)
    return report


def _check_whole(
    recipe: Recipe, path: Path, profile: str | None, report: Report, deep: Bars | None, stage: str | None = None
) -> dict[str, Any]:
    """Data, cache and backbone of a recipe, or of a stage with this name; the figures of the estimate, where there is
    one."""
    rows, task, texts = _check_data(recipe, report, whole=deep is not None)
    here = _check_cache(recipe, path, profile, report)
    if here and not _check_backbone(recipe, task, None if deep else texts, report):
        return {}
    if deep is not None and (not here or texts is None):
        report.notes.append(("warning", "--deep: rows or vocabulary cannot be read here, so nothing was looked at"))
    elif deep is not None:
        try:
            found, notes = look(recipe, deep)
        except DataError as error:  # a text that cannot be cut
            report.faults.append(error)
            return {}
        report.deep |= found if stage is None else {stage: found}
        report.notes += [note for note in notes if note not in report.notes]
    figures, told = expense(recipe, rows, sum(map(_size, _files(recipe))))
    report.notes += [("estimate", text) for text in (*told, *divided_told(figures))]
    if (size := dimensions(recipe.model.backbone)) is not None:
        wanted = figures["disk_bytes"] = run_bytes(recipe, size)
        report.notes.append(("estimate", f"disk: {decimal(wanted)} at most, for its checkpoints and its model"))
        try:
            refuse_full(RUNS, wanted)
        except OutputError as error:
            report.faults.append(error)
    return figures


def placed_faults(path: Path, *, profile: str | None = None, overrides: Overrides = ()) -> list[str]:
    """Faults of a recipe file, or, where it is sound, those that only the catalog shows, each with its place."""
    document = resolved(read_document(path), folder=path.parent, profile=profile, overrides=overrides)
    return list(map(str, _faults(document)))


def readable_parts(path: Path, *, profile: str | None = None, overrides: Overrides = ()) -> list[Recipe]:
    """Of a recipe with faults one with the same rows, or one a stage; none where the faults do not let them be read."""
    return _check_recipe(path, profile, overrides, Report(recipe=str(path), profile=profile))[1]


def row_faults(recipe: Recipe) -> tuple[str, ...]:
    """What is wrong with the rows of a recipe, where they are here and small, and the catalog knows them."""
    report = Report(recipe=recipe.name, profile=recipe.profile)
    for each in recipe.staged():
        if not _unknown_rows(each):
            _check_data(each, report)
    return tuple(text for fault in report.faults if isinstance(fault, DataError) for text in fault.faults)


def check(
    recipe: cli.RecipeArgument,
    profile: cli.ProfileOption = None,
    changes: cli.SetOption = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read all rows: overlap, contradictions, lengths, classes, encodings.")
    ] = False,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Find every fault of a recipe, its data and its environment at once; estimate memory and time.

    Example: python -m zoo.check recipes/imdb_bert.yaml --profile cpu --set training.epochs=1
    """
    bars = Screen() if deep else None
    report = examine(cli.find_recipe(recipe), profile=profile, overrides=changes or (), deep=bars)
    if output == "json":
        faults = [{"exit_code": fault.exit_code, "message": text} for fault in report.faults for text in fault.faults]
        shown = asdict(report) | {"ok": not faults, "exit_code": report.exit_code, "faults": faults}
        notes: dict[str, list[str]] = {}
        for topic, text in report.notes:
            notes.setdefault(topic, []).append(text)
        print(json.dumps(shown | {"notes": notes}, indent=2))
        return report.exit_code
    for topic, text in report.notes:
        cli.tell_of(topic, text)
    texts = [text for fault in report.faults for text in fault.faults]
    if texts:
        cli.show_error(ZooError(texts))
    else:
        options = [
            *(["--profile", profile] if profile else []),
            *(word for c in changes or () for word in ("--set", c)),
        ]
        cli.tell_of("next", shlex.join(["python", "-m", "zoo.run", recipe, *options]))
    return report.exit_code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return cli.run_command(check, argv, name="check")


def _check_recipe(
    path: Path, profile: str | None, overrides: Overrides, report: Report
) -> tuple[Recipe | None, list[Recipe]]:
    """Faults of the recipe as asked for, then of what else the file offers.

    Returns:
        The recipe where it is sound, and else, where that can be told, one with the same rows, or one a stage.
    """
    try:
        document = read_document(path)
    except RecipeError as error:
        report.faults.append(error)
        return None, []
    asked = resolved(document, folder=path.parent, profile=profile, overrides=overrides)
    faults = _faults(asked)
    texts = [str(fault) for fault in faults]
    seen = set(texts)
    for other in (None, *profile_names(document)):
        for fault in _faults(resolved(document, folder=path.parent, profile=other)):
            if str(fault) not in seen:
                seen.add(str(fault))
                texts.append(f"{fault} ({f'with profile {other}' if other else 'without a profile'})")
    if texts:
        report.faults.append(RecipeError(texts))
    if faults:
        stages = [stage.document for stage in stage_documents(asked)]
        return None, [recipe for each in stages or [asked] for recipe in _of_rows(each)]
    offered = ", ".join(profile_names(document)) or "none"
    told = f"profile {profile}" if profile else "no profile"
    report.notes.append(("recipe", f"{path}, {told}; profiles: {offered}" + ("" if not texts else "; faults below")))
    return Recipe.model_validate(asked.data), []


def _of_rows(document: Document) -> list[Recipe]:
    """One with the rows of a recipe that has faults, where that can be told."""
    faults = find_faults(document)
    sound = sound_part(document, faults) if faults else document.data
    try:
        recipe = None if sound is None else Recipe.model_validate(sound)
    except ValidationError:  # without what is wrong it contradicts itself
        return []
    return [] if recipe is None or _unknown_rows(recipe) else [recipe]


def _faults(document: Document) -> list[Fault]:
    """Faults of a document, or, where it is sound, those that only the catalog shows."""
    faults = find_faults(document)
    if faults:
        return faults
    stages = stage_documents(document)
    if not stages:
        return list(_of_catalog(document))
    return [in_stage(fault, stage.name) for stage in stages for fault in _of_catalog(stage.document)]


def _of_catalog(document: Document) -> Iterator[Fault]:
    for clash in disagreements(Recipe.model_validate(document.data)):
        path: KeyPath = tuple(clash.keys[0].split("."))
        yield Fault(place=document.place(path), path=path, message=clash.message)


def _unknown_rows(recipe: Recipe) -> bool:
    """Whether the catalog has no such rows, or none for the recipe's task."""
    return any("data.dataset" in clash.keys for clash in disagreements(recipe))


def _check_data(recipe: Recipe, report: Report, *, whole: bool = False) -> tuple[int | None, Task | None, Split | None]:
    """Read the rows where they are here and small, or the `whole` is asked for.

    Returns:
        The number of rows to train on, the task, and some of the rows; None what is not known.
    """
    name = recipe.told_data
    files = list(_files(recipe))
    size = sum(map(_size, files))
    if not files or (size > MAX_READ and not whole):
        told = f"here; {decimal(size)} of rows are not read by this check" if files else "not cached"
        report.notes.append(("data", f"{name}: {told}"))
        try:
            return _stated_rows(recipe, report), stated_task(recipe), None
        except RecipeError as error:
            report.faults.append(error)
            return None, None, None
    try:
        data = load_dataset(recipe)
    except (DataError, RecipeError, EnvironmentFault) as error:
        report.faults.append(error)
        return None, None, None
    splits = ", ".join(f"{len(getattr(data, split))} {split}" for split in ("train", "validation", "test"))
    report.notes.append(("data", f"{name}: {splits} rows; {data.task.listed_shares(data.train.labels)}"))
    if data.copies:
        report.notes.append(("augment", f"{data.copies:,} rows of train are changed copies"))
    report.notes += [("warning", note) for note in data.notes]
    return (
        rows_an_epoch(data.train, recipe),
        data.task,
        data.train.take(np.arange(min(len(data.train), MAX_CUT))),
    )


def _stated_rows(recipe: Recipe, report: Report) -> int | None:
    """The number of rows to train on as the card has it; None where none has, or where they make too long a run."""
    rows = None if recipe.training.resample is not None else training_rows(recipe)
    try:
        if rows is not None:
            run_length(recipe.training, rows=rows)
    except RecipeError as error:
        report.faults.append(error)
        return None
    return rows


def _files(recipe: Recipe) -> Iterator[Path]:
    """The files that hold the rows; none of a data set that is not cached."""
    if recipe.tasks:
        yield from dict.fromkeys(file for each in recipe.with_data for file in _files(each))
        return
    own = recipe.data.files
    if own is not None:
        yield from (Path(file) for file in (own.train, own.validation, own.test) if file is not None)
        return
    found = locate_first(dataset_card(recipe.data.dataset or "").origins)
    if found is not None:
        yield from {found[1] / file for file in found[0].splits.values()}


def _size(file: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    return os.path.getsize(file) if os.path.isfile(file) else 0


def _check_backbone(recipe: Recipe, task: Task | None, texts: Split | None, report: Report) -> bool:
    """Read vocabulary and configuration: whether the run would refuse nothing before it reads weights.

    `texts` are some to train on, which train's order has shuffled: how many of them would be cut is told.
    """
    from zoo.data.parts import load_parts
    from zoo.models.builder import plan
    from zoo.models.presets import read_config
    from zoo.training.teacher import find_teacher

    try:
        parts = load_parts(recipe)
        if task is not None:
            plan(recipe, preset=parts.preset, tokenizer=parts.tokenizer, task=task)
            distil = recipe.training.distil
            if distil is not None and not distil.teacher.startswith(STAGE):
                find_teacher(recipe, task)
        elif parts.preset is not None:  # the targets of rows that were not read are not known
            read_config(parts.preset)
    except (RecipeError, EnvironmentFault) as error:
        report.faults.append(error)
        return False
    tables = dict[str, TokenTable]()
    if texts is not None:
        try:
            tables = {"train": parts.tokenizer.encode(texts.texts, texts.pairs, recipe.tokens, place=texts.place)}
        except DataError as error:
            report.faults.append(error)
            return False
        report.notes.append(cut_told(tables, recipe.tokens))
    report.notes += [("warning", doubt) for doubt in doubts(parts.tokenizer, tables)]
    return True


def _check_cache(recipe: Recipe, path: Path, profile: str | None, report: Report) -> bool:
    """What would have to be fetched, with which command, and whether there is room; whether the backbone is here."""
    try:
        needs = missing(recipe)
    except ZooError as error:
        report.faults.append(error)
        return False
    told = [str(need) for need in needs]
    report.missing += [text for text in told if text not in report.missing]
    here = needs == missing_data(recipe)
    if not needs:
        report.notes.append(("cache", "all that this recipe needs is on this machine"))
        return here
    command = shlex.join(["python", "-m", "zoo.fetch", str(path), *(["--profile", profile] if profile else [])])
    report.notes += [("cache", text) for text in told]
    report.notes.append(("cache", f"{command} fetches it"))
    try:
        refuse_full_cache(recipe, {need.uri for need in needs})
    except EnvironmentFault as error:
        report.faults.append(error)
    return here


def _check_backend(recipe: Recipe | None, report: Report) -> None:
    try:
        choice = backend.choose(recipe.backend if recipe else None)
    except EnvironmentFault as error:
        report.faults.append(error)
        return
    report.notes.append(("backend", f"{choice.name} ({choice.reason})"))
    report.notes += backend.device_notes(choice.name)
    if recipe is None:
        return
    if fault := backend.undivided(choice.name, recipe.training.model_parallel):
        report.faults.append(fault)
    if backend.by_own_rows(choice.name) and (beyond := beyond_own_rows(recipe)):
        report.faults.append(RecipeError(beyond))
    asked, multiplied = recipe.training.precision, backend.precisions_here(choice.name)
    if asked != "auto" and multiplied is not None and asked not in multiplied:
        told = backend.refusal("training.precision", asked, multiplied, f"{choice.name} on this machine")
        report.faults.append(EnvironmentFault(told))


if __name__ == "__main__":
    raise SystemExit(main())
