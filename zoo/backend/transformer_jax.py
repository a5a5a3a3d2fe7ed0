"""`Kernels` for JAX on a TPU or a GPU: attention by Pallas, and gradients that compute again what is cheap.

XLA fuses what stands between matrix products. What the forward pass keeps for the backward one is said here, as the
memory that a step moves decides its speed: of each half of a layer the sum before its norm, of attention its products,
of the feed-forward half what its activation takes. Masks, norms and activations are computed again.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from keras import ops

from zoo.backend import pallas_attention
from zoo.backend.pallas_attention import Platform, Shape
from zoo.backend.transformer import Drop, Kernels, LayerParts, States, least_kept

PLAIN = Kernels()


class AcceleratorKernels(Kernels):
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
        x = x.reshape(batch * length, hidden)
        kernel = jnp.concatenate([_like(kernel, x).reshape(hidden, hidden) for kernel, _ in parts.attended], 1)
        bias = jnp.concatenate([_array(bias).reshape(1, hidden) for _, bias in parts.attended], 1)
        qkv = jnp.matmul(x, kernel).reshape(batch, length, 3 * hidden)
        drop = parts.weights_drop
        state = states[0]
        shape = Shape(
            batch=batch,
            length=length,
            heads=heads,
            width=width,
            least=None if state is None else least_kept(drop.rate),
            scale=drop.scale,
            platform=self._platform,
            interpret=self._interpret,
        )
        drawn = jnp.zeros(2, jnp.int32) if state is None else ops.cast(state, "int32")
        context = pallas_attention.attention(qkv, bias, mask[:, 0].astype(jnp.int8), drawn, shape)
        kernel, bias = parts.output
        # Behind a barrier, or XLA takes the product apart by heads and copies what it was given.
        kernel = jax.lax.optimization_barrier(_like(kernel, x).reshape(hidden, hidden))
        found = jnp.matmul(context.reshape(-1, hidden), kernel)
        drop, norm = parts.attention_drop, parts.attention_norm
        x = self.closed(x, found, bias, norm, parts.epsilon, drop, states[1])
        found = jnp.matmul(x, _like(parts.inner[0], x)) + _like(parts.inner[1], x)
        found = _activated_product(found, _like(parts.outer[0], x), parts.activation)
        drop, norm = parts.feedforward_drop, parts.feedforward_norm
        x = self.closed(x, found, parts.outer[1], norm, parts.epsilon, drop, states[2])
        return x.reshape(batch, length, hidden)

    def _fuses(self, x: Any, heads: int, width: int) -> bool:
        # On a GPU torch's kernels of the same kind are slower in 4 bytes than plain products (docs/accelerators.md).
        quicker = self._platform == "tpu" or x.dtype.itemsize == 2 or self._interpret
        return quicker and pallas_attention.fits(self._platform, x.shape[1], heads, width)

    def closed(
        self, residual: Any, x: Any, bias: Any, norm: tuple[Any, Any], epsilon: float, drop: Drop, state: Any
    ) -> Any:
        weights = (_array(weight) for weight in (bias, *norm))
        state = None if state is None else ops.cast(state, "int32")
        return _closed(residual, x, *weights, state, epsilon, drop.rate)


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
