"""Precision, recall and F1 of spans: an entity is right where its words and its type are, and nothing else.

In come the tags of texts' words, or their spans; out come figures, by type and together. They are seqeval's (Nakayama
2018), as it is by default; tests/test_entities.py holds them to its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from zoo.score.tagging import Span

__all__ = ["NONE", "by_type", "confused", "micro"]

NONE = "none"
"""What an entity is taken for of which nothing is found in its place."""

Spans = Sequence[Sequence[Span]]
"""The spans of each text."""


def by_type(truth: Spans, found: Spans) -> list[dict[str, Any]]:
    """A row a type, by name: label, precision, recall, f1, rows (true entities), predicted and right."""
    true, predicted, right = (Counter[str]() for _ in range(3))
    for own, guessed in zip(truth, found, strict=True):
        true.update(span.type for span in own)
        predicted.update(span.type for span in guessed)
        right.update(span.type for span in {*own} & {*guessed})
    return [
        {"label": kind, **_shares(right[kind], predicted[kind], true[kind])} for kind in sorted({*true, *predicted})
    ]


def micro(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """precision, recall and f1 of all entities together, and their macro F1, from the rows of `by_type`.

    A share of nothing is 0.
    """
    found = _shares(*(sum(row[key] for row in rows) for key in ("right", "predicted", "rows")))
    macro = sum(row["f1"] for row in rows) / len(rows) if rows else 0.0
    return {name: found[name] for name in ("precision", "recall", "f1")} | {"macro_f1": macro}


def confused(truth: Spans, found: Spans) -> list[tuple[str, str]]:
    """The true and the predicted type of each entity, with NONE where there is none of the same words."""
    pairs: list[tuple[str, str]] = []
    for own, guessed in zip(truth, found, strict=True):
        places = {span[:2]: span.type for span in guessed}
        pairs += [(span.type, places.pop(span[:2], NONE)) for span in own]
        pairs += [(NONE, kind) for kind in places.values()]
    return pairs


def _shares(right: int, predicted: int, true: int) -> dict[str, Any]:
    return {
        "precision": right / predicted if predicted else 0.0,
        "recall": right / true if true else 0.0,
        "f1": 2 * right / (predicted + true) if predicted + true else 0.0,
        "rows": true,
        "predicted": predicted,
        "right": right,
    }
