"""How long a run is: from the recipe's training and the number of training rows to epochs and optimizer steps.

Refused: a run of more than MAX_STEPS steps, which epochs, rows and batch size can come to together, and a warm-up that
is not shorter than the run.
"""

from __future__ import annotations

from dataclasses import dataclass

from zoo.errors import RecipeError
from zoo.recipe.training_group import MAX_STEPS, Training

DEFAULT_EPOCHS = 3
"""Passes over train where a recipe gives neither epochs nor steps."""


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long a run is, in epochs and optimizer steps."""

    epochs: int
    steps: int
    steps_per_epoch: int


def run_length(config: Training, *, rows: int) -> Length:
    """Epochs and steps of a run on so many training rows; a run of `steps` may end within an epoch.

    Raises RecipeError where it is more than MAX_STEPS steps, or all of it would be warm-up.
    """
    steps_per_epoch = -(-rows // config.batch_size)
    if config.steps is not None:
        # A warm-up that is too long for these is a contradiction that the recipe's types find.
        return Length(epochs=-(-config.steps // steps_per_epoch), steps=config.steps, steps_per_epoch=steps_per_epoch)
    epochs = config.epochs or DEFAULT_EPOCHS
    steps = epochs * steps_per_epoch
    if steps > MAX_STEPS:
        raise RecipeError(
            f"training.epochs: got {epochs:,} over {rows:,} rows in batches of {config.batch_size:,}, which are "
            f"{steps:,} steps, expected at most {MAX_STEPS:,}: give fewer epochs or larger batches"
        )
    warmup = config.schedule.warmup
    if warmup >= steps:
        raise RecipeError(
            f"training.schedule.warmup: got {warmup:,} steps, expected fewer than the run's {steps:,}: give fewer, or "
            "a share below 1"
        )
    return Length(epochs=epochs, steps=steps, steps_per_epoch=steps_per_epoch)


def evaluation_rows(config: Training) -> int:
    """Rows a batch in evaluation and prediction."""
    return config.eval_batch_size or 2 * config.batch_size
