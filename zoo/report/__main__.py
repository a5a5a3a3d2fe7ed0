"""`python -m zoo.report RUN`: render a run's report, plots and model card again; with several runs, compare them.

In comes the folder of a run, finished or broken off; out come its pictures, its page and, once it was tested, its
README.md, and the page's path on stdout. Two or more runs are laid side by side instead: a page and pictures in --out,
and the tables on stdout. Neither a backend nor the network is used. The texts of the mistakes are read from the run's
data again; where these are not at hand the ids stand alone, and a warning says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from zoo import cli
from zoo.errors import RecipeError
from zoo.recipe.showing import as_json, shown
from zoo.report import pages
from zoo.report.card import write_card
from zoo.report.comparison import write_comparison
from zoo.report.report import tested_texts, write_report
from zoo.runs.opening import open_whole
from zoo.runs.run_folder import RunFolder
from zoo.score import digits

COMPARED = Path("runs/compared")


def report(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN", help="The folder of a run, as runs/imdb_bert/jax-20260101-120000, or several."),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help=f"Of several runs: the folder of compare.html; default: {COMPARED}."),
    ] = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Render a run's report, plots and model card again, as zoo report runs/mine.

    With several runs: figures, settings that differ, curves over each other and McNemar's test on the same test rows.

    Example: python -m zoo.report runs/first runs/second --out runs/compared
    """
    folders = [open_whole(run) for run in runs]
    if len(folders) > 1:
        return _compare(folders, out or COMPARED, output)
    if out is not None:
        raise RecipeError(f"--out: got {out} with one run, whose report stays in its folder: leave --out away")
    return _render(folders[0], output)


def _render(folder: RunFolder, output: str) -> int:
    parts = "parts" in folder.run  # the model, and with it the card, is that of one of them
    path, warnings = write_report(folder, *tested_texts(folder))
    card = write_card(folder) if "test" in folder.run.get("metrics", {}) and not parts else None
    if output == "json":
        told = {"report": str(path), "card": None if card is None else str(card), "warnings": list(warnings)}
        print(json.dumps(told))
    else:
        _warn(warnings)
        cli.tell(path)
    return 0


def _compare(folders: Sequence[RunFolder], out: Path, output: str) -> int:
    path, found = write_comparison(folders, out)
    if output == "json":
        print(as_json({"report": str(path), **found}, indent=2))
        return 0
    _warn(found["warnings"])
    _show(found)
    cli.tell(path)
    return 0


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        cli.warn(warning)


def _show(found: Mapping[str, Any]) -> None:
    """The tables of a comparison."""
    console = cli.output()
    names = found["names"]
    figures = [(row["name"], *row["texts"]) for row in found["figures"]]
    console.print(_table("figures", ("", *names), figures))
    if found["differences"]:
        differing = [(row["key"], *row["texts"]) for row in found["differences"]]
        console.print(_table("settings that differ", ("key", *names), differing))
    if found["pairs"]:
        counts = ("rows", "both_right", "only_first", "only_second", "both_wrong")
        several = any(pair["task"] for pair in found["pairs"])
        titles = (
            "A",
            "B",
            *["task"] * several,
            "A - B",
            "mid-p",
            "rows",
            "both",
            "only A",
            "only B",
            "neither",
            "exact p",
        )
        pairs = [
            (
                pair["first"].partition(":")[0],
                pair["second"].partition(":")[0],
                *[pair["task"]] * several,
                digits.points(pair["difference"], pair["rows"]),
                pages.chance(pair["p_mid"]),
                *(f"{pair[count]:,}" for count in counts),
                pages.chance(pair["p_exact"]),
            )
            for pair in found["pairs"]
        ]
        console.print(_table("who was right where (McNemar's test; A - B in points)", titles, pairs))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(escape(shown(column)), overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(escape(shown(cell)) for cell in row))
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(report, argv, name="report")


if __name__ == "__main__":
    raise SystemExit(main())
