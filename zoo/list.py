"""`python -m zoo.list`: the recipes, data sets and backbones there are, and what of them is on this machine; and
`python -m zoo.list runs`: the runs below a folder, side by side.

In comes, at most, which of the four to show, and of runs which ones, in which order and which of their keys; out goes a
table, JSON, or of runs CSV. No backend is imported and no network is used.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from zoo import cli
from zoo.errors import RecipeError
from zoo.recipe.showing import cells_for, shown

if TYPE_CHECKING:
    from zoo.runs.listing import Listed

Kind = Literal["recipes", "datasets", "backbones", "runs"]

Rows = tuple[Sequence[str], Sequence[Sequence[str]]]
"""The columns of a table, and the cells of each of its rows."""
COLUMNS: dict[str, tuple[str, ...]] = {
    "recipes": ("name", "profiles", "accuracy", "data", "backbone", "stages"),
    "datasets": ("name", "train", "validation", "test", "classes", "size", "cached", "source"),
    "backbones": ("name", "family", "weights", "training", "size", "cached", "source"),
    "runs": (
        *("folder", "status", "figure", "validation", "test", "recipe", "profile", "backend", "precision", "seconds"),
        *("parameters", "trainings", "device", "started"),
    ),
}
"""The last one of each is cut, or left out, where a terminal has no room for it."""
FOR_PROGRAMS = ("whole", "error")
"""Of runs, what programs get beside COLUMNS: the run that a part is of, and why one failed or cannot be read."""
NUMBERS = ("train", "validation", "test", "classes", "size", "weights", "training", "accuracy")
"""Columns that are set to the right."""
NOTES = {
    "recipes": "accuracy: expected on test, of the recipe at its full size",
    "datasets": "train, validation, test: rows; splits that a set comes without are carved from train",
    "backbones": "training: memory of weights, gradients and moments; `zoo check RECIPE` adds activations",
    "runs": "validation, test: the figure that picked the best epoch; --columns: any key of run.json and recipe.yaml",
}
NARROWEST = 12
"""Columns of a text that is cut, at least."""
WIDEST = 1000
"""Columns of what is not cut."""
MINUTES = 16
"""Characters of a time as ISO 8601 has it, down to its minutes."""
GAP = 2
"""Columns before each one."""


def show(
    kind: Annotated[
        Kind | None,
        typer.Argument(
            metavar="[recipes|datasets|backbones|runs]",
            help="What to list; recipes, data sets and backbones by default.",
        ),
    ] = None,
    folders: Annotated[
        list[str] | None,
        typer.Argument(metavar="FOLDER", help="Of runs: where to look for them, and below. Default: runs."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="KEY=VALUE",
            help="Of runs: only those of which it holds; also !=, >, <, >=, <=, then in quotes; may be repeated.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="KEY", help="Of runs: by this key, as test; -test begins with the largest."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns", metavar="KEY,...", help="Of runs: these keys, as folder,metrics.test.f1,recipe.seed."
        ),
    ] = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Of runs: their stages, draws and folds too, a row each.")
    ] = False,
    output: Annotated[
        Literal["text", "json", "csv"], typer.Option("--format", help="For people or for programs; csv of runs alone.")
    ] = "text",
    debug: cli.DebugOption = False,
) -> int:
    """List recipes, data sets and backbones: size, parameters, source, cached or not; or runs, to compare them.

    Example: python -m zoo.list runs --where status=done --sort -test --format csv
    """
    if kind == "runs":
        return _show_runs(folders or [], where or [], sort, columns, output, parts=parts)
    given = {"FOLDER": folders, "--where": where, "--sort": sort, "--columns": columns, "--parts": parts}
    asked = [option for option, value in given.items() if value] + ["--format csv"] * (output == "csv")
    if asked:
        raise RecipeError(f"{asked[0]}: got it with {kind or 'no kind'}, expected it with runs alone: `zoo list runs`")
    makers = {"recipes": _recipes, "datasets": _datasets, "backbones": _backbones}
    listed = {name: make() for name, make in makers.items() if kind in (None, name)}
    if output == "json":
        print(json.dumps(listed, indent=2))
        return 0
    from zoo.data.sources import cache_folder

    tables = {
        name: (COLUMNS[name], [[_cell(column, row) for column in COLUMNS[name]] for row in rows])
        for name, rows in listed.items()
    }
    _print_tables(tables, NUMBERS)
    cli.tell_wrapped(f"The cache is {cache_folder()}.")
    cli.tell_wrapped("`python -m zoo.fetch RECIPE` fills it.")
    return 0


def _show_runs(
    folders: Sequence[str], where: Sequence[str], sort: str | None, columns: str | None, output: str, *, parts: bool
) -> int:
    from zoo.runs.default_folder import RUNS
    from zoo.runs.listing import Condition, getter, list_runs, sort_runs

    conditions = [Condition.read(text) for text in where]
    places = [Path(folder) for folder in folders] or [RUNS] * RUNS.exists()
    runs, unread = list_runs(places, parts=parts)
    for fault in (*unread, *(fault for run in runs for fault in run.faults)):
        cli.warn(fault)
    of = [(condition, getter(runs, condition.key, "--where")) for condition in conditions]
    kept = [run for run in runs if all(condition.holds(value(run)) for condition, value in of)]
    key = (sort or "").removeprefix("-")
    if key:
        kept = sort_runs(kept, getter(runs, key, "--sort"), descending=key != sort)
    if columns is not None:
        names = [name.strip() for name in columns.split(",")]
    else:
        names = [*COLUMNS["runs"], *FOR_PROGRAMS * (output != "text")]
        names[1:1] = [key] * (key not in ("", *names))  # what they are sorted by is there to be seen
    getters = [getter(runs, name, "--columns") for name in names]
    values = [[value(run) for value in getters] for run in kept]
    if output == "json":
        print(json.dumps({"runs": [dict(zip(names, row, strict=True)) for row in values]}, indent=2))
    elif output == "csv":
        rows = [names, *([_plain(value) for value in row] for row in values)]
        csv.writer(sys.stdout, lineterminator="\n").writerows(map(cells_for(sys.stdout), row) for row in rows)
    else:
        if kept:
            _tell_runs(kept, names, values, whole=columns is not None)
        cli.tell_wrapped(f"{len(kept):,} of {len(runs):,} runs in {', '.join(map(str, places or [RUNS]))}.")
        if not runs:
            cli.tell_wrapped("`python -m zoo.run RECIPE` trains one.")
    return 0


def _tell_runs(runs: Sequence[Listed], names: Sequence[str], values: Sequence[Sequence[Any]], *, whole: bool) -> None:
    """The table for people; unless it is wanted whole, without columns in which no run has a value."""
    columns = [column for column in enumerate(names) if whole or any(row[column[0]] is not None for row in values)]
    cells = [
        [_run_cell(run, name, row[place]) for place, name in columns] for run, row in zip(runs, values, strict=True)
    ]
    numbers = {
        name
        for place, name in columns
        if all(isinstance(row[place], int | float | None) and not isinstance(row[place], bool) for row in values)
    }
    _print_tables({"runs": ([name for _, name in columns], cells)}, numbers)


def _print_tables(tables: Mapping[str, Rows], numbers: Collection[str]) -> None:
    """Each with its title, its columns and rows, and what there is to know of them."""
    terminal = Console()
    room = terminal.width if terminal.is_terminal else None
    # As wide as it has to be, and the name whole: one that is cut cannot be copied.
    console, cut = cli.output(width=WIDEST), False
    for name, (columns, cells) in tables.items():
        table, width, short = _table(columns, cells, numbers, room)
        cut |= short
        console.print(Text(name, "bold"))
        console.print(table, "", end="", width=width)
    for name in tables:
        cli.tell_wrapped(NOTES[name])
    if cut:
        cli.tell_wrapped("A wider terminal, or `--format json`, shows the last columns whole.")


def _recipes() -> list[dict[str, Any]]:
    import recipes

    rows = []
    for name in recipes.names():
        recipe = recipes.load(name)
        backbone = recipe.model.backbone
        rows.append(
            {
                "name": name,
                "data": recipe.told_data,
                "backbone": backbone.preset or f"a fresh {backbone.family}",
                "stages": [stage.name for stage in recipe.stages],
                "profiles": sorted(recipe.profiles),
                "accuracy": recipe.expected.accuracy if recipe.expected else None,
            }
        )
    return rows


def _datasets() -> list[dict[str, Any]]:
    from zoo.data.catalog import dataset_card, dataset_names
    from zoo.data.sources import locate_first

    rows = []
    for card in map(dataset_card, dataset_names()):
        rows.append(
            {
                "name": card.name,
                "title": card.title,
                "rows": dict(card.rows),
                "classes": None if card.label_names is None else list(card.label_names),
                "size": card.size_bytes,
                "source": card.origins[0].uri,
                "license": card.license,
                "cached": locate_first(card.origins) is not None,
            }
        )
    return rows


def _backbones() -> list[dict[str, Any]]:
    from zoo.data.catalog import backbone_card, backbone_names
    from zoo.data.sources import locate_first

    rows = []
    for card in map(backbone_card, backbone_names()):
        rows.append(
            {
                "name": card.name,
                "title": card.title,
                "family": card.family,
                "parameters": card.parameters,
                "parts": card.dimensions.parts,
                "training": 4 * 4 * card.parameters,
                "size": card.size_bytes,
                "source": card.origins[0].uri,
                "license": card.license,
                "cached": locate_first(card.origins) is not None,
            }
        )
    return rows


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str], room: int | None
) -> tuple[Table, int, bool]:
    """The table, how wide it is, and whether something had to be cut so that it has room; None is room for all."""
    cells, columns = [[shown(cell) for cell in row] for row in rows], [shown(column) for column in columns]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    left, whole = _left(widths, room), len(widths)
    while left < widths[-1] and left < NARROWEST and len(widths) > 1:
        columns, widths = columns[:-1], widths[:-1]
        left = _left(widths, room)
    short = left < widths[-1] or len(widths) < whole
    widths[-1] = min(left, widths[-1])
    table = Table(box=None, padding=(0, 0, 0, GAP), pad_edge=True)
    for column, width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column in numbers else "left"
        table.add_column(column, width=width, no_wrap=True, overflow="ellipsis", justify=justify)
    for row in cells:
        table.add_row(*map(Text, row[: len(columns)]))
    return table, sum(widths) + GAP * len(widths), short


def _left(widths: Sequence[int], room: int | None) -> int:
    """What is left of the room for the last column."""
    return widths[-1] if room is None else room - sum(widths[:-1]) - GAP * len(widths)


def _cell(column: str, row: dict[str, Any]) -> str:
    if column in ("train", "validation", "test"):
        value = row["rows"].get(column)
    else:
        value = row["parameters" if column == "weights" else column]
    if value is None:
        return "-"
    if column == "weights":
        return f"{value / 1e6:.1f} M"
    if column in ("size", "training"):
        return "shipped" if value == 0 else decimal(value)
    if column == "classes":
        return str(len(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _run_cell(run: Listed, column: str, value: Any) -> str:
    from zoo.report import pages

    if value is None:
        return "-"
    if column in ("validation", "test"):
        return run.task.shown(run.own["figure"], value, run.run.get(f"dataset.rows.{column}"))
    if column == "seconds":
        return pages.duration(value)
    if column == "parameters":
        return f"{value / 1e6:.1f} M"
    if column in ("started", "finished"):
        return str(value)[:MINUTES].replace("T", " ")
    return f"{value:.6g}" if isinstance(value, float) else _plain(value)


def _plain(value: Any) -> str:
    """A value of run.json or recipe.yaml as text; empty where there is none."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return cli.run_command(show, argv, name="list")


if __name__ == "__main__":
    sys.exit(main())
