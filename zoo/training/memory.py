"""Memory that runs out, as an error that says what would fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from zoo.backend import Backend
from zoo.errors import TrainingError


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
