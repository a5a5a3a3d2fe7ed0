"""Memory that runs out, as an error that says what would fit."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from zoo.backend import Backend
from zoo.errors import TrainingError
from zoo.recipe.training_group import Training

SMALLER = "lower tokens.max_length, set training.remat: true, or take a smaller backbone"
"""What makes a step take less than its smallest part does."""


@contextlib.contextmanager
def within_memory(backend: Backend, what: str, remedy: str) -> Iterator[None]:
    """The block, whose failure by want of memory of the device or the machine becomes a TrainingError.

    Args:
        what: that does not fit, as `a batch of 32 rows`.
        remedy: what to do, as `halved` says it of a batch.
    """
    try:
        yield
    except Exception as error:
        if not backend.is_out_of_memory(error):
            raise
        raise TrainingError(f"{what} does not fit in memory ({type(error).__name__}): {remedy}") from error


def halved(setting: str, rows: int, otherwise: str) -> str:
    """The remedy for a batch that does not fit: half of it, and `otherwise`, which is all there is for a single row."""
    return f"pass {setting}{rows // 2}, or {otherwise}" if rows > 1 else otherwise


def divisors(rows: int) -> Iterator[int]:
    """Of a number of rows, the smallest first."""
    return (parts for parts in range(1, rows + 1) if rows % parts == 0)


def step_remedy(config: Training, parts: int, fits: Callable[[int], bool] | None, *, parted: bool = True) -> str:
    """What to do about a step that does not fit in memory: first what leaves it the same step.

    Args:
        config: of the training.
        parts: in how many the step was computed.
        fits: whether one in so many parts fits by estimate; None where only a trial can tell.
        parted: whether a step of what is learned may be computed in parts.
    """
    otherwise = "lower tokens.max_length"
    finer = [count for count in divisors(config.batch_size // config.least_rows) if count > parts]
    if config.packing or not finer or not parted:
        return halved("--set training.batch_size=", config.batch_size, otherwise)
    if fits is None and config.accumulate != "auto":
        return (
            f"pass --set training.accumulate=auto, which computes the same step in as few parts as fit, or {otherwise}"
        )
    count = next((count for count in finer if fits is None or fits(count)), None)
    if count is None:
        return SMALLER
    rows = config.batch_size // count
    part = f"{count} parts of {rows} {'row' if rows == 1 else 'rows'}"
    found = "" if fits is None else ", which fits by estimate"
    return f"pass --set training.accumulate={count}, the same step in {part}{found}, or {otherwise}"
