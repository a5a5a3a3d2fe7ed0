"""`python -m zoo.evaluate RUN --data FILE`: figures of a finished run on other data.

In come a run and a file of labelled rows; out come, on stdout, the same figures as run.json's, a table
of the classes and the confusion matrix, or of many classes the worst and what is confused most.
Refused: labels that the run does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zoo import cli
from zoo.data.catalog import dataset_card
from zoo.data.dataset import columns_of, read_labelled
from zoo.finished import Run, load_run
from zoo.predict import TextColumnOption, say_precision, text_columns
from zoo.recipe import load_recipe
from zoo.recipe.showing import as_json, shown
from zoo.runs.screen import Screen
from zoo.score import metrics

CLASSES = 12
"""In a table on the screen."""


def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    data: Annotated[str, typer.Option("--data", metavar="FILE", help="Labelled rows: csv, tsv, jsonl or parquet.")],
    text_column: TextColumnOption = None,
    label_column: Annotated[
        str | None, typer.Option("--label-column", metavar="NAME", help="Column of the label. Default: the recipe's.")
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Rows a batch.")] = 64,
    precision: cli.PrecisionOption = "float32",
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Figures of a finished run on other data.

    Example: python -m zoo.evaluate runs/mine --data reviews.csv --text-column review --label-column stars
    """
    done = load_run(run, precision=precision).finished()
    found = judge(done, data, text_columns(done, text_column), label_column, batch_size)
    if output == "json":
        told = {"metrics": found.metrics, "classes": found.classes, "confusion": found.confusion().tolist()}
        print(as_json(told, indent=2))
    else:
        _show(found)
    return 0


@dataclass(frozen=True, kw_only=True)
class Judged:
    """metrics as in run.json; classes: a row a class; labels and predicted: class numbers [rows]."""

    metrics: dict[str, Any]
    classes: list[dict[str, Any]]
    labels: np.ndarray
    predicted: np.ndarray

    def confusion(self) -> np.ndarray:
        """Counts [true, predicted] of all classes."""
        return metrics.confusion(self.labels, self.predicted, range(len(self.classes)))


def judge(run: Run, path: str, text: str | tuple[str, str], label: str | None, batch_size: int) -> Judged:
    """What there is to say of a file's rows."""
    recipe = load_recipe(run.path / "recipe.yaml")
    names = run.card.label_names
    rows = read_labelled(
        path,
        text=text,
        label=label or columns_of(recipe)[1],
        label_names=names,
        labels=dataset_card(recipe.data.dataset).labels if recipe.data.dataset is not None else None,
    )
    screen = Screen()
    say_precision(run, screen)
    with screen.bar("evaluate", len(rows)) as advance:
        found = run.probabilities(rows.texts, rows.pairs, batch_size=batch_size, progress=advance)
    predicted = run.task.decided(found)
    return Judged(
        metrics=run.task.figures(found, rows.labels),
        classes=metrics.classification_table(rows.labels, predicted, names),
        labels=rows.labels,
        predicted=predicted,
    )


def _show(found: Judged) -> None:
    console = Console(highlight=False)
    for figure, value in found.metrics.items():
        console.print(f"{figure:18} {value:.4f}" if isinstance(value, float) else f"{figure:18} {value}")
    names = [shown(row["label"]) for row in found.classes]
    many = len(names) > CLASSES
    worst = metrics.worst_classes(found.classes, CLASSES)
    left_out = f"the {CLASSES} with the lowest F1; {len(names) - CLASSES:,} others are left out" if many else None
    table = Table("class", "precision", "recall", "f1", "rows", "predicted", caption=left_out, caption_justify="left")
    for row in worst:
        shares = (f"{row[key]:.4f}" for key in ("precision", "recall", "f1"))
        table.add_row(Text(shown(row["label"])), *shares, str(row["rows"]), str(row["predicted"]))
    console.print(table)
    if many:
        pairs = Table("true", "predicted", "rows", title="confused most", title_justify="left")
        for true, guess, rows in metrics.confused_pairs(found.labels, found.predicted)[:CLASSES]:
            pairs.add_row(Text(names[true]), Text(names[guess]), str(rows))
        console.print(pairs)
        return
    confusion = Table("true / predicted")
    for name in names:
        confusion.add_column(Text(name))
    for name, counts in zip(names, found.confusion(), strict=True):
        confusion.add_row(Text(name), *map(str, counts))
    console.print(confusion)


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(evaluate, argv, name="evaluate")


if __name__ == "__main__":
    raise SystemExit(main())
