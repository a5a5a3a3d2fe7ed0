"""Rows as people see them: one at a time, and those of all splits in a notebook.

In come plain values; out comes HTML in which all text is text. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zoo.recipe import notebook

__all__ = ["Row", "in_notebook"]

MOST_SHOWN, LONGEST_SHOWN = 12, 300
"""Classes that a notebook shows the counts of, and characters of a text."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a split: its id, its text, the second one of a pair, else None, and its label as people have it, a
    class, several, or numbers by name."""

    id: str
    text: str
    pair: str | None
    label: str | list[str] | dict[str, float]


def in_notebook(
    rows: Mapping[str, int],
    counts: Mapping[str, Mapping[str, int]],
    labels: str,
    notes: Sequence[str],
    sample: Sequence[Row],
) -> str:
    """Rows and labels of each split, by its name, what the labels are, notes, and some rows."""
    names = list(next(iter(counts.values()), {}))[:MOST_SHOWN]
    splits = [(split, f"{count:,}", *(f"{counts[split][name]:,}" for name in names)) for split, count in rows.items()]
    cells = [(row.id, row.text[:LONGEST_SHOWN], (row.pair or "")[:LONGEST_SHOWN], row.label) for row in sample]
    return (
        notebook.heading(f"{sum(rows.values()):,} rows", labels)
        + notebook.table(splits, ("split", "rows", *names))
        + "".join(notebook.heading("note", note) for note in notes)
        + notebook.folded("some rows of train", notebook.table(cells, ("row", "text", "second text", "label")))
    )
