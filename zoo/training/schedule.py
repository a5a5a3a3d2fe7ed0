"""The learning rate over the steps.

In come the recipe's schedule, the peak rate and the number of steps; out come the rates, one a step of the optimizer,
as an array: the optimizer on every backend, the history and the plots read the same numbers.
"""

from __future__ import annotations

import numpy as np

from zoo.recipe.schedules import Constant, Cosine, InverseSqrt, OneCycle, Polynomial, Schedule, warmup_steps

Array = np.ndarray

TIMESCALE = 10_000
"""Steps of the inverse square root without a warm-up, as transformers has it."""


def learning_rates(schedule: Schedule, *, peak: float, steps: int) -> Array:
    """The rates of all steps, [steps] float64.

    They climb over the steps of warm-up, the first of them already above zero, and from there they are those of
    transformers' get_*_schedule functions, whose first step of warm-up has the rate zero; the last step of those that
    fall to zero is still above it: no step is taken for nothing. One cycle is torch's OneCycleLR.

    Args:
        schedule: its type and its numbers.
        peak: the highest rate.
        steps: optimizer steps of the whole run, more than those of warm-up.
    """
    if isinstance(schedule, OneCycle):
        return peak * _one_cycle(schedule, steps)
    warm = warmup_steps(schedule, steps)
    climb = peak * np.arange(1, warm + 1) / (warm + 1)
    left = np.arange(steps - warm, 0, -1) / max(1, steps - warm)
    return np.concatenate([climb, peak * _fall(schedule, left, warm)])


def _fall(schedule: Schedule, left: Array, warm: int) -> Array:
    """The shares of the peak rate after warm-up.

    Args:
        left: share of these steps that is left at each of them, from 1 down.
        warm: steps of warm-up.
    """
    match schedule:
        case Constant():
            return np.ones_like(left)
        case Cosine():
            return 0.5 * (1.0 - np.cos(np.pi * left))
        case InverseSqrt():
            timescale = schedule.timescale or warm or TIMESCALE
            return 1.0 / np.sqrt(1.0 + np.arange(len(left)) / timescale)
        case Polynomial():
            return schedule.end + (1.0 - schedule.end) * left**schedule.power
    return left


def _one_cycle(schedule: OneCycle, steps: int) -> Array:
    """The shares of the peak rate of torch's OneCycleLR, which turns between two steps where the share asks for it."""
    warm = schedule.warmup if isinstance(schedule.warmup, int) else schedule.warmup * steps
    turn, at = warm - 1.0, np.arange(steps)
    up = _between(schedule.start, 1.0, at / turn) if turn > 0.0 else np.ones(steps)
    down = _between(1.0, schedule.end, (at - turn) / (steps - 1.0 - turn))
    return np.where(at <= turn, up, down)


def _between(start: float, end: float, share: Array) -> Array:
    """Along half a cosine."""
    return end + (start - end) / 2.0 * (1.0 + np.cos(np.pi * share))
