"""What is shown of words and of their entities: tables, the picture of the types, texts that are wrong.

In come tags or spans of words by text; out come what a report, a terminal or a page draws. Nothing is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zoo.score import entities
from zoo.score.ragged import Ragged
from zoo.score.tagging import Span, spans
from zoo.tasks.by_class import class_table
from zoo.tasks.shown import Column, Mistake, Mistakes, Picture, Table
from zoo.tasks.tagged import Tagged, marks

__all__ = ["entity_details", "entity_picture", "entity_tables", "wrong_texts"]

Spans = Sequence[Sequence[Span]]
"""The entities of each text."""


def entity_tables(truth: Spans, found: Spans, most: int) -> list[Table]:
    """Figures by type, and what wrong entities were taken for, each of at most so many rows."""
    tables = [class_table(entities.by_type(truth, found), None, most, "By type of entity")]
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


def wrong_texts(
    truth: Ragged,
    found: Ragged,
    values: Tagged,
    label: Callable[[np.ndarray], list[str]],
    kinds: Sequence[str],
    most: int,
) -> Mistakes:
    """The texts with a wrong tag of which the model was surest.

    Args:
        truth, found: class numbers of words.
        values: of the texts.
        label: the tags that class numbers stand for.
        kinds: types of entities; none where tags are classes by themselves.
        most: texts.
    """
    wrong = found.flat != truth.flat
    surest = np.zeros(len(truth))
    np.maximum.at(surest, truth.owners, np.where(wrong, values.probabilities.flat.max(axis=1, initial=0.0), 0.0))
    texts = np.flatnonzero(np.bincount(truth.owners, wrong, minlength=len(truth)))
    worst = texts[np.argsort(-surest[texts], kind="stable")][:most]

    def told(tags: list[str]) -> str:
        return ", ".join(span.type for span in spans(tags)) or "none" if kinds else " ".join(tags)

    def mistake(row: int) -> Mistake:
        own, guessed, places = label(truth[row]), label(found[row]), values.words[row]
        marked = marks(spans(own), places, kinds), marks(spans(guessed), places, kinds)
        return Mistake(
            row=row,
            label=told(own),
            prediction=told(guessed),
            figure=f"{surest[row]:.1%}",
            marks=marked if kinds else None,
        )

    return Mistakes(
        note=f"The {len(worst)} of {len(texts):,} test texts with a wrong tag the model was surest of: a look here "
        "often finds wrong labels.",
        figure="sure to",
        wrong=len(texts),
        worst=tuple(map(mistake, worst.tolist())),
    )
