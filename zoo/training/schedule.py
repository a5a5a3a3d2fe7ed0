"""The learning rate over the steps.

In come the recipe's schedule, the peak rate and the number of steps; out come the rates, one a step,
as an array: the optimizer on every backend, the history and the plots read the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from zoo.recipe.schedules import Constant, Cosine, Linear

Array = np.ndarray


def learning_rates(schedule: Linear | Cosine | Constant, *, peak: float, steps: int) -> Array:
    """The rates of all steps, [steps] float64.

    They climb over the first `warmup * steps` steps, the first of them already above zero, and the last step of linear
    and cosine is still above zero: no step is taken for nothing.

    Args:
        schedule: its type and the share of warm-up.
        peak: the highest rate.
        steps: optimizer steps of the whole run.
    """
    warm = math.ceil(schedule.warmup * steps)
    climb = peak * np.arange(1, warm + 1) / (warm + 1)
    left = np.arange(steps - warm, 0, -1) / max(1, steps - warm)
    return np.concatenate([climb, peak * FALLS[schedule.type](left)])


def _linear(left: Array) -> Array:
    return left


def _cosine(left: Array) -> Array:
    return 0.5 * (1.0 - np.cos(np.pi * left))


def _constant(left: Array) -> Array:
    return np.ones_like(left)


FALLS: dict[str, Callable[[Array], Array]] = {"linear": _linear, "cosine": _cosine, "constant": _constant}
"""The share of the peak rate by the share of the steps that is left after warm-up, 1 to 0."""
