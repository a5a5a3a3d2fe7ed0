"""In how few parts a step fits in the memory at hand, for `training.accumulate: auto`.

In come a batch's rows and a question whether a step in so many parts fits; out goes the number. Refused: a batch of
which not even one row fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.backend import Backend
from zoo.data.batches import Batch
from zoo.data.this_machine import free_bytes, step_bytes
from zoo.errors import TrainingError
from zoo.models.inference import to_host
from zoo.models.weights import to_numpy
from zoo.recipe import Recipe
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import Precision, estimate
from zoo.training.memory import SMALLER, divisors

__all__ = ["fewest_parts", "fits_by_estimate", "fits_by_trial"]


def fewest_parts(rows: int, fits: Callable[[int], bool], *, least: int = 1) -> int:
    """The smallest divisor of a batch's rows in so many parts of which a step fits.

    Args:
        rows: of a batch, a multiple of `least`.
        fits: whether a step does in so many parts.
        least: what the rows of a part are a multiple of.

    Raises TrainingError where not even the smallest parts do.
    """
    for parts in divisors(rows // least):
        if fits(parts):
            return parts
    smallest = f"{rows // least} parts of {'one row' if least == 1 else f'{least} rows'}"
    raise TrainingError(
        f"training.accumulate: auto found that a step does not fit in memory even in {smallest}: {SMALLER}"
    )


def kills(backend: Backend) -> bool:
    """Whether what takes too much memory is killed, as a process on a CPU may be, so that no trial can tell."""
    return not backend.accelerated


def fits_by_estimate(
    recipe: Recipe, size: Dimensions, precision: Precision, backend: Backend
) -> Callable[[int], bool] | None:
    """Whether a step in so many parts takes no more than the memory that is free now, by the estimate of zoo.check.

    None where a trial can tell, which is better.
    """
    if not kills(backend):
        return None
    free = free_bytes()

    def fits(parts: int) -> bool:
        return step_bytes(estimate(recipe, size, None, parts), precision, backend.name) <= free

    return fits


def fits_by_trial(model: Any, trainer: Callable[[int], Any], batch: Batch, backend: Backend) -> Callable[[int], bool]:
    """Whether a step in so many parts goes through; the model's variables are then as they were.

    Args:
        model: the trained one.
        trainer: from a number of parts to a `zoo.backend.Trainer` with an optimizer of its own.
        batch: the largest one that training has.
        backend: the active one.
    """

    def fits(parts: int) -> bool:
        before = [to_numpy(variable).copy() for variable in model.variables]
        try:
            to_host(trainer(parts).step(batch.inputs, batch.labels, batch.weights)[0])
        except Exception as error:
            if not backend.is_out_of_memory(error):
                raise
            return False
        finally:
            for variable, value in zip(model.variables, before, strict=True):
                variable.assign(value)
        return True

    return fits
