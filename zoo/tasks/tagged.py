"""What a model says of the words of texts: a probability of each tag, and the entities that the likeliest tags make.

In come probabilities and the places of words; out come tags, entities and what is answered. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.recipe import notebook
from zoo.recipe.notebook import Mark
from zoo.score.ragged import Ragged
from zoo.score.tagging import Span, spans
from zoo.tasks.prediction import Prediction, Schema, closed

__all__ = ["Entity", "Tagged", "WordsPrediction", "entities_of", "marks"]

LONGEST = 60
"""Characters of what people are told in a line."""


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """Values of texts, by word.

    probabilities: [words, names] float64 of each text. seen: [words] bool, whether the model saw a token of it; a word
    that it did not see is outside. words: first and one past the last character of each, [words, 2] int32. texts: where
    they are known.
    """

    probabilities: Ragged
    seen: Ragged
    words: Ragged
    texts: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, chosen: np.ndarray) -> Tagged:
        """The texts of a mask, in their order, or of row numbers, in theirs."""
        rows = (np.flatnonzero(chosen) if chosen.dtype == bool else chosen).tolist()
        return Tagged(
            probabilities=self.probabilities[chosen],
            seen=self.seen[chosen],
            words=self.words[chosen],
            texts=None if self.texts is None else [self.texts[row] for row in rows],
        )


@dataclass(frozen=True, kw_only=True)
class Entity:
    """Characters [start, end) of a text, what stands there, what it is, and the mean probability of its words' tags."""

    start: int
    end: int
    text: str
    label: str
    score: float

    def fields(self) -> dict[str, Any]:
        return {
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "label": self.label,
            "score": round(self.score, 6),
        }


@dataclass(frozen=True, kw_only=True)
class WordsPrediction(Prediction):
    """The tags of a text's words, each with its probability, and the entities that they make.

    kinds: all types of entities that there are; none where tags are classes by themselves.
    """

    text: str
    words: tuple[str, ...]
    tags: tuple[str, ...]
    scores: tuple[float, ...]
    entities: tuple[Entity, ...]
    kinds: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        entities = {"entities": [entity.fields() for entity in self.entities]} if self.kinds else {}
        scores = [round(score, 6) for score in self.scores]
        return {**entities, "words": list(self.words), "tags": list(self.tags), "scores": scores}

    def schema(self, names: Sequence[str]) -> dict[str, Schema]:
        place: Schema = {"type": "integer", "minimum": 0}
        text: Schema = {"type": "string"}
        score: Schema = {"type": "number"}
        kind: Schema = {"type": "string", "enum": list(self.kinds)}
        entity = closed({"start": place, "end": place, "text": text, "label": kind, "score": score})
        fields = {"words": text, "tags": {"type": "string", "enum": list(names)}, "scores": score}
        found = {"entities": entity, **fields} if self.kinds else fields
        return {key: {"type": "array", "items": items} for key, items in found.items()}

    def cells(self) -> list[tuple[str, Any]]:
        entities = [f"{entity.label} {entity.text}" for entity in self.entities]
        found = [("entities", entities)] if self.kinds else []
        return [*found, ("words", list(self.words)), ("tags", list(self.tags))]

    def told(self) -> tuple[str, str]:
        if not self.kinds:
            told = " ".join(f"{word}/{tag}" for word, tag in zip(self.words, self.tags, strict=True))
            return _short(told), f"{min(self.scores, default=1.0):.0%}"
        told = ", ".join(f"{entity.label} {entity.text}" for entity in self.entities)
        return _short(told or "none"), f"{min((entity.score for entity in self.entities), default=1.0):.0%}".rjust(4)

    def _repr_html_(self) -> str:
        """In a notebook: the text with its entities coloured, or a table of words and tags."""
        if not self.kinds:
            rows = zip(self.words, self.tags, (f"{score:.1%}" for score in self.scores), strict=True)
            return notebook.table(rows, ("word", "tag", ""))
        return f"<p>{notebook.marked(self.text, marks_of(self.entities, self.kinds))}</p>"


def entities_of(tags: Sequence[str], scores: np.ndarray, places: np.ndarray, text: str | None) -> tuple[Entity, ...]:
    """The entities of a text; places are those of its words, [words, 2]."""
    found = []
    for span in spans(tags):
        start, end = int(places[span.start, 0]), int(places[span.end - 1, 1])
        score = float(scores[span.start : span.end].mean())
        found.append(
            Entity(start=start, end=end, text=text[start:end] if text is not None else "", label=span.type, score=score)
        )
    return tuple(found)


def marks_of(entities: Sequence[Entity], kinds: Sequence[str]) -> tuple[Mark, ...]:
    """What of a text is to be coloured, each type in its own colour."""
    return tuple(Mark(each.start, each.end, each.label, kinds.index(each.label)) for each in entities)


def marks(found: Sequence[Span], places: np.ndarray, kinds: Sequence[str]) -> tuple[Mark, ...]:
    """Likewise from spans of words; places are those of the words, [words, 2]."""
    return tuple(
        Mark(int(places[span.start, 0]), int(places[span.end - 1, 1]), span.type, kinds.index(span.type))
        for span in found
    )


def _short(told: str) -> str:
    return told if len(told) <= LONGEST else f"{told[: LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
