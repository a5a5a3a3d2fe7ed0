"""What is shown of entities, true ones and found ones: tables, the picture of their types, texts that are wrong.

In come spans of words by text; out come what a report, a terminal or a page draws. Nothing is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.score import entities
from zoo.score.tagging import Span
from zoo.tasks.by_class import class_table
from zoo.tasks.shown import Column, Picture, Table

__all__ = ["entity_details", "entity_picture", "entity_tables"]

Spans = Sequence[Sequence[Span]]
"""The entities of each text."""


def entity_tables(truth: Spans, found: Spans, most: int) -> list[Table]:
    """Figures by type, and what wrong entities were taken for, each of at most so many rows."""
    tables = [class_table(entities.by_type(truth, found), None, most, "By type of entity, on the test split")]
    pairs = Counter(entities.confused(truth, found)).most_common()
    wrong = [(true, guess, count) for (true, guess), count in pairs if true != guess]
    if wrong:
        titles = Column(title="true", kind="name"), Column(title="predicted", kind="name")
        tables.append(
            Table(
                title="Entities that are wrong",
                columns=(*titles, Column(title="entities", kind="number")),
                rows=tuple(wrong[:most]),
                note=f"{entities.NONE} is no entity of the same words.",
            )
        )
    return tables


def entity_details(truth: Spans, found: Spans) -> dict[str, Any]:
    """All that the tables have, in plain values."""
    pairs = Counter(entities.confused(truth, found)).most_common()
    return {
        "entities": entities.by_type(truth, found),
        "confusion": [{"label": true, "prediction": guess, "entities": count} for (true, guess), count in pairs],
    }


def entity_picture(truth: Spans, found: Spans, kinds: Sequence[str]) -> dict[str, Picture]:
    """The confusion matrix of the types, with a place for what is no entity; none where there is none at all."""
    names = (*kinds, entities.NONE)
    numbers = {name: number for number, name in enumerate(names)}
    pairs = np.array([[numbers[name] for name in pair] for pair in entities.confused(truth, found)], np.int64)
    if not len(pairs):
        return {}
    caption = (
        "Test split: true type of each entity by row, predicted type of the same words by column; "
        f"{entities.NONE}: no entity of the same words"
    )
    arguments = pairs[:, 0], pairs[:, 1], names
    return {"confusion_matrix": Picture(kind="confusion_matrix", arguments=arguments, caption=caption)}
