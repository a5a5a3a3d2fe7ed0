"""`python -m zoo.predict RUN`: what a finished run says of texts.

In come texts (`--text`, `--pair`, questions with their context, a file, or lines on stdin), some thousands at a time;
out comes, in their order, what the run's task answers, for instance the class and the probability of every class: on
stdout, or with `--out` in a file, beside the columns that the rows have. With `--shard` it is a share of a file's rows,
and others predict the rest into the same folder. Refused: an unknown run, a file without the text column, nothing on
stdin, rows without text, single texts to a run of pairs.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo import cli
from zoo.data.columns import as_tuple
from zoo.data.dataset import text_column
from zoo.data.streams import OnMissing, Source, carried, of_file, of_stdin, of_texts
from zoo.data.tables import column_types
from zoo.errors import DataError, OutputError, RecipeError
from zoo.finished import Run, load_run
from zoo.recipe.showing import listed
from zoo.runs.answering import Answering, Tally, answer, blank
from zoo.runs.answers import ENDINGS, Answers, Form, to_file, to_stream
from zoo.runs.screen import Screen
from zoo.runs.shards import Shard, Work, predict_shard

TextColumnOption = Annotated[
    list[str] | None,
    typer.Option("--text-column", metavar="NAME", help="Column of the text; twice for pairs. Default: the recipe's."),
]


def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    text: Annotated[list[str] | None, typer.Option("--text", help="A text; may be repeated.")] = None,
    pair: Annotated[
        tuple[str, str] | None,
        typer.Option("--pair", metavar="TEXT_A TEXT_B", help="A pair of texts, where the run was trained on pairs."),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option("--question", help="A question on --context, where the run answers some; may be repeated."),
    ] = None,
    context: Annotated[str | None, typer.Option("--context", help="The text that has the answers.")] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file", metavar="FILE", help="csv, tsv, jsonl, parquet, SQuAD's json, or txt with a text a line."
        ),
    ] = None,
    text_column: TextColumnOption = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", metavar="COLUMN", help="A column to carry along; may be repeated. Default: all of the file's."
        ),
    ] = None,
    on_missing: Annotated[
        OnMissing | None,
        typer.Option(
            "--on-missing",
            help="A row without a text: an error, an empty prediction, or no row. Default: error, of stdin keep.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write to a file, by its ending csv, jsonl or parquet; with --shard to a folder.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Of --file, cut into parts, every N-th from the I-th: each a parquet file in the folder --out. "
            "Parts that are there are not predicted again.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Rows a batch.")] = 64,
    precision: cli.PrecisionOption = "float32",
    task: cli.TaskOption = None,
    output: Annotated[
        Form | None, typer.Option("--format", help="Of stdout: for people or for programs. Default: text.")
    ] = None,
    debug: cli.DebugOption = False,
) -> int:
    """What a finished run says of texts; without any, and without --file, of the lines of stdin.

    Example: python -m zoo.predict runs/mine --file reviews.csv --out scored.csv
    """
    share = None if shard is None else _share(shard, file, out, output)
    target = None if out is None else share[-1] if share else _target(out, file, output)
    done = load_run(run, precision=precision, task=task).finished()
    done.task.refuse("predict")
    on_missing = on_missing or ("error" if text or pair or question or file else "keep")
    given = Asked(text=tuple(text or ()), pair=pair, questions=tuple(question or ()), context=context, file=file)
    screen = Screen()
    if share is not None:
        given.refuse_other(done)
        tally = _in_shards(
            done, *share, as_tuple(text_columns(done, text_column)), keep, on_missing, batch_size, screen
        )
    else:
        source = _source(done, given, text_column, keep, on_missing)
        say_precision(done, screen)
        with _answers(done, source, file, target, output or "text", screen) as (answers, bar):
            answering = Answering(
                *(done, source.name), on_missing=on_missing, batch_size=batch_size, bar=bar, wait=screen.on_wait
            )
            tally = answer(answering, source, answers)
    _tell(tally, on_missing, screen, rate=not (text or pair or question) and tally.rows > 0)
    if target is not None:
        cli.tell(target)
    return 0


def say_precision(run: Run, screen: Screen) -> None:
    """In what the run predicts, with the figures by which it was chosen; nothing where the user said which."""
    if run.trial is not None:
        screen.say("precision", f"{run.precision} ({run.trial})")


def text_columns(run: Run, asked: Sequence[str] | None) -> str | tuple[str, str]:
    """The text column, or the two of pairs: as asked for, else the recipe's own.

    Raises:
        RecipeError: another number than the run was trained on.
    """
    if not asked:
        return text_column(run.recipe)
    if len(asked) > 2 or (run.takes_pairs is not None and run.takes_pairs != (len(asked) == 2)):
        wanted = "two, as the run was trained on pairs" if run.takes_pairs else "one, as the run was trained on texts"
        raise RecipeError(f"--text-column: got {listed(asked)}, expected {wanted}")
    return (asked[0], asked[1]) if len(asked) == 2 else asked[0]


def _share(text: str, file: str | None, out: str | None, form: Form | None) -> tuple[Shard, Path, Path]:
    """The shard, the file, and the folder of its parts."""
    shard = Shard.of(text)
    if file is None:
        raise RecipeError(f"--shard: got {text}, expected --file too: the rows that it is a share of")
    if out is None or Path(out).suffix.lower() in ENDINGS:
        got = "no --out" if out is None else f"--out {out}"
        raise RecipeError(f"--shard: got {text} and {got}, expected --out with a folder, which holds the parts")
    if form is not None:
        raise RecipeError(f"--format: got {form} beside --shard, which writes parquet: leave it out")
    return shard, Path(file), Path(out)


def _in_shards(
    run: Run,
    shard: Shard,
    file: Path,
    out: Path,
    texts: tuple[str, ...],
    keep: Sequence[str] | None,
    on_missing: OnMissing,
    batch_size: int,
    screen: Screen,
) -> Tally:
    """Predict what is not yet there of a shard."""
    columns = carried(file, texts, keep or None)
    _tell_renamed(str(file), columns, dict(blank(run).cells()), screen)
    say_precision(run, screen)
    work = Work(file=file, texts=texts, columns=columns, on_missing=on_missing)
    return predict_shard(run, work, shard, out, batch_size=batch_size, screen=screen)


def _target(out: str, file: str | None, form: Form | None) -> Path:
    """The file to write."""
    path = Path(out)
    if path.suffix.lower() not in ENDINGS:
        raise RecipeError(f"--out: got {out}, expected a name that ends in one of {', '.join(ENDINGS)}")
    if form is not None:
        raise RecipeError(f"--format: got {form} beside --out, whose ending says the form: leave it out")
    if path.is_dir():
        raise OutputError(f"--out: {out} is a folder, expected a file: choose another name")
    if file is not None and path.exists() and Path(file).exists() and path.samefile(file):
        raise OutputError(f"--out: {out} is the file that is read, expected another one: choose another name")
    return path


def _source(
    run: Run, given: Asked, columns: Sequence[str] | None, keep: Sequence[str] | None, on_missing: OnMissing
) -> Source:
    given.refuse_other(run)
    if keep and given.file is None:
        raise RecipeError(f"--keep: got {listed(keep)}, expected none without --file: leave it out, or give a file")
    if given.file is not None:
        return of_file(
            *(Path(given.file), text_columns(run, columns)),
            keep=keep or None,
            on_missing=on_missing,
            worded=run.task.worded,
        )
    if given.questions:
        _refuse_empty("--question", given.questions)
        _refuse_empty("--context", [given.context or ""])
        return of_texts(given.questions, [given.context or ""] * len(given.questions), run.task.pair)
    if given.text:
        _refuse_empty("--text", given.text)
        return of_texts(given.text)
    if given.pair is not None:
        _refuse_empty("--pair", given.pair)
        return of_texts(given.pair[:1], given.pair[1:], run.task.pair)
    return of_stdin()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The texts that the options give."""

    text: tuple[str, ...]
    pair: tuple[str, str] | None
    questions: tuple[str, ...]
    context: str | None
    file: str | None

    def refuse_other(self, run: Run) -> None:
        """RecipeError for several of the options, and for those that the run is not for."""
        given = {
            "--text": bool(self.text),
            "--pair": self.pair is not None,
            "--question": bool(self.questions) or self.context is not None,
            "--file": self.file is not None,
        }
        if sum(given.values()) > 1:
            both = " and ".join(name for name, there in given.items() if there)
            raise RecipeError(f"{both}: got both, expected one of them")
        answers = run.task.pair == ("question", "context")
        if given["--question"] and not answers:
            expected = "--pair" if run.takes_pairs else "--text"
            raise RecipeError(f"--question: got one, expected {expected}, as the run does not answer questions")
        if given["--question"] and not (self.questions and self.context is not None):
            got, lacks = ("--question", "--context") if self.questions else ("--context", "--question")
            raise RecipeError(f"{got}: got one, expected {lacks} too: a question is answered from a context")
        if run.takes_pairs is False and self.pair is not None:
            raise RecipeError("--pair: got one, expected --text, as the run was trained on single texts")
        if run.takes_pairs and (self.text or not any(given.values())):
            got = "--text: got a single text" if self.text else "stdin: got single texts"
            wanted, why = (
                ("--question Q --context C", "answers questions")
                if answers
                else ("--pair TEXT_A TEXT_B", "was trained on pairs of texts")
            )
            raise RecipeError(f"{got}, expected {wanted} or --file, as the run {why}")


