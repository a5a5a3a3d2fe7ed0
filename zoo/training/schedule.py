"""The learning rate over the steps.

In come the recipe's schedule, the peak rate and the number of steps; out come the rates, one a step,
as plain floats: the optimizer on every backend, the history and the plots read the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from zoo.recipe.types import Constant, Cosine, Linear


def learning_rate(schedule: Linear | Cosine | Constant, *, peak: float, steps: int, step: int) -> float:
    """The rate of one step.

    Args:
        schedule: its type and the share of warm-up.
        peak: the highest rate.
        steps: optimizer steps of the whole run.
        step: which step, from 0.

    Returns:
        The rate. It climbs over the first `warmup * steps` steps, the first of them already above zero,
        and the last step of linear and cosine is still above zero: no step is taken for nothing.
    """
    warm = math.ceil(schedule.warmup * steps)
    if step < warm:
        return peak * (step + 1) / (warm + 1)
    left = (steps - step) / max(1, steps - warm)
    return peak * FALLS[schedule.type](max(0.0, min(1.0, left)))


def _linear(left: float) -> float:
    return left


def _cosine(left: float) -> float:
    return 0.5 * (1.0 - math.cos(math.pi * left))


def _constant(left: float) -> float:
    return 1.0


FALLS: dict[str, Callable[[float], float]] = {"linear": _linear, "cosine": _cosine, "constant": _constant}
"""The share of the peak rate by the share of the steps that is left after warm-up, 1 to 0."""


def learning_rates(schedule: Linear | Cosine | Constant, *, peak: float, steps: int) -> list[float]:
    """The rates of all steps, [steps]."""
    return [learning_rate(schedule, peak=peak, steps=steps, step=step) for step in range(steps)]
