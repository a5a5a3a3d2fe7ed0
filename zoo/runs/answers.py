"""Rows with what a run says of them, in a form for people or for programs.

In come rows from zoo/data/streams.py with their predictions, a part at a time; out they go, in order, to a stream
(text, json, jsonl, csv) or to a file (csv, jsonl, parquet), which is seen by others once it is whole. What is carried
along keeps its name, and a column of the prediction that the rows have too is called `predicted_` and its name.
Refused: what a form cannot hold.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, TextIO

import numpy as np

from zoo.data.streams import Part
from zoo.data.writing import storage_errors, write_atomically
from zoo.errors import DataError, OutputError
from zoo.recipe.showing import as_json, cells_for, shown
from zoo.tasks import Prediction

__all__ = ["ENDINGS", "Answers", "Form", "prediction_columns", "prediction_types", "to_file", "to_stream"]

Form = Literal["text", "json", "jsonl", "csv"]
ENDINGS = (".csv", ".jsonl", ".parquet")
"""Of the files that can be written."""
GROUP = 1 << 24
"""Bytes of rows that a parquet file gets at once, as one of its row groups."""
HALF = (
    "a row holds half of a character (a lone surrogate), expected Unicode: repair it, or leave its column out by --keep"
)


class Answers(Protocol):
    """Rows with their predictions, on their way out."""

    def write(self, part: Part, found: Sequence[Prediction | None]) -> None:
        """Rows, each with its prediction, or None where it has no text."""

    def close(self) -> None:
        """What is to be written after the last row."""


def _free(names: Sequence[str], taken: Sequence[str]) -> list[str]:
    """The names of a prediction's columns beside those that are taken."""
    used, found = set(taken), list[str]()
    for name in names:
        while name in used:
            name = f"predicted_{name}"
        used.add(name)
        found.append(name)
    return found


def to_stream(form: Form, stream: TextIO, columns: Sequence[str], blank: Prediction) -> Answers:
    """Answers to a stream; `columns` are carried along, and of `blank` only its columns are looked at."""
    if form == "text":
        return People(stream)
    return Csv(stream, columns, blank) if form == "csv" else Json(stream, columns, blank, array=form == "json")


@contextlib.contextmanager
def to_file(path: Path, types: Mapping[str, Any], blank: Prediction) -> Iterator[Answers]:
    """Answers to a file, in the form that its ending tells, which is there at the end and not after an error.

    Args:
        path: the file, of one of `ENDINGS`; one that is there is replaced.
        types: the columns that are carried along, each with its pyarrow type.
        blank: a prediction, of which only the columns are looked at.

    Raises:
        OutputError: it cannot be written.
    """
    with storage_errors(path.parent), write_atomically(path) as stream:
        if path.suffix.lower() == ".parquet":
            parquet = Parquet(stream, types, blank)
            try:
                yield parquet
            finally:
                parquet.end()  # else it is ended when it is forgotten, and the stream is closed then
            return
        # JSON writes half of a character just so; the table looks for it itself.
        text = io.TextIOWrapper(stream, "utf-8", errors="backslashreplace", newline="")
        try:
            yield to_stream("csv" if path.suffix.lower() == ".csv" else "jsonl", text, list(types), blank)
        finally:
            text.detach()  # and with it all that waits is written


