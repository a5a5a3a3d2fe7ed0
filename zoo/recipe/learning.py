"""What a recipe's `training` says of loss and rows: which loss, by how much a class counts, how often it is drawn.

What is refused is said by kinds.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from zoo.recipe.kinds import Config, Positive, Text, kind_or

__all__ = ["ClassWeights", "Focal", "LabelSmoothing", "Loss", "Resample"]


def _form(weights: Any) -> str:
    return "by class" if isinstance(weights, Mapping) else "balanced"


ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("balanced")]
    | Annotated[dict[Text, Positive], Field(min_length=1), Tag("by class")],
    Discriminator(_form),
]


class LabelSmoothing(Config):
    """Cross-entropy to softened targets: a share of each is spread over all classes (Szegedy et al. 2016)."""

    type: Literal["label_smoothing"] = "label_smoothing"
    """Kind of loss."""
    smoothing: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """The share, above 0 and below 1."""


class Focal(Config):
    """Cross-entropy in which what the model is sure of counts less (Lin et al. 2017)."""

    type: Literal["focal"] = "focal"
    """Kind of loss."""
    gamma: Annotated[float, Field(gt=0.0, le=20.0)] = 2.0
    """Power of what the true class lacks in probability, by which the cross-entropy is multiplied."""


Loss = Annotated[
    Annotated[LabelSmoothing, Tag("label_smoothing")] | Annotated[Focal, Tag("focal")], kind_or("label_smoothing")
]


class Resample(Config):
    """How many rows of each class an epoch has, in place of every row once."""

    type: Literal["over", "under"] = "over"
    """`over` has rows of small classes come several times, as often as those of the largest one; `under` has large
    classes come with as many rows as the smallest, with others in each epoch, until all have come."""
    temperature: Annotated[float, Field(ge=1.0, le=1000.0, allow_inf_nan=False)] | None = None
    """Which root of their size classes are drawn in proportion to: 1 leaves them as they are, and the larger it is, the
    nearer they come to each other; None is all alike."""