def _refuse_empty(option: str, texts: Sequence[str]) -> None:
    without = sum(not each.strip() for each in texts)
    if without:
        raise DataError(f"{option} is empty, expected words ({without} of {len(texts)} texts): give some")


@contextlib.contextmanager
def _answers(
    run: Run, source: Source, file: str | None, target: Path | None, form: Form, screen: Screen
) -> Iterator[tuple[Answers, Any]]:
    """Where the answers go, and what shows how far they are."""
    stdout, template = sys.stdout, blank(run)  # a live bar takes the place of sys.stdout
    fields, cells = template.fields(), dict(template.cells())
    if target is not None:
        _tell_renamed(source.name, source.columns, fields if target.suffix.lower() == ".jsonl" else cells, screen)
        types = column_types(file or "", source.columns)
        with to_file(target, types, template) as answers:
            yield answers, screen.bar("predict", source.rows)
        return
    if form != "text":
        _tell_renamed(source.name, source.columns, cells if form == "csv" else fields, screen)
    # Rows on the screen show themselves how far they are, and a bar would stand in their way.
    bar = contextlib.nullcontext(lambda count: None) if stdout.isatty() else screen.bar("predict", source.rows)
    yield to_stream(form, stdout, source.columns, template), bar


def _tell_renamed(source: str, columns: Sequence[str], names: Iterable[str], screen: Screen) -> None:
    twice = [name for name in names if name in columns]
    if twice:
        told = ", ".join(f"predicted_{name}" for name in twice)
        screen.say("columns", f"{source} has {', '.join(twice)} of its own: the prediction's is {told}")


def _tell(tally: Tally, on_missing: OnMissing, screen: Screen, *, rate: bool) -> None:
    if tally.missing:
        more = ", ..." if tally.missing > len(tally.first) else ""
        have, were = ("has", "was") if tally.missing == 1 else ("have", "were")
        what = f"{were} left out" if on_missing == "drop" else f"{have} an empty prediction"
        screen.say("missing", f"{_rows(tally.missing)} without a text {what} ({', '.join(tally.first)}{more})")
    if rate:
        seconds = max(tally.seconds, 1e-9)
        screen.say("predict", f"{_rows(tally.rows)} in {seconds:.1f} s, {tally.rows / seconds:,.0f} a second")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(predict, argv, name="predict")


if __name__ == "__main__":
    raise SystemExit(main())