class People:
    """A line a row: what is answered, a figure, and the begin of the text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._width = stream, 0

    def write(self, part: Part, found: Sequence[Prediction | None]) -> None:
        told = [("-", "") if prediction is None else prediction.told() for prediction in found]
        words = [shown(word) for word, _ in told]
        figures = max((len(figure) for _, figure in told), default=0)
        self._width = max(self._width, *map(len, words), 0)  # rows come in parts, and later ones may be wider
        for text, word, (_, figure) in zip(part.texts, words, told, strict=True):
            line = f"{word:{self._width}}  {figure:>{figures}}  {shown(' '.join(text.split())[:100])}"
            print(line.rstrip(), file=self._stream)
        self._stream.flush()

    def close(self) -> None:
        pass


class Json:
    """Objects with what is carried along and the fields of the prediction, null where there is none; numbers with six
    decimals. A line each, or with `array` one array of them all."""

    def __init__(self, stream: TextIO, columns: Sequence[str], blank: Prediction, *, array: bool = False) -> None:
        self._stream, self._array, self._first = stream, array, True
        self._names = dict(zip(blank.fields(), _free(list(blank.fields()), columns), strict=True))

    def write(self, part: Part, found: Sequence[Prediction | None]) -> None:
        for row, prediction in enumerate(found):
            fields = dict.fromkeys(self._names) if prediction is None else _rounded(prediction.fields())
            value = {name: _plain(values[row]) for name, values in part.kept.items()}
            value |= {self._names[name]: told for name, told in fields.items()}
            if self._array:
                self._stream.write("[\n" if self._first else ",\n")
                self._first = False
            self._stream.write(as_json(value, stream=self._stream) + "\n" * (not self._array))
        self._stream.flush()

    def close(self) -> None:
        if self._array:
            self._stream.write("\n]\n")


class Csv:
    """A header and a line a row: what is carried along, and the prediction's cells, empty where there is none; numbers
    with six decimals, and several labels with `;` between them. No cell is a formula for a spreadsheet, and on a screen
    none has control characters."""

    def __init__(self, stream: TextIO, columns: Sequence[str], blank: Prediction) -> None:
        self._stream, self._columns = stream, columns
        self._as_cell = cells_for(stream)
        self._width = len(blank.cells())
        self._print([[*columns, *_free([name for name, _ in blank.cells()], columns)]])

    def write(self, part: Part, found: Sequence[Prediction | None]) -> None:
        kept = zip(*part.kept.values(), strict=True) if part.kept else [()] * len(found)
        self._print(
            [
                *map(_cell, row),
                *([""] * self._width if prediction is None else [_said(value) for _, value in prediction.cells()]),
            ]
            for row, prediction in zip(kept, found, strict=True)
        )
        self._stream.flush()

    def close(self) -> None:
        pass

    def _print(self, rows: Iterable[Sequence[str]]) -> None:
        lines = io.StringIO(newline="")
        csv.writer(lines, lineterminator="\n").writerows(map(self._as_cell, row) for row in rows)
        try:
            lines.getvalue().encode(self._stream.encoding or "utf-8")
        except UnicodeEncodeError as error:
            if error.encoding.startswith("utf"):
                raise DataError(HALF) from error
            raise OutputError(
                f"stdout is {error.encoding}, which has no {error.object[error.start]!a}: set PYTHONIOENCODING=utf-8, "
                "or take --format jsonl"
            ) from error
        self._stream.write(lines.getvalue())


class Parquet:
    """A parquet file: what is carried along with the types that `column_types` finds, and the prediction's cells as
    they are, null where there is none."""

    def __init__(self, stream: BinaryIO, types: Mapping[str, Any], blank: Prediction) -> None:
        import pyarrow
        import pyarrow.parquet

        told = prediction_types(blank, list(types))
        self._types = types
        self._schema = pyarrow.schema({**types, **told})
        self._file = pyarrow.parquet.ParquetWriter(stream, self._schema)
        self._waiting: list[Any] = []

    def write(self, part: Part, found: Sequence[Prediction | None]) -> None:
        import pyarrow

        told = prediction_columns(found, len(self._schema) - len(self._types))
        string = pyarrow.string()
        kept = [
            [None if value is None else _cell(value) for value in part.kept[name]]
            if kind == string
            else part.kept[name]
            for name, kind in self._types.items()
        ]
        try:
            arrays = [
                pyarrow.array(values, kind) for values, kind in zip([*kept, *told], self._schema.types, strict=True)
            ]
        except UnicodeEncodeError as error:
            raise DataError(HALF) from error
        self._waiting.append(pyarrow.table(arrays, schema=self._schema))
        if sum(table.nbytes for table in self._waiting) >= GROUP:
            self._empty()

    def close(self) -> None:
        self._empty()
        self.end()

    def end(self) -> None:
        """Take no more rows; what waits is not written."""
        self._file.close()

    def _empty(self) -> None:
        import pyarrow

        if self._waiting:
            self._file.write_table(pyarrow.concat_tables(self._waiting))
            self._waiting = []


def prediction_types(blank: Prediction, taken: Sequence[str]) -> dict[str, Any]:
    """The columns of a prediction's cells beside those that are taken, each with its pyarrow type."""
    import pyarrow

    kinds = {
        str: pyarrow.string(),
        float: pyarrow.float64(),
        int: pyarrow.int64(),
        list: pyarrow.list_(pyarrow.string()),
    }
    names = _free([name for name, _ in blank.cells()], taken)
    return {name: kinds[type(value)] for name, (_, value) in zip(names, blank.cells(), strict=True)}


def prediction_columns(found: Sequence[Prediction | None], width: int) -> list[Sequence[Any]]:
    """The cells of predictions, a column each of `width`; None where there is no prediction."""
    rows = [[None] * width if each is None else [value for _, value in each.cells()] for each in found]
    return list(zip(*rows, strict=True)) or [()] * width


def _rounded(value: Any) -> Any:
    """What a prediction's fields hold, its numbers with six decimals."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value


def _said(value: Any) -> str:
    """A cell of a prediction."""
    if isinstance(value, list):
        return ";".join(value)
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """What JSON has: numbers that are none as null, and what only parquet has as text."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | list | dict) else str(value)


def _cell(value: Any) -> str:
    """A value that is carried along, as text: what is none of its own as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list | dict | bool):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
