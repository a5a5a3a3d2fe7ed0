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
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from zoo import cli
from zoo.recipe.showing import shown

Kind = Literal["recipes", "datasets", "backbones"]

COLUMNS: dict[str, tuple[str, ...]] = {
    "recipes": ("name", "data", "backbone", "stages", "profiles", "accuracy"),
    "datasets": ("name", "rows", "classes", "size", "source", "cached"),
    "backbones": ("name", "family", "parameters", "training", "size", "source", "cached"),
}


NUMBERS = ("classes", "size", "parameters", "training", "accuracy")
"""Columns that are set to the right."""


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

    # As wide as it has to be: a name that is cut cannot be copied.
    console = cli.output(width=max(200, Console().width))
    for name, rows in listed.items():
        console.print(Text(name, "bold"))
        console.print(_table(COLUMNS[name], rows), "", end="")
    if "backbones" in listed:
        print(
            "training: memory of weights, gradients and AdamW's moments; `python -m zoo.check RECIPE` adds activations."
        )
    cli.tell(f"The cache is {cache_folder()}; `python -m zoo.fetch RECIPE` fills it.")
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


def _table(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 0, 0, 2))
    for column in columns:
        table.add_column(column, no_wrap=True, justify="right" if column in NUMBERS else "left")
    for row in rows:
        table.add_row(*(Text(shown(_cell(column, row[column]))) for column in columns))
    return table


def _cell(column: str, value: Any) -> str:
    if value is None:
        return "-"
    if column in ("size", "training"):
        return "shipped" if value == 0 else decimal(value)
    if column == "rows":
        return " + ".join(f"{count:,}" for count in value.values())
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
