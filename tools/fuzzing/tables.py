"""Files of rows in every format, changed in their bytes and cells: rows, or what is wrong with them."""

from __future__ import annotations

import csv
import datetime
import decimal
import functools
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from hypothesis import strategies as st

from tools.fuzzing.case import Case, Kind, ends
from tools.fuzzing.mutating import VALUES, bytes_of, data_of, lines_of
from zoo.data.catalog import dataset_card
from zoo.data.sources import locate_first
from zoo.data.streams import of_file
from zoo.data.tables import column_types
from zoo.errors import DataError, RecipeError

BACKBONE = "{family: bert, num_layers: 1, num_heads: 2, hidden_dim: 8, intermediate_dim: 16, vocabulary: nano_uncased}"
RECIPE = """\
name: own
task: {task}
data:
  files: {{train: rows{ending}, {columns}}}
  on_missing: {on_missing}
tokens: {{max_length: 32}}
model: {{backbone: {backbone}}}
training: {{epochs: 1, batch_size: 4}}
"""
COLUMNS = "text: review, label: stars"
TASKS = {".json": ("span", "text: [question, context], label: answers"), ".conll": ("tokens", "text: word, label: tag")}
ROWS = [{"review": f"a {word} film, number {n}", "stars": word} for n in range(15) for word in ("good", "bad")]
ODD = (
    *VALUES,
    *(b"\xff", decimal.Decimal("1.5"), datetime.datetime(2024, 1, 1), datetime.date(1, 1, 1), datetime.timedelta(1)),
)
"""Cells that only parquet holds, too."""


def _delimited(rows: list[Mapping[str, Any]], dialect: str) -> bytes:
    made = io.StringIO()
    writer = csv.writer(made, dialect)
    writer.writerow(rows[0])
    writer.writerows([str(cell) for cell in row.values()] for row in rows)
    return made.getvalue().encode(errors="surrogatepass")


def _parquet(rows: list[Mapping[str, Any]]) -> bytes:
    columns = {}
    for name in rows[0]:
        cells = [row.get(name) for row in rows]
        try:
            columns[name] = pyarrow.array(cells)
        except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):  # no one type holds them
            columns[name] = pyarrow.array([str(cell).encode(errors="replace").decode() for cell in cells])
    made = io.BytesIO()
    try:
        pyarrow.parquet.write_table(pyarrow.table(columns), made)
    except (pyarrow.ArrowException, ValueError):
        return b"PAR1"
    return made.getvalue()


def _as(ending: str, rows: list[Mapping[str, Any]]) -> bytes:
    if ending == ".parquet":
        return _parquet(rows)
    if ending == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    return _delimited(rows, "excel" if ending == ".csv" else "excel-tab")


@functools.cache
def _sample(name: str) -> bytes:
    """The first file of a data set that the zoo ships."""
    found = locate_first(dataset_card(name).origins)
    assert found is not None
    return (found[1] / next(iter(found[0].splits.values()))).read_bytes()


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    ending = draw(
        st.sampled_from((".csv", ".csv", ".tsv", ".jsonl", ".jsonl", ".parquet", ".parquet", ".json", ".conll"))
    )
    task, columns = TASKS.get(ending, ("classification", COLUMNS))
    by_cells = draw(st.booleans())
    if ending == ".json":
        sound = _sample("smoke_errands")
        content = json.dumps(draw(data_of(json.loads(sound)))).encode() if by_cells else draw(bytes_of(sound))
    elif ending == ".conll":
        sound = _sample("smoke_names")[:3000]
        content = draw((lines_of if by_cells else bytes_of)(sound))
    else:
        rows: list[Any] = [dict(row) for row in ROWS]
        for _ in range(draw(st.integers(1, 3)) if by_cells else 0):
            row = draw(st.integers(0, len(rows) - 1))
            odd = draw(st.sampled_from(ODD if ending == ".parquet" else VALUES))
            which = draw(st.sampled_from(("review", "stars", "both", "all")))
            for name in ("review", "stars"):
                for each in rows if which == "all" else [rows[row]]:
                    if which in (name, "both") or (which == "all" and name == "stars"):
                        each[name] = odd
        content = _as(ending, rows)
        content = content if by_cells else draw(bytes_of(content))
    recipe = RECIPE.format(
        task=task,
        ending=ending,
        columns=columns + draw(st.sampled_from(("",) * 9 + (", encoding: utf-16", ", encoding: latin-1"))),
        on_missing=draw(st.sampled_from(("error", "drop"))),
        backbone=BACKBONE,
    )
    return Case({"deep": draw(st.integers(0, 4)) == 4}, {"own.yaml": recipe.encode(), f"rows{ending}": content})


def _judge(case: Case, folder: Path) -> None:
    case.write(folder)
    # A head of two classes and the length of a batch are the recipe's: rows can make it contradict itself.
    codes = (0, DataError.exit_code, RecipeError.exit_code)
    ends(["check", str(folder / "own.yaml"), *["--deep"] * case.about["deep"]], *codes)
    (rows,) = folder.glob("rows*")
    text = {".json": ("question", "context"), ".conll": "word"}.get(rows.suffix, "review")
    try:
        source = of_file(rows, text, on_missing="keep", worded=rows.suffix == ".conll")
        column_types(rows, source.columns)
        for part in source.parts:
            assert len(part.texts) == len(part.places)
    except DataError as error:
        if str(rows) not in str(error):
            raise AssertionError(f"a fault without its place: {error}") from error


TABLES = Kind(_cases(), _judge)
