"""Which rows are the same.

In come rows as bytes, or splits; out come 128 bits of BLAKE2b of each row, and numbers and masks that these make. Of a
billion rows two that differ have the same bits with a probability of 10^-21: that counts as never. Nothing is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from zoo.data.split import Split

__all__ = ["hashed", "identities", "numbered", "standing_in"]


def hashed(*columns: Iterable[bytes]) -> np.ndarray:
    """128 bits of each row of columns that are equally long, [rows, 2] uint64."""
    found = bytearray()
    for row in zip(*columns, strict=True):
        found += hashlib.blake2b(b"".join(row), digest_size=16).digest()
    return np.frombuffer(found, "<u8").reshape(-1, 2)


def identities(split: Split) -> np.ndarray:
    """Those of a row's texts, [rows, 2] uint64."""
    return hashed(*(column.raw() for column in (split.texts, split.pairs) if column is not None))


def numbered(hashes: np.ndarray) -> np.ndarray:
    """A number for each row of hashes, [rows, 2], the same for those that are the same: [rows] int64, from 0."""
    order = np.lexsort(hashes.T)
    ordered = hashes[order]
    found = np.zeros(len(order), np.int64)
    found[order[1:]] = np.cumsum((ordered[1:] != ordered[:-1]).any(axis=1))
    return found


def standing_in(split: Split, others: Iterable[Split]) -> np.ndarray:
    """Which rows of a split also stand in one of the others, [rows] bool."""
    found = numbered(np.concatenate([identities(each) for each in (split, *others)]))
    return np.isin(found[: len(split)], found[len(split) :])
