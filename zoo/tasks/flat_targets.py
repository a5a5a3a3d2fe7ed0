"""Targets that are the first columns of a batch's, where training adds others behind them.

In come rows of columns and a `blank`, one target of zeros as the task has it; out come targets of its shape and type.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["on_device", "on_host", "width"]


def width(blank: np.ndarray) -> int:
    """Columns of a target."""
    return max(1, blank.size)


def on_host(columns: np.ndarray, blank: np.ndarray) -> np.ndarray:
    """From [rows, columns] the targets, [rows, ...]."""
    return columns[:, : width(blank)].reshape(len(columns), *blank.shape).astype(blank.dtype)


def on_device(columns: Any, blank: np.ndarray) -> Any:
    """The same of the active backend's array."""
    from keras import ops

    return ops.cast(columns[:, : width(blank)] if blank.ndim else columns[:, 0], str(blank.dtype))
