"""The recipe's `training.schedule`: a class a kind. What is refused is said by kinds.py, and a warm-up that is as long
as the run by training_group.py and length.py.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, Tag

from zoo.recipe.kinds import Config, Count, Positive, kind_or

Warmup = Annotated[
    Annotated[float, Field(ge=0.0, lt=1.0)] | Annotated[int, Field(ge=1, le=10**9)],
    Field(json_schema_extra={"x-expected": "a share of all steps, at least 0 and below 1, or a whole number of steps"}),
]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class Warmed(Config):
    """What all schedules have."""

    type: str
    warmup: Warmup = 0.1
    """Over what the rate climbs from zero: a share of all steps below 1, or a whole number of steps."""


class Linear(Warmed):
    """Warm-up, then a straight line down to zero."""

    type: Literal["linear"] = "linear"
    """Kind of schedule."""


class Cosine(Warmed):
    """Warm-up, then half a cosine down to zero."""

    type: Literal["cosine"] = "cosine"
    """Kind of schedule."""


class Constant(Warmed):
    """Warm-up, then the peak rate to the end."""

    type: Literal["constant"] = "constant"
    """Kind of schedule."""
    warmup: Warmup = 0.0
    """Over what the rate climbs from zero: a share of all steps below 1, or a whole number of steps."""


class InverseSqrt(Warmed):
    """Warm-up, then one over the root of the steps (Vaswani et al. 2017, section 5.3): it knows no end of the run."""

    type: Literal["inverse_sqrt"] = "inverse_sqrt"
    """Kind of schedule."""
    timescale: Count | None = None
    """After how many steps more the rate is the peak over the root of 2; None is as many as warm-up has, or 10,000
    without one."""


class Polynomial(Warmed):
    """Warm-up, then down by a power of the share of steps that is left."""

    type: Literal["polynomial"] = "polynomial"
    """Kind of schedule."""
    power: Positive = 2.0
    """The power: 1 is a straight line."""
    end: Share = 0.0
    """Share of the peak rate to which it falls."""


class OneCycle(Warmed):
    """Half a cosine up, then half a cosine down to nearly nothing (Smith and Topin 2018), as torch's OneCycleLR; the
    betas of the optimizer stay as they are."""

    type: Literal["one_cycle"] = "one_cycle"
    """Kind of schedule."""
    warmup: Warmup = 0.3
    """Over what the rate climbs: a share of all steps below 1, or a whole number of steps, the last of them at the
    peak."""
    start: Annotated[float, Field(gt=0.0, le=1.0)] = 0.04
    """Share of the peak rate at the first step."""
    end: Annotated[float, Field(gt=0.0, lt=1.0)] = 4e-6
    """Share of the peak rate at the last step."""


Schedule = Annotated[
    Annotated[Linear, Tag("linear")]
    | Annotated[Cosine, Tag("cosine")]
    | Annotated[Constant, Tag("constant")]
    | Annotated[InverseSqrt, Tag("inverse_sqrt")]
    | Annotated[Polynomial, Tag("polynomial")]
    | Annotated[OneCycle, Tag("one_cycle")],
    kind_or("linear"),
]


def warmup_steps(schedule: Schedule, steps: int) -> int:
    """Steps of warm-up in a run of so many."""
    return schedule.warmup if isinstance(schedule.warmup, int) else math.ceil(schedule.warmup * steps)
