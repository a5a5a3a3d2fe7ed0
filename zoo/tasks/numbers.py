"""Raw labels to numbers, and numbers for people.

In come the cells of a split as they were read, or classes that the catalog knows the numbers of; out come float64
numbers. Refused: cells that are no finite numbers, and whole numbers that could be class numbers as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.errors import DataError
from zoo.recipe.showing import listed
from zoo.tasks.labels import numbers_of
from zoo.tasks.material import Stated
from zoo.tasks.prediction import Prediction
from zoo.tasks.refused import Where

__all__ = ["NumbersPrediction", "known_values", "number", "numbers_in", "told"]


@dataclass(frozen=True, kw_only=True)
class NumbersPrediction(Prediction):
    """The numbers of one text by name, and on an ordinal scale the levels that they are nearest to."""

    values: dict[str, float]
    levels: dict[str, int] | None = None

    def fields(self) -> dict[str, Any]:
        return {"values": self.values} if self.levels is None else {"levels": self.levels, "values": self.values}

    def cells(self) -> list[tuple[str, Any]]:
        levels = [(f"{name}_level", level) for name, level in (self.levels or {}).items()]
        return [*levels, *self.values.items()]

    def told(self) -> tuple[str, str]:
        if self.levels is None:
            return told(self.values), ""
        return told(self.levels), f"({told(self.values)})"


def numbers_in(split: str, rows: Sequence[Any], stated: Stated, where: Where) -> np.ndarray:
    """The numbers of a split's rows, [rows, names] float64."""
    if stated.values is not None:
        # The classes are known: rows of one split are judged as those of another.
        classes = numbers_of(rows, stated.names or (), stated.numbers, lambda _, odd: where(split, odd))
        of_classes: np.ndarray = np.array(stated.values)[classes][:, None]
        return of_classes
    cells = [row if isinstance(row, tuple) else (row,) for row in rows]
    found = np.array([[number(cell) for cell in row] for row in cells], np.float64)
    odd = np.argwhere(~np.isfinite(found))
    if odd.size:
        told = listed(dict.fromkeys(f"{cells[row][place]!r:.40}" for row, place in odd))
        raise DataError(f"{where(split, np.unique(odd[:, 0]).tolist())}: got {told}, expected finite numbers")
    return found


def number(cell: Any) -> float:
    """A cell as a number; not a number where it is none."""
    if isinstance(cell, bool):
        return float("nan")
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def known_values(labels: Sequence[Any], stated: Stated) -> np.ndarray | None:
    """Numbers that are those of the classes, [rows, 1]; None where they are class numbers or names.

    Raises DataError where all could be either.
    """
    numbers = [number(label) for label in labels]
    are_values = all(number in (stated.values or ()) for number in numbers)
    are_classes = all(number in range(len(stated.values or ())) for number in numbers)
    if are_values and are_classes and stated.values != tuple(range(len(stated.values or ()))):
        raise DataError(
            f"label: {listed(dict.fromkeys(map(str, labels)))} may be class numbers, from 0, or {stated.quantity} "
            f"themselves: write the names of the classes, as {listed(stated.names or (), 3)}"
        )
    return np.array(numbers)[:, None] if are_values else None


def told(numbers: Mapping[str, float]) -> str:
    """Numbers by name, for people; one alone needs no name."""
    if len(numbers) == 1:
        return _short(next(iter(numbers.values())))
    return "  ".join(f"{name} {_short(value)}" for name, value in numbers.items())


def _short(number: float) -> str:
    """Whole numbers and large ones without a fraction, others with four digits."""
    return f"{number:,.0f}" if number == int(number) or abs(number) >= 1000 else f"{number:.4g}"
