"""Reads columns of csv, tsv, jsonl, parquet, conll, conllu and txt files, and of json files in SQuAD's layout.

In comes a file and the columns wanted; out come its rows one by one, or each column as a sequence, in the file's order:
strings (csv, tsv, txt), a string a word (conll, conllu), or strings, numbers, booleans, lists, objects and None (jsonl,
parquet, json). Refused, with the line or the byte: wrong encoding, NUL bytes, ragged rows, unclosed quotes, broken
JSON, another layout than SQuAD's, cut-short parquet, columns that are absent or stand twice, files without rows, and
pickles of any kind.
"""

from __future__ import annotations

import csv
import difflib
import json
import stat
from array import array
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from zoo.data import conll, squad
from zoo.data.lines import lines_of
from zoo.data.parquet import Row, open_parquet, pieces_of, rows_of
from zoo.data.strings import BLOCK, Column
from zoo.errors import DataError

ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".conll", ".conllu", ".txt")
PICKLED = {".npz", ".npy", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"}
SHOWN = 5
"""Faults of one kind that are listed, and rows that one names; the rest is counted."""
_LONGEST_FIELD = 1 << 28

Columns = dict[str, Sequence[Any]]


def read_table(path: str | Path, columns: Sequence[str], encoding: str = "utf-8") -> tuple[Columns, Sequence[int]]:
    """The wanted columns of a file, all of the same length, and where each row begins, see `place`.

    A column is a `Strings` where it holds strings and None alone, else a list.

    Raises:
        DataError: as `read_rows`.
    """
    table = {name: Column() for name in columns}
    numbers, found = array("q"), read_rows(path, list(table), encoding)
    while block := list(islice(found, BLOCK)):
        numbers.extend(number for number, _ in block)
        for column, values in zip(table.values(), zip(*(row for _, row in block), strict=True), strict=True):
            column.extend(values)
    return {name: column.done() for name, column in table.items()}, numbers


def read_rows(path: str | Path, columns: Sequence[str], encoding: str = "utf-8") -> Iterator[Row]:
    """The rows of a file, as they are read; a txt file has the single column that is asked for.

    Raises:
        DataError: for everything the module's docstring names. What is wrong with single rows is told together, when
            the others have been read.
    """
    path = Path(path)
    rows = 0
    with closing(_opened(path, lambda reader: reader.rows(path, list(columns), encoding))) as found:
        for row in found:
            rows += 1
            yield row
    if not rows:
        raise DataError(f"{path}: has no rows beneath its header, expected at least one")


def read_pieces(
    path: str | Path, columns: Sequence[str], size: int, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, Row]]:
    """The rows of those pieces of a file that are wanted, each with its piece: of `size` rows each, counted from 0.

    Of a parquet file no row group is read that has none of them. Raises DataError as `read_rows`.
    """
    path = Path(path)
    if path.suffix.lower() == ".parquet":
        yield from _opened(path, lambda _: _parquet_pieces(path, list(columns), size, wanted))
        return
    for index, row in enumerate(read_rows(path, columns)):
        if wanted(index // size):
            yield index // size, row


def column_names(path: str | Path, encoding: str = "utf-8") -> list[str]:
    """All columns of a file, in its order; of a jsonl file, which is read for that, the keys of all its rows; of a txt
    file none, as it has no names.

    Raises:
        DataError: as `read_rows`.
    """
    path = Path(path)
    return list(_opened(path, lambda reader: reader.names(path, encoding)))


def column_types(path: str | Path, columns: Sequence[str], encoding: str = "utf-8") -> dict[str, Any]:
    """The pyarrow type of each column: a parquet file's own; of jsonl and json, read for that, what holds all of its
    values, a string of JSON where they are of several kinds, lists or objects; else string.

    Raises:
        DataError: as `read_rows`.
    """
    import pyarrow

    path, ending = Path(path), Path(path).suffix.lower()
    if ending == ".parquet":
        with open_parquet(path) as opened:
            return {name: opened.schema_arrow.field(name).type for name in columns}
    types = dict.fromkeys(columns, pyarrow.string())
    if ending in (".jsonl", ".json"):
        kinds: dict[str, set[type]] = {name: set() for name in columns}
        for _, row in read_rows(path, columns, encoding):
            for name, value in zip(columns, row, strict=True):
                large = isinstance(value, int) and not -(1 << 63) <= value < 1 << 63
                kinds[name].add(str if large else type(value))
        simple = {bool: pyarrow.bool_(), int: pyarrow.int64(), float: pyarrow.float64()}
        for name, found in kinds.items():
            only = found - {type(None)}
            kind = float if only == {int, float} else next(iter(only)) if len(only) == 1 else str
            types[name] = simple.get(kind, pyarrow.string())
    return types


def place(path: str | Path, *numbers: int) -> str:
    """How people find rows in a file: by its lines from 1, or in parquet and json, where they have none, from 0."""
    several = len(numbers) > 1
    listed = ", ".join(map(str, numbers))
    counted = {".parquet": "row", ".json": "question"}.get(Path(path).suffix.lower())
    if counted is not None:
        return f"{counted}{'s' * several} {listed}, counted from 0"
    return f"line{'s' * several} {listed}"


def places(path: Path, lines: Sequence[int], count: int | None = None) -> str:
    """How people find rows that begin in these lines: the first ones, and how many more there are.

    `count` is how many there are in all, where `lines` are only the first.
    """
    more = (len(lines) if count is None else count) - SHOWN
    return place(path, *lines[:SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _opened(path: Path, read: Callable[[_Reader], Iterator[Any]]) -> Generator[Any, None, None]:
    """What is read of a file, with what the operating system refuses as DataError."""
    reader = _READERS.get(path.suffix.lower())
    if path.suffix.lower() in PICKLED:
        raise DataError(
            f"{path}: pickled files can run code when they are read; save the rows as csv, jsonl or parquet"
        )
    if reader is None:
        ending = path.suffix or "no ending"
        raise DataError(f"{path}: the format is told by the ending, got {ending}, expected one of {', '.join(ENDINGS)}")
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "folder" if stat.S_ISDIR(found.st_mode) else "pipe or a device"
            raise DataError(f"{path}: is a {kind}, expected a file: write the rows to one")
        if found.st_size == 0:
            raise DataError(f"{path}: is empty, expected rows")
        yield from read(reader)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file{_neighbours(path)}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """A format: the rows of a file in the columns asked for, and the names of all its columns."""

    rows: Callable[[Path, list[str], str], Generator[Row, None, None]]
    names: Callable[[Path, str], Iterator[str]]


def _delimited(dialect: str) -> _Reader:
    def rows(path: Path, columns: list[str], encoding: str) -> Generator[Row, None, None]:
        csv.field_size_limit(_LONGEST_FIELD)
        last = 0
        try:
            with closing(lines_of(path, encoding, newline="")) as lines:
                reader = csv.reader(lines, dialect, strict=True)
                header = next(reader, [])
                _check_header(path, header, columns)
                at = [header.index(name) for name in columns]
                width, ragged, faults, last = len(header), 0, [], reader.line_num
                for row in reader:
                    if len(row) == width:
                        yield last + 1, [row[index] for index in at]
                    elif row:
                        ragged += 1
                        if ragged <= SHOWN:
                            faults.append(f"{path}:{reader.line_num}: {len(row)} fields, the header has {width}")
                    last = reader.line_num
        except csv.Error as error:
            raise _unclosed(path, last + 1, error) from error
        if ragged:
            more = f" ({ragged - SHOWN} more such rows)" if ragged > SHOWN else ""
            raise DataError([*faults[:-1], f"{faults[-1]}{more}; quote the fields that hold the delimiter"])

    def names(path: Path, encoding: str) -> Iterator[str]:
        try:
            with closing(lines_of(path, encoding, newline="")) as lines:
                yield from next(csv.reader(lines, dialect, strict=True), [])
        except csv.Error as error:
            raise _unclosed(path, 1, error) from error

    return _Reader(rows=rows, names=names)


def _unclosed(path: Path, line: int, error: csv.Error) -> DataError:
    return DataError(
        f"{path}:{line}: in the row that begins here a quote is not closed, or stands inside a quoted field ({error}); "
        "double the quotes within quoted fields, or save the rows as jsonl"
    )


def _jsonl_rows(path: Path, columns: list[str], encoding: str) -> Generator[Row, None, None]:
    seen: dict[str, None] = {}
    for number, row in _objects(path, encoding):
        seen.update(dict.fromkeys(row))
        yield number, [row.get(name) for name in columns]
    if seen:
        _check_header(path, list(seen), columns)


def _jsonl_names(path: Path, encoding: str) -> Iterator[str]:
    seen: dict[str, None] = {}
    for _, row in _objects(path, encoding):
        seen.update(dict.fromkeys(row))
    yield from seen


def _objects(path: Path, encoding: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a jsonl file, each with its line."""
    faults: list[str] = []
    with closing(lines_of(path, encoding)) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                deep = isinstance(error, RecursionError)
                faults.append(
                    f"{path}:{number}: not JSON ({'nested too deep' if deep else error}); is the line cut short?"
                )
            else:
                if isinstance(row, dict):
                    yield number, row
                else:
                    faults.append(
                        f"{path}:{number}: got {type(row).__name__}, expected an object with the columns as keys"
                    )
            if len(faults) >= SHOWN:
                break
    if faults:
        raise DataError(faults)


def _squad_rows(path: Path, columns: list[str], encoding: str) -> Generator[Row, None, None]:
    _check_header(path, squad.COLUMNS, columns)
    try:
        document = json.loads("".join(lines_of(path, encoding)), parse_constant=_refuse_constant)
        for number, row in enumerate(squad.questions(document)):
            yield number, [row[name] for name in columns]
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{error.lineno}: not JSON ({error}); is the file cut short? Rows of a line each are jsonl"
        ) from error
    except RecursionError as error:
        raise DataError(f"{path}: nested too deep, expected SQuAD's layout") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON value")


def _parquet_rows(path: Path, columns: list[str], encoding: str) -> Generator[Row, None, None]:
    with open_parquet(path) as opened:
        _check_header(path, opened.schema_arrow.names, columns)
        yield from rows_of(opened, columns)


def _parquet_pieces(
    path: Path, columns: list[str], size: int, wanted: Callable[[int], bool]
) -> Generator[tuple[int, Row], None, None]:
    with open_parquet(path) as opened:
        _check_header(path, opened.schema_arrow.names, columns)
        yield from pieces_of(opened, columns, size, wanted)


def _parquet_names(path: Path, encoding: str) -> Iterator[str]:
    with open_parquet(path) as opened:
        yield from opened.schema_arrow.names


def _conll_rows(path: Path, columns: list[str], encoding: str) -> Generator[Row, None, None]:
    with closing(lines_of(path, encoding)) as lines:
        for number, values in conll.sentences(path, lines):
            at = [conll.column_of(path, name, len(values)) for name in columns]
            unknown = [name for name, place in zip(columns, at, strict=True) if place is None]
            _check_header(path, conll.names_of(path, len(values)), unknown)
            yield number, [values[place] for place in at if place is not None]


def _conll_names(path: Path, encoding: str) -> Iterator[str]:
    with closing(lines_of(path, encoding)) as lines, closing(conll.sentences(path, lines)) as found:
        for _, values in found:
            yield from conll.names_of(path, len(values))
            return


def _txt_rows(path: Path, columns: list[str], encoding: str) -> Generator[Row, None, None]:
    if len(columns) != 1:
        raise DataError(
            f"{path}: a txt file has one text a line, expected columns {', '.join(columns)}: use csv or jsonl"
        )
    for number, line in enumerate(lines_of(path, encoding), 1):
        yield number, [line.rstrip("\r\n")]


_READERS = {
    ".csv": _delimited("excel"),
    ".tsv": _delimited("excel-tab"),
    ".jsonl": _Reader(rows=_jsonl_rows, names=_jsonl_names),
    ".json": _Reader(rows=_squad_rows, names=lambda path, encoding: iter(squad.COLUMNS)),
    ".parquet": _Reader(rows=_parquet_rows, names=_parquet_names),
    ".conll": _Reader(rows=_conll_rows, names=_conll_names),
    ".conllu": _Reader(rows=_conll_rows, names=_conll_names),
    ".txt": _Reader(rows=_txt_rows, names=lambda path, encoding: iter(())),
}


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    faults = []
    for name in columns:
        if header.count(name) > 1:
            faults.append(
                f"{path}: column {name!r} stands {header.count(name)} times, expected once: rename the others"
            )
        elif name not in header:
            near = difflib.get_close_matches(name, header, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            shown = ", ".join(repr(column) for column in header[:20])
            faults.append(
                f"{path}: no column {name!r}, expected one of {shown}{hint}: name yours by --text-column or "
                "--label-column, in a recipe by data.files"
            )
    if faults:
        raise DataError(faults)


def _neighbours(path: Path) -> str:
    """The near names in the same folder, as the end of a sentence."""
    if not path.parent.is_dir():
        return f", nor a folder {path.parent}: check the path"
    try:
        others = [other.name for other in path.parent.iterdir()]
    except PermissionError:
        others = []
    near = difflib.get_close_matches(path.name, others, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f" in {path.parent}: check the path"
