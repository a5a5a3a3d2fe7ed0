"""`Kernels` for TensorFlow on a CPU: matrix products by oneDNN, and what stands between them compiled by XLA.

TensorFlow computes operation by operation unless XLA compiles a graph, and XLA has slow matrix products on a CPU. So
each piece without one is a function of its own that XLA fuses into a pass, forward and backward. On an accelerator the
whole step is compiled, and these functions are part of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from zoo.backend.transformer import Drop, Kernels


class TensorFlowKernels(Kernels):
    def state(self, drop: Drop, training: bool) -> Any | None:
        """See `Kernels.state`; of several devices that share a batch each draws the masks of its own share."""
        state, context = super().state(drop, training), tf.distribute.get_replica_context()
        if state is None or context is None or context.num_replicas_in_sync == 1:
            return state
        return tf.concat([state, [tf.cast(context.replica_id_in_sync_group, state.dtype)]], 0)

    def look_up(self, table: Any, rows: Any) -> Any:
        return _look_up(tf.convert_to_tensor(table), tf.convert_to_tensor(rows))

    def activated(self, x: Any, bias: Any, activation: Any) -> Any:
        return _activated(activation)(x, tf.convert_to_tensor(bias))

    def weighted(self, scores: Any, mask: Any, scale: float, drop: Drop, state: Any) -> Any:
        return _weighted(scale, drop.rate)(scores, mask, tf.convert_to_tensor(state))

    def closed(
        self, residual: Any, x: Any, bias: Any, norm: tuple[Any, Any], epsilon: float, drop: Drop, state: Any
    ) -> Any:
        arrays = [residual, x, *map(tf.convert_to_tensor, (bias, *norm))]
        if state is not None:
            arrays.append(tf.convert_to_tensor(state))
        return _closed(epsilon, drop.rate)(*arrays)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _look_up(table: Any, rows: Any) -> tuple[Any, Callable[..., Any]]:
    """Rows of a table, with a gradient that is one array, duplicate rows summed.

    TensorFlow's own is IndexedSlices, a row for each token of the batch. Keras squares these rows before it sums the
    duplicates, so a repeated token gets a wrong second moment, and a norm of the gradients that is wrong too
    (docs/upstream/keras-sparse-adam.md).
    """

    def gradient(by_row: Any) -> tuple[Any, None]:
        flat = tf.reshape(by_row, (-1, table.shape[-1]))
        return tf.math.unsorted_segment_sum(flat, tf.reshape(rows, (-1,)), table.shape[0]), None

    return tf.gather(table, rows), gradient


PORTABLE = Kernels()

# One function a piece for all layers, so that each is traced and compiled once.


@functools.cache
def _activated(activation: Any) -> Callable[..., Any]:
    return _compiled(lambda x, bias: PORTABLE.activated(x, bias, activation))


@functools.cache
def _weighted(scale: float, rate: float) -> Callable[..., Any]:
    drop = Drop(rate=rate, seeds=None)
    return _compiled(lambda scores, mask, state: PORTABLE.weighted(scores, mask, scale, drop, state))


@functools.cache
def _closed(epsilon: float, rate: float) -> Callable[..., Any]:
    drop = Drop(rate=rate, seeds=None)

    def closed(residual: Any, x: Any, bias: Any, gamma: Any, beta: Any, state: Any | None = None) -> Any:
        return PORTABLE.closed(residual, x, bias, (gamma, beta), epsilon, drop, state)

    return _compiled(closed)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as XLA compiles it. Its gradient computes it again: nothing between input and output is kept."""
    forward = tf.function(function, jit_compile=True, autograph=False)

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def backward(gradient: Any, arrays: Sequence[Any]) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch([array for array in arrays if array.dtype.is_floating])
            found = function(*arrays)
        floating = [array for array in arrays if array.dtype.is_floating]
        gradients: list[Any] = tape.gradient(found, floating, gradient)
        return gradients

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def run(*arrays: Any) -> tuple[Any, Callable[..., Any]]:
        def gradients(gradient: Any) -> list[Any]:
            found = iter(backward(gradient, arrays))
            return [next(found) if array.dtype.is_floating else None for array in arrays]

        return forward(*arrays), gradients

    compiled: Callable[..., Any] = run
    return compiled
