"""Temperature scaling (Guo et al. 2017, section 4.2): one number by which all outputs are divided, so that a model is
as sure of its classes as it is often right.

In come a task whose texts have classes, outputs and targets of the validation split; out come the temperature with the
least loss there, and how well probabilities hold before and after. Nothing is refused: of fewer than FEWEST rows, and
where none is better or the best one has no bound, it is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy.special import log_softmax

from zoo.score import calibration
from zoo.tasks.class_weights import flagged
from zoo.tasks.task import Task

__all__ = ["FEWEST", "HIGHEST", "LOWEST", "Temperature", "fitted", "reliability_of"]

FEWEST = 50
"""Rows of validation below which none is fitted: what so few say of how sure a model may be is mostly chance."""
LOWEST, HIGHEST = 0.05, 20.0
"""Between which it is looked for. Where all of validation is right no temperature is low enough, and where the outputs
are no better than none no temperature is high enough."""


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """By what outputs are divided; rows: of validation; note: why none was fitted; None where one was."""

    value: float
    rows: int
    note: str | None = None


def fitted(task: Task, outputs: np.ndarray, targets: np.ndarray) -> Temperature:
    """The temperature with the least mean loss on these rows.

    The loss has one minimum, as it is convex in the inverse.

    Args:
        outputs: [rows, units].
        targets: as the task has them.
    """
    rows = len(targets)
    if rows < FEWEST:
        return Temperature(value=1.0, rows=rows, note=f"none is fitted on fewer than {FEWEST} rows of validation")
    wide = np.asarray(outputs, np.float64)

    def loss(logarithm: float) -> float:
        return _loss(task, wide / math.exp(logarithm), targets)

    ends = math.log(LOWEST), math.log(HIGHEST)
    found = scipy.optimize.minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6})
    if not found.fun < loss(0.0):
        return Temperature(value=1.0, rows=rows)
    if min(abs(found.x - end) for end in ends) < 1e-3:
        end = f"below {LOWEST:g}" if found.x < 0.0 else f"above {HIGHEST:g}"
        return Temperature(value=1.0, rows=rows, note=f"none is fitted, as the best one is {end}")
    return Temperature(value=math.exp(found.x), rows=rows)


def reliability_of(task: Task, outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Mean loss in nats, expected calibration error and Brier score of a split, by name; where a text may have several
    classes, of all decisions on one."""
    values = task.values(outputs)
    if flagged(task):
        values, truth = np.stack([1.0 - values, values], axis=-1).reshape(-1, 2), targets.ravel()
    else:
        truth = targets
    return {
        "loss": _loss(task, np.asarray(outputs, np.float64), targets),
        "expected_calibration_error": calibration.reliability(values, truth).error,
        "brier_score": calibration.brier_score(values, truth),
    }


def _loss(task: Task, outputs: NDArray[np.float64], targets: Any) -> float:
    """The mean loss in nats, in float64."""
    if task.activation == "softmax":
        return float(-log_softmax(outputs, axis=-1)[np.arange(len(targets)), targets].mean())
    towards = np.where(np.reshape(targets, outputs.shape) == 1, outputs, -outputs)
    return float(np.logaddexp(0.0, -towards).mean())
