"""Reads columns of csv, tsv, jsonl, parquet and txt files.

In comes a file and the columns wanted; out comes each column as a list, in the file's order: strings (csv,
tsv, txt), or strings, numbers, booleans and None (jsonl, parquet). Refused, with the line or the byte:
wrong encoding, NUL bytes, ragged rows, unclosed quotes, broken JSON, cut-short parquet, columns that are absent
or stand twice, files without rows, and pickles of any kind.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import DataError

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet", ".txt")
PICKLED = {".npz", ".npy", ".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"}
SHOWN = 5
"""Faults of one kind that are listed; the rest is counted."""
_LONGEST_FIELD = 1 << 28

Columns = dict[str, list[Any]]


def read_columns(path: str | Path, columns: Sequence[str], encoding: str = "utf-8") -> Columns:
    """The wanted columns of a file, all of the same length; a txt file has the single column that is asked for.

    Raises:
        DataError: for everything the module's docstring names; what is found in one reading comes together.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if path.suffix.lower() in PICKLED:
        raise DataError(
            f"{path}: pickled files can run code when they are read; save the rows as csv, jsonl or parquet"
        )
    if reader is None:
        ending = path.suffix or "no ending"
        raise DataError(f"{path}: the format is told by the ending, got {ending}, expected one of {', '.join(ENDINGS)}")
    try:
        if path.is_dir():
            raise DataError(f"{path}: is a folder, expected a file")
        if path.stat().st_size == 0:
            raise DataError(f"{path}: is empty, expected rows")
        table = reader(path, list(dict.fromkeys(columns)), encoding)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file{_neighbours(path)}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    if not next(iter(table.values())):
        raise DataError(f"{path}: has no rows beneath its header, expected at least one")
    return table


def _read_csv(path: Path, columns: list[str], encoding: str) -> Columns:
    return _read_delimited(path, columns, encoding, "excel")


def _read_tsv(path: Path, columns: list[str], encoding: str) -> Columns:
    return _read_delimited(path, columns, encoding, "excel-tab")


def _read_delimited(path: Path, columns: list[str], encoding: str, dialect: str) -> Columns:
    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(_lines(path, encoding, newline=""), dialect, strict=True)
    last = 0
    try:
        header = next(rows, [])
        _check_header(path, header, columns)
        at = [header.index(name) for name in columns]
        table: Columns = {name: [] for name in columns}
        appends = [table[name].append for name in columns]
        width, ragged, faults, last = len(header), 0, [], rows.line_num
        for row in rows:
            last = rows.line_num
            if len(row) != width:
                if row:
                    ragged += 1
                    if ragged <= SHOWN:
                        faults.append(f"{path}:{rows.line_num}: {len(row)} fields, the header has {width}")
                continue
            for append, index in zip(appends, at, strict=True):
                append(row[index])
    except csv.Error as error:
        raise DataError(
            f"{path}:{last + 1}: in the row that begins here a quote is not closed, or stands inside a quoted field "
            f"({error}); double the quotes within quoted fields, or save the rows as jsonl"
        ) from error
    if ragged:
        more = f" ({ragged - SHOWN} more such rows)" if ragged > SHOWN else ""
        raise DataError([*faults[:-1], f"{faults[-1]}{more}; quote the fields that hold the delimiter"])
    return table


def _read_jsonl(path: Path, columns: list[str], encoding: str) -> Columns:
    table: Columns = {name: [] for name in columns}
    seen: dict[str, None] = {}
    faults: list[str] = []
    for number, line in enumerate(_lines(path, encoding), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_constant=_refuse_constant)
        except ValueError as error:
            faults.append(f"{path}:{number}: not JSON ({error}); is the line cut short?")
            row = {}
        else:
            if not isinstance(row, dict):
                faults.append(f"{path}:{number}: got {type(row).__name__}, expected an object with the columns as keys")
                row = {}
        if len(faults) >= SHOWN:
            break
        seen.update(dict.fromkeys(row))
        for name, values in table.items():
            values.append(row.get(name))
    if faults:
        raise DataError(faults)
    if seen:
        _check_header(path, list(seen), columns)
    return table


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON value")


def _read_parquet(path: Path, columns: list[str], encoding: str) -> Columns:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as opened:
            _check_header(path, opened.schema_arrow.names, columns)
            table = opened.read(columns=columns)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{path}: not a whole parquet file ({reason}); it was probably cut short: get it again"
        ) from error
    return {name: table.column(name).to_pylist() for name in columns}


def _read_txt(path: Path, columns: list[str], encoding: str) -> Columns:
    if len(columns) != 1:
        raise DataError(
            f"{path}: a txt file has one text a line, expected columns {', '.join(columns)}: use csv or jsonl"
        )
    return {columns[0]: [line.rstrip("\r\n") for line in _lines(path, encoding)]}


_READERS: dict[str, Callable[[Path, list[str], str], Columns]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".txt": _read_txt,
}


def _lines(path: Path, encoding: str, newline: str | None = None) -> Iterator[str]:
    """The file's lines; a byte order mark is dropped, wrong bytes and NULs are refused with their place."""
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise DataError(
            f"encoding: {encoding!r} is not known to Python, expected e.g. utf-8, latin-1, cp1252"
        ) from error
    with path.open(encoding="utf-8-sig" if name == "utf-8" else encoding, newline=newline) as handle:
        try:
            for number, line in enumerate(handle, 1):
                if "\0" in line:
                    raise DataError(
                        f"{path}:{number}: holds a NUL character; is it UTF-16 or binary? "
                        "Give its `encoding:`, or remove the character"
                    )
                yield line
        except UnicodeError as error:
            raise DataError(
                f"{path}: byte {_bad_byte(path, encoding)} is not {encoding} ({getattr(error, 'reason', error)}); "
                "give the file's own `encoding:`, e.g. latin-1, cp1252 or utf-16"
            ) from error


def _bad_byte(path: Path, encoding: str) -> int:
    """Offset of the first byte that cannot be decoded."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 16):
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return offset - held + error.start
            offset += len(chunk)
    return offset


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    faults = []
    for name in columns:
        if header.count(name) > 1:
            faults.append(
                f"{path}: column {name!r} stands {header.count(name)} times, expected once: rename the others"
            )
        elif name not in header:
            near = difflib.get_close_matches(name, header, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            shown = ", ".join(repr(column) for column in header[:20])
            faults.append(f"{path}: no column {name!r}{hint} The columns are {shown}")
    if faults:
        raise DataError(faults)


def _neighbours(path: Path) -> str:
    """The near names in the same folder, as the end of a sentence."""
    if not path.parent.is_dir():
        return f", nor a folder {path.parent}: check the path"
    near = difflib.get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f" in {path.parent}: check the path"
