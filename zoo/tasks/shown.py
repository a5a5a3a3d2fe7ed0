"""What a task gives to those who show it: tables, pictures to draw and mistakes, in plain values.

How they look is the business of the report, of a terminal or of a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zoo.recipe.notebook import Mark
from zoo.score import digits

__all__ = ["MOST_CLASSES", "Column", "Kind", "Mistake", "Mistakes", "Picture", "Table", "figure"]

MOST_CLASSES = 40
"""In one picture."""
Kind = Literal["name", "share", "number", "amount"]


def figure(kind: Kind, value: float, rows: int | None) -> str:
    """A share, a number or an amount for people, with the digits that so many rows carry."""
    shown = {"share": digits.percent, "amount": digits.amount}.get(kind, digits.number)
    return shown(value, rows)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table: its title, and what stands in it: a name, a share of 1, another number, or an
    amount in a unit of its own.

    rows: the title of the column that says of how many rows it is; None where no column does.
    """

    title: str
    kind: Kind
    rows: str | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows with a value a column, None where there is none; the note says what is left out."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""

    def cells(self, row: Sequence[Any], rows: int | None) -> list[str | None]:
        """A row's values for people; `rows` is how many those are of that no column says."""
        of: dict[Any, Any] = dict(zip((column.title for column in self.columns), row, strict=True))
        return [
            value if value is None or column.kind == "name" else figure(column.kind, value, of.get(column.rows, rows))
            for column, value in zip(self.columns, row, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What to draw: the kind names a function of the report's plots, and arguments are what it takes."""

    kind: Literal[
        "confusion_matrix",
        "precision_recall",
        "roc",
        "reliability",
        "labels",
        "predicted_by_true",
        "residuals",
        "histogram",
    ]
    arguments: tuple[Any, ...]
    caption: str


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A row that is wrong: its number, its label, what was predicted, and how wrong or how sure that was.

    marks: what of its text, of a pair the second one, label and prediction speak of; None where they speak of all of
    it.
    """

    row: int
    label: str
    prediction: str
    figure: str
    marks: tuple[tuple[Mark, ...], tuple[Mark, ...]] | None = None


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The worst rows: figure is the title of theirs; wrong: how many, None where all are more or less."""

    note: str
    figure: str
    wrong: int | None
    worst: tuple[Mistake, ...]
