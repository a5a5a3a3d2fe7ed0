"""Dropout whose masks are the same on every backend.

In comes a built model; out goes the same model, its Dropout layers drawing their masks from a
counter-based generator (Salmon et al. 2011) in 32-bit integer arithmetic on keras.ops: the same bits from the same
seed, step and position, whatever computes them. Nothing is refused.

A mask depends on the layer's `seed_generator` (its seed and how often it was called), which Keras draws from
Python's generator and keeps among the model's variables, and on a position's row and column.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

MULTIPLIERS = (0x7FEB352D, 0x846CA68B - 2**32)
"""Of `lowbias32`, the 32-bit mixer of least bias that C. Wellons's search found (nullprogram.com/blog/2018/07/31)."""
ROWS, COLUMNS = 0x9E3779B9 - 2**32, 0x3C6EF372
"""Two numbers without meaning (of the golden ratio), which keep the two keys of a mask apart."""


class PortableDropout(keras.layers.Dropout):  # type: ignore[misc]  # Keras ships no types
    """keras.layers.Dropout with masks that do not depend on the backend."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Inputs of any shape, at least [n]; a share `rate` of them 0 and the others scaled by 1 / (1 - rate)."""
        if not training or self.rate == 0:
            return inputs
        kept = keep_mask(self.seed_generator.next(), ops.shape(inputs), self.rate)
        scale = ops.cast(1.0 / (1.0 - self.rate), inputs.dtype)
        return inputs * ops.where(kept, scale, ops.cast(0.0, inputs.dtype))


def make_portable(model: Any) -> None:
    """Let every Dropout layer of a model, also those within its layers, draw portable masks from now on."""
    for layer in model._flatten_layers():
        # Layers stand in a traced graph and within others: the object has to stay, only what it does is exchanged.
        if type(layer) is keras.layers.Dropout:
            layer.__class__ = PortableDropout


def keep_mask(state: Any, shape: tuple[Any, ...], rate: float) -> Any:
    """Which positions stay: bool, of this shape, each True with probability 1 - rate.

    Args:
        state: [2] integers, a seed and a counter.
        shape: at least one dimension; in a graph some may be scalars of the backend.
        rate: share that is dropped, above 0 and below 1.

    A position's bits are f(a + b), with `a` mixed from its row (all dimensions but the last), `b` from its column,
    and f(x) = x (2x + 1) modulo 2**32, RC6's bijection (Rivest et al. 1998, section 3), whose high bits depend on all
    of x. Rows and columns are few, so nearly all of the work is two sums, a product and a comparison a position.
    """
    state = ops.cast(state, "int32")
    key = _mix(state[0] + state[1] * ROWS)
    rows = 1
    for size in shape[:-1]:
        rows = rows * size
    row = ops.reshape(_mix(ops.arange(rows, dtype="int32") ^ key), (*shape[:-1], 1))
    column = _mix(ops.arange(shape[-1], dtype="int32") ^ _mix(key + COLUMNS))
    bits = (row + column) * (2 * row + (2 * column + 1))
    return bits >= round(rate * 2**32) - 2**31


def _mix(x: Any) -> Any:
    """A bijection of int32 in which each bit of the input changes about half of the output's."""
    first, second = MULTIPLIERS
    x = (x ^ _shifted(x, 16)) * first
    x = (x ^ _shifted(x, 15)) * second
    return x ^ _shifted(x, 16)


def _shifted(x: Any, places: int) -> Any:
    """A shift to the right that fills up with zeros: int32 has a sign, and uint32 no arithmetic on torch."""
    return ops.bitwise_and(ops.right_shift(x, places), 2 ** (32 - places) - 1)
