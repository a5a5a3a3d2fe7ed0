"""`python -m zoo.evaluate RUN --data FILE`: figures of a finished run on other data.

In come a run and a file of labelled rows; out come, on stdout, the same figures as run.json's, a table
of the classes and the confusion matrix. Refused: labels that the run does not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from zoo import cli
from zoo.data.catalog import dataset_card
from zoo.data.dataset import columns_of, read_labelled
from zoo.predict import TextColumnOption, text_columns
from zoo.recipe import load_recipe
from zoo.results import metrics
from zoo.results.run import Run, load_run
from zoo.results.screen import Screen


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
    result = judge(done, data, text_columns(done, text_column), label_column, batch_size)
    if output == "json":
        print(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        _show(result)
    return 0


def judge(run: Run, path: str, text: str | tuple[str, str], label: str | None, batch_size: int) -> dict[str, Any]:
    """metrics (as in run.json), classes (a row a class) and confusion [true, predicted] of a file's rows."""
    recipe = load_recipe(run.path / "recipe.yaml")
    names = run.card.label_names
    rows = read_labelled(
        path,
        text=text,
        label=label or columns_of(recipe)[1],
        label_names=names,
        labels=dataset_card(recipe.data.dataset).labels if recipe.data.dataset is not None else None,
    )
    with Screen().bar("evaluate", len(rows)) as advance:
        found = run.probabilities(rows.texts, rows.pairs, batch_size=batch_size, progress=advance)
    predicted = metrics.predictions(found, run.card.threshold)
    return {
        "metrics": metrics.evaluate(found, rows.labels, names, run.card.threshold),
        "classes": metrics.classification_table(rows.labels, predicted, names),
        "confusion": metrics.confusion(rows.labels, predicted, len(names)).tolist(),
    }


def _show(result: Mapping[str, Any]) -> None:
    console = Console(highlight=False)
    for name, value in result["metrics"].items():
        console.print(f"{name:18} {value:.4f}" if isinstance(value, float) else f"{name:18} {value}")
    table = Table("class", "precision", "recall", "f1", "rows", "predicted")
    for row in result["classes"]:
        shares = (f"{row[key]:.4f}" for key in ("precision", "recall", "f1"))
        table.add_row(row["label"], *shares, str(row["rows"]), str(row["predicted"]))
    console.print(table)
    names = [row["label"] for row in result["classes"]]
    confusion = Table("true / predicted", *names)
    for name, counts in zip(names, result["confusion"], strict=True):
        confusion.add_row(name, *map(str, counts))
    console.print(confusion)


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(evaluate, argv, name="evaluate")


if __name__ == "__main__":
    raise SystemExit(main())
