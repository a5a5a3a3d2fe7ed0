"""The recipe's `training.schedule`: a class a kind. What is refused is said by kinds.py."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag

from zoo.recipe.kinds import Config, kind_or


class Linear(Config):
    """Warm-up, then a straight line down to zero."""

    type: Literal["linear"] = "linear"
    """Kind of schedule."""
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of all steps over which the rate climbs from zero."""


class Cosine(Config):
    """Warm-up, then half a cosine down to zero."""

    type: Literal["cosine"] = "cosine"
    """Kind of schedule."""
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    """Share of all steps over which the rate climbs from zero."""


class Constant(Config):
    """Warm-up, then the peak rate to the end."""

    type: Literal["constant"] = "constant"
    """Kind of schedule."""
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of all steps over which the rate climbs from zero."""


Schedule = Annotated[
    Annotated[Linear, Tag("linear")] | Annotated[Cosine, Tag("cosine")] | Annotated[Constant, Tag("constant")],
    kind_or("linear"),
]
