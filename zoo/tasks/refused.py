"""Labels that are refused: where their rows stand, and those of all splits together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from zoo.errors import DataError
from zoo.recipe.showing import listed

__all__ = ["Where", "by_number", "each_split"]

Made = TypeVar("Made")
Where = Callable[[str, Sequence[int]], str]
"""A split and numbers of its rows, from 0 -> how people find these rows: what a fault begins with."""


def by_number(split: str, rows: Sequence[int]) -> str:
    """Where rows are that stand in no file."""
    return f"{split}: rows {listed(rows)}, counted from 0"


def each_split(labels: Mapping[str, Sequence[Any]], read: Callable[[str, Sequence[Any]], Made]) -> dict[str, Made]:
    """What `read` makes of each split's labels; raises DataError with the faults of all."""
    found, faults = dict[str, Made](), list[str]()
    for split, rows in labels.items():
        try:
            found[split] = read(split, rows)
        except DataError as error:
            faults += error.faults
    if faults:
        raise DataError(faults)
    return found
