"""`python -m zoo.list`: the recipes, data sets and backbones there are, and what of them is on this machine.

In comes, at most, which of the three to show; out goes a table, or JSON. No backend is imported and no
network is used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from zoo import cli
from zoo.recipe.showing import shown

Kind = Literal["recipes", "datasets", "backbones"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "recipes": ("name", "profiles", "accuracy", "data", "backbone", "stages"),
    "datasets": ("name", "train", "validation", "test", "classes", "size", "cached", "source"),
    "backbones": ("name", "family", "weights", "training", "size", "cached", "source"),
}
"""The last one of each is cut, or left out, where a terminal has no room for it."""
NUMBERS = ("train", "validation", "test", "classes", "size", "weights", "training", "accuracy")
"""Columns that are set to the right."""
NOTES = {
    "recipes": "accuracy: expected on test, of the recipe at its full size",
    "datasets": "train, validation, test: rows; splits that a set comes without are carved from train",
    "backbones": "training: memory of weights, gradients and moments; `zoo check RECIPE` adds activations",
}
NARROWEST = 12
"""Columns of a text that is cut, at least."""
WIDEST = 1000
"""Columns of what is not cut."""
GAP = 2
"""Columns before each one."""


def show(
    kind: Annotated[
        Kind | None, typer.Argument(metavar="[recipes|datasets|backbones]", help="What to list; all three by default.")
    ] = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """List recipes, data sets and backbones: size, parameters, source, cached or not.

    Example: python -m zoo.list backbones --format json
    """
    makers = {"recipes": _recipes, "datasets": _datasets, "backbones": _backbones}
    listed = {name: make() for name, make in makers.items() if kind in (None, name)}
    if output == "json":
        print(json.dumps(listed, indent=2))
        return 0
    from zoo.data.sources import cache_folder

    terminal = Console()
    room = terminal.width if terminal.is_terminal else None
    # As wide as it has to be, and the name whole: one that is cut cannot be copied.
    console, cut = cli.output(width=WIDEST), False
    for name, rows in listed.items():
        table, width, short = _table(COLUMNS[name], rows, room)
        cut |= short
        console.print(Text(name, "bold"))
        console.print(table, "", end="", width=width)
    for name in listed:
        cli.tell_wrapped(NOTES[name])
    if cut:
        cli.tell_wrapped("A wider terminal, or `--format json`, shows the last columns whole.")
    cli.tell_wrapped(f"The cache is {cache_folder()}.")
    cli.tell_wrapped("`python -m zoo.fetch RECIPE` fills it.")
    return 0


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


def _table(columns: Sequence[str], rows: Sequence[dict[str, Any]], room: int | None) -> tuple[Table, int, bool]:
    """The table, how wide it is, and whether something had to be cut so that it has room; None is room for all."""
    cells = [[shown(_cell(column, row)) for column in columns] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    left, whole = _left(widths, room), len(widths)
    while left < widths[-1] and left < NARROWEST and len(widths) > 1:
        columns, widths = columns[:-1], widths[:-1]
        left = _left(widths, room)
    short = left < widths[-1] or len(widths) < whole
    widths[-1] = min(left, widths[-1])
    table = Table(box=None, padding=(0, 0, 0, GAP), pad_edge=True)
    for column, width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column in NUMBERS else "left"
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return cli.run_command(show, argv, name="list")


if __name__ == "__main__":
    sys.exit(main())
