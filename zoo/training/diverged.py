"""What is said of a step whose loss or gradient is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.errors import TrainingError

NAMED = 32
"""Rows of a batch that are named."""


def diverged(
    loss: float, *, step: int, epoch: int, rate: float, rows: Sequence[str], newest: Path | None
) -> TrainingError:
    """The error of a run that cannot go on.

    Args:
        loss: what was told of the step, not finite; nan where it is the gradient that is not.
        step, epoch: from 1. rate: of the step. rows: ids of those of its batch. newest: the last checkpoint.
    """
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    kept = f"the last good checkpoint is {newest}" if newest else "there is no checkpoint yet"
    return TrainingError(
        f"the loss or its gradient became {loss} at step {step} (epoch {epoch}, learning rate {rate:.3g}), whose batch "
        f"is {', '.join(rows[:NAMED])}{more}; {kept}: lower training.optimizer.learning_rate, set training.precision: "
        "float32, or look at these rows"
    )
