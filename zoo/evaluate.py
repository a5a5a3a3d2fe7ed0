"""`python -m zoo.evaluate RUN --data FILE`: figures of a finished run on other data.

In come a run and a file of labelled rows; out come, on stdout, the same figures as run.json's and the tables of the
run's task: of classification a table of the classes and the confusion matrix, or of many classes the worst and what is
confused most. Refused: labels that the run does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import rich.table
import typer
from rich.text import Text

from zoo import cli
from zoo.data.dataset import read_labelled
from zoo.finished import Run, load_run
from zoo.predict import TextColumnOption, say_precision, text_columns
from zoo.recipe import showing
from zoo.runs.screen import Screen
from zoo.tasks import Task
from zoo.tasks.shown import Table

MOST = 12
"""Rows of a table on the screen."""


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    data: Annotated[str, typer.Option("--data", metavar="FILE", help="Labelled rows, in a file as those of training.")],
    text_column: TextColumnOption = None,
    label_column: Annotated[
        list[str] | None,
        typer.Option(
            "--label-column", metavar="NAME", help="Column of the label; may be repeated. Default: the recipe's."
        ),
    ] = None,
    on_missing: Annotated[
        Literal["error", "drop"],
        typer.Option("--on-missing", help="What a row without text or label gets: an error, or left out."),
    ] = "error",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Rows a batch.")] = 64,
    precision: cli.PrecisionOption = "float32",
    task: cli.TaskOption = None,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Figures of a finished run on other data.

    Example: python -m zoo.evaluate runs/mine --data reviews.csv --text-column review --label-column stars
    """
    done = load_run(run, precision=precision, task=task).finished()
    done.task.refuse("evaluate")
    found = judge(done, data, text_columns(done, text_column), label_column, batch_size, on_missing)
    if output == "json":
        print(showing.as_json({"metrics": found.metrics, **found.details}, indent=2))
    else:
        show(found)
    return 0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Rows of a file with what the run says of them; of it that is computed which is asked for."""

    task: Task
    targets: np.ndarray
    values: np.ndarray

    @property
    def metrics(self) -> dict[str, float]:
        """Figures as in run.json."""
        return self.task.figures(self.values, self.targets)

    @property
    def tables(self) -> list[Table]:
        """For people."""
        return self.task.tables(self.targets, self.values, most=MOST)

    @property
    def details(self) -> dict[str, Any]:
        """All that the tables have, in plain values."""
        return self.task.details(self.targets, self.values)


def judge(
    run: Run,
    path: str,
    text: str | tuple[str, str],
    label: Sequence[str] | None,
    batch_size: int,
    on_missing: Literal["error", "drop"] = "error",
) -> Judged:
    """What there is to say of a file's rows."""
    task, screen = run.task, Screen()
    rows, notes = read_labelled(path, run.recipe, task, text=text, label=label, on_missing=on_missing)
    for note in notes:
        screen.say("missing", note)
    say_precision(run, screen)
    _ = run.model  # what it takes to load it is no part of the rate
    with screen.bar("evaluate", len(rows)) as advance:
        values = run.values_of(rows, batch_size=batch_size, place=rows.place, progress=advance, wait=screen.on_wait)
    return Judged(task=task, targets=rows.labels, values=values)


def show(found: Judged) -> None:
    """Print the figures and the tables, with the digits that their rows carry."""
    console, metrics, rows = cli.output(), found.metrics, len(found.targets)
    width = max(18, *map(len, metrics))
    for name, value in metrics.items():
        console.print(Text(f"{showing.shown(name):{width}} {found.task.shown(name, value, rows)}"))
    for each in found.tables:
        table = rich.table.Table(
            title=each.title, title_justify="left", caption=each.note or None, caption_justify="left"
        )
        for column in each.columns:
            table.add_column(Text(showing.shown(column.title)), justify="left" if column.kind == "name" else "right")
        for row in each.rows:
            table.add_row(*(Text("-" if cell is None else showing.shown(cell)) for cell in each.cells(row, rows)))
        console.print(table)


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(evaluate, argv, name="evaluate")


if __name__ == "__main__":
    raise SystemExit(main())
