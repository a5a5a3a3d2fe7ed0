"""Arrays of rows that are not equally long: of the words of texts, for instance.

In come the items of all rows, one after the other, and where each row begins; out come rows. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, overload

import numpy as np
from numpy.typing import DTypeLike


@dataclass(frozen=True, kw_only=True, eq=False)
class Ragged:
    """Rows of items.

    flat: [items, ...], row after row.
    offsets: [rows + 1] int64; row i is flat[offsets[i]:offsets[i + 1]].
    """

    flat: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any] | np.ndarray], dtype: DTypeLike, *, item: tuple[int, ...] = ()) -> Self:
        """From rows, each a sequence of items of the shape `item`."""
        arrays = [np.asarray(row, dtype).reshape(-1, *item) for row in rows]
        offsets = np.concatenate([[0], np.cumsum([len(array) for array in arrays], dtype=np.int64)])
        flat = np.concatenate(arrays) if arrays else np.zeros((0, *item), dtype)
        return cls(flat=flat, offsets=offsets.astype(np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    @overload
    def __getitem__(self, chosen: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, chosen: np.ndarray | Sequence[int]) -> Self: ...
    def __getitem__(self, chosen: int | np.ndarray | Sequence[int]) -> np.ndarray | Self:
        """The items of a row, or the rows of a mask, in their order, or of row numbers, in theirs."""
        if isinstance(chosen, int | np.integer):
            if not 0 <= chosen < len(self):
                raise IndexError(f"row {chosen} of {len(self)}")
            return self.flat[self.offsets[chosen] : self.offsets[chosen + 1]]
        rows = np.asarray(chosen)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return type(self)(flat=self.flat[places], offsets=offsets)

    @property
    def lengths(self) -> np.ndarray:
        """Items a row, [rows] int64."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> np.ndarray:
        """The row of each item, [items] int64."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def filled(self, flat: np.ndarray) -> Ragged:
        """Rows of the same lengths with other items, [items, ...]."""
        return Ragged(flat=flat, offsets=self.offsets)

    def tobytes(self) -> bytes:
        """All that makes it what it is, in the byte order of little-endian machines."""
        return b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in (self.lengths, self.flat))
