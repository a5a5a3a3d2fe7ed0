"""What a recipe's `training` says of losses: by how much a class counts. What is refused is said by kinds.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from zoo.recipe.kinds import Positive, Text

__all__ = ["ClassWeights"]


def _form(weights: Any) -> str:
    return "by class" if isinstance(weights, Mapping) else "balanced"


ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("balanced")]
    | Annotated[dict[Text, Positive], Field(min_length=1), Tag("by class")],
    Discriminator(_form),
]
