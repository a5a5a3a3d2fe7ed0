"""`python -m zoo.predict RUN`: what a finished run says of texts.

In come texts (`--text`, a csv, tsv, jsonl, parquet or txt file, or lines on stdin); out comes, on stdout and in their
order, what the run's task answers, for instance the class and the probability of every class. Refused: an unknown run,
a file without the text column, nothing on stdin, rows without text.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from zoo import cli
from zoo.data.columns import read_texts
from zoo.data.dataset import text_column
from zoo.errors import DataError, OutputError, RecipeError
from zoo.finished import Run, load_run
from zoo.recipe import load_recipe
from zoo.recipe.showing import as_json, shown
from zoo.runs.screen import Screen
from zoo.tasks import Prediction

TextColumnOption = Annotated[
    list[str] | None,
    typer.Option("--text-column", metavar="NAME", help="Column of the text; twice for pairs. Default: the recipe's."),
]


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    text: Annotated[list[str] | None, typer.Option("--text", help="A text; may be repeated.")] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="csv, tsv, jsonl, parquet, or txt with a text a line.")
    ] = None,
    text_column: TextColumnOption = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Rows a batch.")] = 64,
    precision: cli.PrecisionOption = "float32",
    output: Annotated[
        Literal["text", "json", "jsonl", "csv"], typer.Option("--format", help="For people or for programs.")
    ] = "text",
    debug: cli.DebugOption = False,
) -> int:
    """What a finished run says of texts; without --text and --file of the lines of stdin.

    Example: python -m zoo.predict runs/mine --file reviews.csv --format jsonl
    """
    done = load_run(run, precision=precision).finished()
    texts, pairs = _texts(done, text, file, text_column)
    screen = Screen()
    say_precision(done, screen)
    with screen.bar("predict", len(texts)) as advance:
        found = done.values(texts, pairs, batch_size=batch_size, progress=advance)
    WRITERS[output](sys.stdout, texts, done.named(found))
    return 0


def say_precision(run: Run, screen: Screen) -> None:
    """In what the run predicts, with the figures by which it was chosen; nothing where the user said which."""
    if run.trial is not None:
        screen.say("precision", f"{run.precision} ({run.trial})")


def text_columns(run: Run, asked: Sequence[str] | None) -> str | tuple[str, str]:
    """The text column, or the two of pairs: as asked for, else the recipe's own.

    Raises:
        RecipeError: more than two.
    """
    if not asked:
        return text_column(load_recipe(run.path / "recipe.yaml"))
    if len(asked) > 2:
        raise RecipeError(f"--text-column: got {len(asked)}, expected one, or two for pairs of texts")
    return (asked[0], asked[1]) if len(asked) == 2 else asked[0]


def _texts(
    run: Run, text: Sequence[str] | None, file: str | None, columns: Sequence[str] | None
) -> tuple[list[str], list[str] | None]:
    if text and file:
        raise RecipeError("--text and --file: got both, expected one of them")
    if text:
        without = sum(not each.strip() for each in text)
        if without:
            raise DataError(f"--text is empty, expected words ({without} of {len(text)} texts): give some")
        return list(text), None
    if file is not None:
        return read_texts(Path(file), text_columns(run, columns))
    lines = [line.rstrip("\r\n") for line in io.StringIO(cli.read_stdin())]
    if not any(line.strip() for line in lines):
        raise DataError("stdin is empty, expected a text a line: pipe some in, or give --text or --file")
    empty = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if empty:
        raise DataError(f"stdin line {empty[0]} is empty, expected a text on every line ({len(empty)} such lines)")
    return lines, None


def _write_text(stream: TextIO, texts: Sequence[str], found: Sequence[Prediction]) -> None:
    told = [prediction.told() for prediction in found]
    words = [shown(word) for word, _ in told]
    width = max(map(len, words))
    for text, word, (_, figure) in zip(texts, words, told, strict=True):
        print(f"{word:{width}}  {figure}  {shown(' '.join(text.split())[:100])}", file=stream)


def _rounded(prediction: Prediction) -> dict[str, Any]:
    """What it answers, its numbers with six decimals."""
    return {
        key: {name: round(number, 6) for name, number in value.items()} if isinstance(value, dict) else value
        for key, value in prediction.fields().items()
    }


def _write_json(stream: TextIO, texts: Sequence[str], found: Sequence[Prediction]) -> None:
    print(as_json([_rounded(prediction) for prediction in found], indent=2, stream=stream), file=stream)


def _write_jsonl(stream: TextIO, texts: Sequence[str], found: Sequence[Prediction]) -> None:
    for prediction in found:
        print(as_json(_rounded(prediction), stream=stream), file=stream)


def _write_csv(stream: TextIO, texts: Sequence[str], found: Sequence[Prediction]) -> None:
    table = [prediction.cells() for prediction in found]
    names = [column for column, _ in table[0]]
    try:
        "".join(names).encode(stream.encoding or "utf-8")
    except UnicodeEncodeError as error:
        raise OutputError(
            f"stdout is {error.encoding}, which has no {error.object[error.start]!a} of the names: "
            "set PYTHONIOENCODING=utf-8, or take --format jsonl"
        ) from error
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(names)
    rows.writerows([text for _, text in cells] for cells in table)


WRITERS: dict[str, Callable[[TextIO, Sequence[str], Sequence[Prediction]], None]] = {
    "text": _write_text,
    "json": _write_json,
    "jsonl": _write_jsonl,
    "csv": _write_csv,
}


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(predict, argv, name="predict")


if __name__ == "__main__":
    raise SystemExit(main())
