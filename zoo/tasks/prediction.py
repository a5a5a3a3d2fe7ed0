"""What a model says of a text, and of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.recipe import notebook

__all__ = ["Prediction", "Predictions", "Schema", "closed"]

Schema = dict[str, Any]
"""A JSON Schema, in OpenAPI's terms."""

MOST_SHOWN = 20
"""Classes of a prediction, or predictions, that a notebook shows."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of one text; the subclass of a task has its fields."""

    def fields(self) -> dict[str, Any]:
        """As JSON has it."""
        raise NotImplementedError

    def schema(self, names: Sequence[str]) -> dict[str, Schema]:
        """What `fields` has, by its keys, of a task with these names: names, numbers by name, lists of names."""

        def of(value: Any) -> Schema:
            if isinstance(value, dict):
                return closed({name: {"type": "number"} for name in value})
            name = {"type": "string", "enum": list(names)}
            return {"type": "array", "items": name} if isinstance(value, list) else name

        return {key: of(value) for key, value in self.fields().items()}

    def cells(self) -> list[tuple[str, Any]]:
        """As a row of a table, each cell with its column: strings, numbers, or a list of strings."""
        raise NotImplementedError

    def told(self) -> tuple[str, str]:
        """The answer in a word, and a figure beside it, for people."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """In a notebook: the answer, and the likeliest classes where there are some."""
        falling = sorted(self.fields().get("probabilities", {}).items(), key=lambda pair: -pair[1])
        more = notebook.heading("", f"and {len(falling) - MOST_SHOWN:,} others") if len(falling) > MOST_SHOWN else ""
        return notebook.heading(*self.told()) + (notebook.bars(falling[:MOST_SHOWN]) if falling else "") + more


class Predictions(list[Prediction]):
    """Predictions in the order of their texts: a list, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        """In a notebook: the first ones, a row each."""
        rows = [(number, *each.told()) for number, each in enumerate(self[:MOST_SHOWN])]
        left = len(self) - MOST_SHOWN
        return notebook.table(rows, ("", "answer", "")) + (
            notebook.heading("", f"and {left:,} more") if left > 0 else ""
        )


def closed(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """The schema of an object of these keys and no other."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }
