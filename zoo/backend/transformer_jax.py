"""`Kernels` for JAX on a TPU or a GPU: halves of a layer by Pallas on a TPU, else attention alone.

Elsewhere XLA fuses what stands between matrix products. What the forward pass keeps for the backward one is said here,
as the memory that a step moves decides its speed: of each half of a layer the sum before its norm, of attention its
products, of the feed-forward half what its activation takes. Masks, norms and activations are computed again.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from keras import ops

from zoo.backend import pallas_attention, pallas_attention_half, pallas_feedforward
from zoo.backend.jax_layout import JaxKernels
from zoo.backend.jax_mesh import divides
from zoo.backend.pallas_attention import Platform, Shape
from zoo.backend.transformer import Drop, Kernels, LayerParts, States, least_kept

PLAIN = Kernels()
Halves = tuple[pallas_attention_half.Half, pallas_feedforward.Half]


class AcceleratorKernels(JaxKernels):
    """Args:
    platform: whose kernels.
    interpret: whether a CPU computes them, operation by operation.
    """

    def __init__(self, platform: Platform, *, interpret: bool = False) -> None:
        self._platform, self._interpret = platform, interpret

    def layer(self, parts: LayerParts, x: Any, mask: Any, states: States) -> Any:
        batch, length, hidden = x.shape
        _, heads, width = parts.query[0].shape
        if not self._fuses(x, heads, width):
            return super().layer(parts, x, mask, states)
        shape = Shape(
            batch=batch,
            length=length,
            heads=heads,
            width=width,
            least=_least(parts.weights_drop, states[0]),
            scale=parts.weights_drop.scale,
            platform=self._platform,
            interpret=self._interpret,
        )
        x, seen = x.reshape(batch * length, hidden), mask[:, 0].astype(jnp.int8)
        halves = self._halves(parts, x, shape, states)
        x = (
            self._by_xla(parts, x, seen, states, shape)
            if halves is None
            else _by_halves(parts, x, seen, states, halves)
        )
        return x.reshape(batch, length, hidden)

    def _by_xla(self, parts: LayerParts, x: Any, seen: Any, states: States, shape: Shape) -> Any:
        """`layer` with attention alone as a kernel; x is [rows, hidden]."""
        qkv = jnp.matmul(x, _side_by_side(parts, x)).reshape(shape.batch, shape.length, -1)
        context = pallas_attention.attention(qkv, _biases(parts), seen, _drawn(states[0]), shape)
        kernel, bias = parts.output
        # Behind a barrier, or XLA takes the product apart by heads and copies what it was given.
        kernel = jax.lax.optimization_barrier(_like(kernel, x).reshape(shape.hidden, -1))
        found = jnp.matmul(context.reshape(-1, shape.hidden), kernel)
        drop, norm = parts.attention_drop, parts.attention_norm
        x = self.closed(x, found, bias, norm, parts.epsilon, drop, states[1])
        found = jnp.matmul(x, _like(parts.inner[0], x)) + _like(parts.inner[1], x)
        found = _activated_product(found, _like(parts.outer[0], x), parts.activation)
        drop, norm = parts.feedforward_drop, parts.feedforward_norm
        return self.closed(x, found, parts.outer[1], norm, parts.epsilon, drop, states[2])

    def _halves(self, parts: LayerParts, x: Any, shape: Shape, states: States) -> Halves | None:
        """Sizes of the halves that kernels compute whole; None where there is no room for them, and on a GPU."""
        if self._platform != "tpu":
            return None
        first, second = parts.attention_drop, parts.feedforward_drop
        attention = pallas_attention_half.Half(shape=shape, least=_least(first, states[1]), scale=first.scale)
        feedforward = pallas_feedforward.Half(
            rows=x.shape[0],
            hidden=x.shape[1],
            inner=parts.inner[0].shape[1],
            activation=parts.activation,
            epsilon=parts.epsilon,
            least=_least(second, states[2]),
            scale=second.scale,
            interpret=self._interpret,
        )
        size = x.dtype.itemsize
        fit = pallas_attention_half.fits(attention, size) and pallas_feedforward.fits(feedforward, size)
        return (attention, feedforward) if fit else None

    def _fuses(self, x: Any, heads: int, width: int) -> bool:
        # On a GPU torch's kernels of the same kind are slower in 4 bytes than plain products (docs/accelerators.md).
        quicker = self._platform == "tpu" or x.dtype.itemsize == 2 or self._interpret
        # Where devices share heads out, XLA does: a kernel would have to be told which of them are its own.
        return quicker and not divides() and pallas_attention.fits(self._platform, x.shape[1], heads, width)

    def closed(
        self, residual: Any, x: Any, bias: Any, norm: tuple[Any, Any], epsilon: float, drop: Drop, state: Any
    ) -> Any:
        weights = (_array(weight) for weight in (bias, *norm))
        state = None if state is None else ops.cast(state, "int32")
        return _closed(residual, x, *weights, state, epsilon, drop.rate)


def _by_halves(parts: LayerParts, x: Any, seen: Any, states: States, halves: Halves) -> Any:
    """A layer whose halves are a kernel each; x is [rows, hidden]."""
    attention, feedforward = halves
    output, bias = parts.output
    hidden = x.shape[1]
    weights = (_side_by_side(parts, x), _biases(parts), _like(output, x).reshape(hidden, hidden), _row(bias))
    drawn = jnp.concatenate([_drawn(states[0]), _drawn(states[1])])
    texts = x.reshape(seen.shape[0], -1, hidden)
    x = pallas_attention_half.attention_half(texts, seen, weights, drawn, attention).reshape(x.shape)
    weights = (
        *map(_row, parts.attention_norm),
        *(_like(parts.inner[0], x), _row(parts.inner[1])),
        *(_like(parts.outer[0], x), _row(parts.outer[1])),
        *map(_row, parts.feedforward_norm),
    )
    return pallas_feedforward.feedforward(x, weights, _drawn(states[2]), feedforward)


def _side_by_side(parts: LayerParts, x: Any) -> Any:
    """The kernels of queries, keys and values in the type of x, [hidden, 3 * hidden]."""
    hidden = x.shape[1]
    return jnp.concatenate([_like(kernel, x).reshape(hidden, hidden) for kernel, _ in parts.attended], 1)


def _biases(parts: LayerParts) -> Any:
    """Their biases, [1, 3 * hidden]."""
    return jnp.concatenate([_row(bias) for _, bias in parts.attended], 1)


def _row(weight: Any) -> Any:
    """A weight's array as one row."""
    return _array(weight).reshape(1, -1)


