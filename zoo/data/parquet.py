"""Rows of parquet files, a batch at a time, of all row groups or of those that are wanted.

In comes an open file; out come its rows, as Python's own values. Refused: a file that is cut short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.errors import DataError

Row = tuple[int, Sequence[Any]]
"""Where a row begins, see `tables.place`, and what stands in the columns wanted."""
_BATCH = 4096
"""Rows that are made Python's own at once."""
_BUFFER = 1 << 20
"""Bytes of each column that are read at once."""


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """The file as pyarrow's ParquetFile; what pyarrow finds wrong with it as DataError."""
    import pyarrow
    import pyarrow.parquet

    try:
        # With a buffer it holds a piece of a column in memory, without one all of the column's row group.
        with pyarrow.parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as opened:
            yield opened
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path}: not a whole parquet file ({reason}); it was probably cut short: get it again"
        ) from error


def rows_of(opened: Any, columns: list[str]) -> Iterator[Row]:
    """All rows, by their number from 0."""
    number = 0
    for batch in opened.iter_batches(_BATCH, columns=columns):
        for row in _values(batch, columns):
            yield number, row
            number += 1


def pieces_of(opened: Any, columns: list[str], size: int, wanted: Callable[[int], bool]) -> Iterator[tuple[int, Row]]:
    """The rows of the pieces that are wanted, each with its piece: of `size` rows each, counted from 0. Row groups that
    have none of them are not read."""
    end = 0
    for group in range(opened.num_row_groups):
        number, end = end, end + opened.metadata.row_group(group).num_rows
        if not any(map(wanted, range(number // size, -(-end // size)))):
            continue
        for batch in opened.iter_batches(_BATCH, row_groups=[group], columns=columns):
            while batch.num_rows:
                piece = number // size
                left = (piece + 1) * size - number
                part, batch = batch[:left], batch[left:]
                if wanted(piece):
                    yield from ((piece, row) for row in enumerate(_values(part, columns), number))
                number += part.num_rows


def _values(batch: Any, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
