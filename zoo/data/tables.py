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
import stat
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from zoo.errors import DataError
from zoo.recipe.data_group import is_text_encoding

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
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            kind = "folder" if stat.S_ISDIR(found.st_mode) else "pipe or a device"
            raise DataError(f"{path}: is a {kind}, expected a file: write the rows to one")
        if found.st_size == 0:
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
    last = 0
    try:
        with closing(_lines(path, encoding, newline="")) as lines:
            rows = csv.reader(lines, dialect, strict=True)
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
    with closing(_lines(path, encoding)) as lines:
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
                row = {}
            else:
                if not isinstance(row, dict):
                    faults.append(
                        f"{path}:{number}: got {type(row).__name__}, expected an object with the columns as keys"
                    )
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
        return {name: table.column(name).to_pylist() for name in columns}
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path}: not a whole parquet file ({reason}); it was probably cut short: get it again"
        ) from error


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


def _lines(path: Path, encoding: str, newline: str | None = None) -> Generator[str, None, None]:
    """The file's lines; a byte order mark is dropped, wrong bytes and NULs are refused with their place."""
    if not is_text_encoding(encoding):
        raise DataError(f"encoding: {encoding!r} is no text encoding of Python's, expected e.g. utf-8, latin-1, cp1252")
    name = codecs.lookup(encoding).name
    with path.open(encoding="utf-8-sig" if name == "utf-8" else encoding, newline=newline) as handle:
        try:
            for number, line in enumerate(handle, 1):
                if "\0" in line:
                    raise DataError(
                        f"{path}:{number}: holds a NUL character; is it UTF-16 or binary? Give its `encoding:`, "
                        f"e.g. {_likely_encodings(path)}, or remove the character"
                    )
                yield line
        except UnicodeError as error:
            raise DataError(
                f"{path}: byte {_bad_byte(path, encoding)} is not {encoding} ({getattr(error, 'reason', error)}); "
                f"give the file's own `encoding:`, e.g. {_likely_encodings(path)}"
            ) from error


def _likely_encodings(path: Path) -> str:
    """What to try instead, by how the file begins: UTF-16 without a byte order mark has to be named by its order."""
    with path.open("rb") as handle:
        first = handle.read(4)
    if first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if b"\0" in first:
        return "utf-16-le or utf-16-be" if first[1:2] == b"\0" else "utf-16-be or utf-16-le"
    return "latin-1 or cp1252"


def _bad_byte(path: Path, encoding: str) -> int:
    """Offset of the first byte that cannot be decoded; 0 where the codec does not tell."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 16):
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return offset - held + error.start
            except UnicodeError:
                return 0
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