def _least(drop: Drop, state: Any | None) -> int | None:
    """See `least_kept`; None where nothing is dropped."""
    return None if state is None else least_kept(drop.rate)


def _drawn(state: Any | None) -> Any:
    """What a kernel draws a mask from, which takes numbers also where it draws none."""
    return jnp.zeros(2, jnp.int32) if state is None else ops.cast(state, "int32")


def _array(weight: Any) -> Any:
    """A variable's array; an array itself."""
    return weight.value if hasattr(weight, "value") else weight


def _like(weight: Any, x: Any) -> Any:
    """A weight's array in the type of x."""
    return _array(weight).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _activated_product(x: Any, kernel: Any, activation: Any) -> Any:
    """The activation of x [rows, inner], times a kernel [inner, outer]."""
    return jnp.matmul(activation(x), kernel)


def _activated_product_forward(x: Any, kernel: Any, activation: Any) -> tuple[Any, Any]:
    return _activated_product(x, kernel, activation), (x, kernel)


def _activated_product_backward(activation: Any, saved: Any, gradient: Any) -> tuple[Any, Any]:
    # Without the barrier XLA would keep what was activated, which is as large as x.
    x, kernel, gradient = jax.lax.optimization_barrier((*saved, gradient))
    active, pull = jax.vjp(activation, x)
    (by_x,) = pull(jnp.matmul(gradient, kernel.T))
    return by_x, jnp.matmul(active.T, gradient)


_activated_product.defvjp(_activated_product_forward, _activated_product_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(6, 7))
def _closed(
    residual: Any, x: Any, bias: Any, gamma: Any, beta: Any, state: Any | None, epsilon: float, rate: float
) -> Any:
    """See `Kernels.closed`."""
    return _closed_forward(residual, x, bias, gamma, beta, state, epsilon, rate)[0]


def _closed_forward(
    residual: Any, x: Any, bias: Any, gamma: Any, beta: Any, state: Any | None, epsilon: float, rate: float
) -> tuple[Any, Any]:
    summed = residual + PLAIN.dropped(x + bias.astype(x.dtype), Drop(rate=rate, seeds=None), state)
    exact = summed.astype(jnp.float32)
    mean = exact.mean(1, keepdims=True)
    spread = jax.lax.rsqrt(jnp.square(exact - mean).mean(1, keepdims=True) + epsilon)
    y = (exact - mean) * spread * gamma + beta
    return y.astype(x.dtype), (summed, mean, spread, bias, gamma, state)


def _closed_backward(epsilon: float, rate: float, saved: Any, gradient: Any) -> tuple[Any, ...]:
    summed, mean, spread, bias, gamma, state = saved
    if state is not None:
        state = jax.lax.optimization_barrier(state)  # or XLA would keep the mask
    given = gradient.astype(jnp.float32)
    normed = (summed.astype(jnp.float32) - mean) * spread
    weighted = given * gamma
    along = (weighted * normed).mean(1, keepdims=True)
    found = (spread * (weighted - weighted.mean(1, keepdims=True) - normed * along)).astype(summed.dtype)
    by_x = PLAIN.dropped(found, Drop(rate=rate, seeds=None), state)
    by_bias = by_x.sum(0, dtype=jnp.float32).astype(bias.dtype)
    return found, by_x, by_bias, (given * normed).sum(0), given.sum(0), None


_closed.defvjp(_closed_forward, _closed_backward)
