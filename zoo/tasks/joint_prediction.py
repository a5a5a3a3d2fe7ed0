"""What a model of several tasks says of a text: the answer of each, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.tasks.prediction import Prediction, Schema, closed

__all__ = ["JointPrediction"]


@dataclass(frozen=True, kw_only=True)
class JointPrediction(Prediction):
    """The answers of all tasks to one text, by the name of the task."""

    answers: Mapping[str, Prediction]

    def fields(self) -> dict[str, Any]:
        return {name: answer.fields() for name, answer in self.answers.items()}

    def schema(self, names: Sequence[str]) -> dict[str, Schema]:
        return {
            name: closed(answer.schema([own.removeprefix(f"{name}.") for own in names if own.startswith(f"{name}.")]))
            for name, answer in self.answers.items()
        }

    def cells(self) -> list[tuple[str, Any]]:
        return [(f"{name}_{key}", value) for name, answer in self.answers.items() for key, value in answer.cells()]

    def told(self) -> tuple[str, str]:
        each = {name: answer.told() for name, answer in self.answers.items()}
        return "; ".join(
            " ".join(filter(None, (name, word, beside.strip()))) for name, (word, beside) in each.items()
        ), ""
