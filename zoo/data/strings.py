"""Strings of many rows, packed: as UTF-8 one after the other, and not an object each.

In come strings, a block at a time; out comes a sequence that gives them back. Nothing is refused: a column that holds
more than strings stays a list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np
import pyarrow
import pyarrow.compute

__all__ = ["BLOCK", "Column", "Strings", "let_go"]
BLOCK = 4096
"""Values that are packed, or unpacked, at once."""


class Strings(Sequence[str]):
    """Strings by row, [rows]; of columns as they were read also None, where a row has nothing.

    A slice is a list; `take` gives packed ones.
    """

    def __init__(self, packed: pyarrow.LargeStringArray) -> None:
        self._packed = packed

    @classmethod
    def of(cls, values: Iterable[str]) -> Strings:
        """Those of strings."""
        if isinstance(values, Strings):
            return values
        column = Column()
        column.extend(values)
        found = column.done()
        return found if isinstance(found, Strings) else cls(pyarrow.array(found, pyarrow.large_string()))

    @classmethod
    def numbered(cls, prefix: str, rows: np.ndarray) -> Strings:
        """A prefix before each number, as in train/123."""
        digits = pyarrow.compute.cast(pyarrow.array(rows), pyarrow.large_string())
        start, none = pyarrow.scalar(prefix, pyarrow.large_string()), pyarrow.scalar("", pyarrow.large_string())
        return cls(pyarrow.compute.binary_join_element_wise(start, digits, none))

    @classmethod
    def joined(cls, parts: Sequence[Strings]) -> Strings:
        """Those of all, one after the other."""
        return cls(pyarrow.concat_arrays([part._packed for part in parts]))

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK):
            yield from self._packed[start : start + BLOCK].to_pylist()

    @overload
    def __getitem__(self, chosen: int) -> str: ...
    @overload
    def __getitem__(self, chosen: slice) -> list[str]: ...
    def __getitem__(self, chosen: int | slice) -> str | list[str]:
        if isinstance(chosen, slice):
            some: list[str] = self._packed[chosen].to_pylist()
            return some
        found: str = self._packed[int(chosen)].as_py()
        return found

    def __eq__(self, other: object) -> bool:
        """Whether the other is as long, and has the same strings, be it a list of them."""
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == theirs for one, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Strings({len(self):,} rows)"

    def take(self, rows: np.ndarray) -> Strings:
        """Those rows, by their numbers, in that order."""
        return type(self)(self._packed.take(pyarrow.array(rows)))

    def raw(self) -> Iterator[bytes]:
        """Each string as its length in bytes, 8 bytes little-endian, and its bytes in UTF-8."""
        binary = self._packed.cast(pyarrow.large_binary())
        for start in range(0, len(self), BLOCK):
            for text in binary[start : start + BLOCK].to_pylist():
                yield len(text).to_bytes(8, "little") + text

    def hash_into(self, digest: hashlib._Hash) -> None:
        """Have a digest take all of them, as `raw` gives them."""
        raw = self.raw()
        while block := b"".join(islice(raw, BLOCK)):
            digest.update(block)


def let_go() -> None:
    """Give the memory of strings that are no more back to the system: Arrow keeps it for others to come."""
    pyarrow.default_memory_pool().release_unused()


class Column:
    """A column that grows by what is read of it: packed, for as long as it holds strings and None alone."""

    def __init__(self) -> None:
        self._waiting, self._blocks = list[Any](), list[Any]()
        self._plain: list[Any] | None = None

    def extend(self, values: Iterable[Any]) -> None:
        """Add the values of further rows."""
        self._waiting.extend(values)
        if len(self._waiting) >= BLOCK:
            self._pack()

    def done(self) -> Strings | list[Any]:
        """The whole column."""
        self._pack()
        if self._plain is not None:
            return self._plain
        blocks, self._blocks = self._blocks, []
        return Strings(pyarrow.concat_arrays(blocks or [pyarrow.array([], pyarrow.large_string())]))

    def _pack(self) -> None:
        values, self._waiting = self._waiting, []
        if self._plain is None and (block := _packed(values)) is not None:
            self._blocks.append(block)
            return
        if self._plain is None:
            self._plain = [value for block in self._blocks for value in block.to_pylist()]
            self._blocks = []
        self._plain += values


def _packed(values: list[Any]) -> pyarrow.LargeStringArray | None:
    """Strings and None as one array; None where others are among them, or half of a character, which is told with its
    row by who looks at texts."""
    if not {*map(type, values)} <= {str, type(None)}:
        return None
    try:
        return pyarrow.array(values, pyarrow.large_string())
    except UnicodeEncodeError:
        return None
