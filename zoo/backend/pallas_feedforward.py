"""The feed-forward half of a transformer layer in Pallas for a TPU, from the sum before its first norm to its last.

In come jax arrays; out come jax arrays. A program has some rows, and goes over the inner activations by columns: these
are four times as wide as hidden states, and stay in vector memory, forward and backward. The backward pass computes
them again from the sum that came in. Norms and masks are computed where they are used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import keras

from zoo.backend.pallas_attention import devices, on_each_device
from zoo.backend.pallas_rows import ROOM, add, begin, called, dropped, each_part, finish, sums_of
from zoo.backend.pallas_tpu import LANES, product

ROWS = (512, 256, 128)
"""Of a program: the more, the more seldom sums of gradients are read and written."""
COLUMNS = (512, 384, 256, 128)
"""Inner activations that are computed together."""


@dataclass(frozen=True, kw_only=True)
class Half:
    """Sizes of one feed-forward half, and how it drops.

    rows: of all texts. activation: Keras's function. least: see `zoo.backend.transformer.least_kept`; None where
    nothing is dropped. scale: what is kept is multiplied by it. interpret: whether a CPU computes it, operation by
    operation.
    """

    rows: int
    hidden: int
    inner: int
    activation: Callable[[Any], Any]
    epsilon: float
    least: int | None
    scale: float
    interpret: bool

    @property
    def columns(self) -> int:
        return next(columns for columns in COLUMNS if self.inner % columns == 0)

    def room(self, rows: int, itemsize: int) -> int:
        """Bytes of vector memory backward: weights, their gradients and sums, blocks twice, and what is between."""
        weights = 2 * self.hidden * self.inner * (2 * itemsize + 4)
        return weights + 10 * rows * self.hidden * itemsize + 4 * rows * (7 * self.hidden + 6 * self.columns)

    def block(self, itemsize: int) -> int | None:
        """Rows of a program; None where no number of them has room."""
        return next((rows for rows in ROWS if self.rows % rows == 0 and self.room(rows, itemsize) <= ROOM), None)


Weights = tuple[Any, ...]
"""gamma and beta of the first norm, kernel and bias of the inner product, of the outer one, gamma and beta of the last
norm, all with two dimensions, the first of vectors 1."""


def fits(half: Half, itemsize: int) -> bool:
    """Whether sizes fill registers, and a device's rows and the weights have room in vector memory."""
    own = replace(half, rows=half.rows // devices())
    return half.hidden % LANES == half.inner % LANES == 0 and own.block(itemsize) is not None


def feedforward(x: Any, weights: Weights, state: Any, half: Half) -> Any:
    """norm(y + dropped(activation(y inner) outer)), where y = norm(x); biases are added, too.

    Args:
        x: the sum before the first norm, [rows, hidden].
        weights: see `Weights`; kernels in x's type.
        state: what the mask is drawn from, int32 [2], see `Kernels.keep_mask`.
        half: sizes, rate and activation.

    Returns:
        [rows, hidden].
    """
    own = replace(half, rows=half.rows // devices())

    def share(number: Any, x: Any, state: Any, *weights: Any) -> Any:
        return _feedforward(x, weights, jnp.concatenate([state, jnp.full(1, number * own.rows, jnp.int32)]), own)

    return on_each_device(share, (x,), (state, *weights))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _feedforward(x: Any, weights: Weights, drawn: Any, half: Half) -> Any:
    """`feedforward` on one device; drawn is state and, as third, the number of its first row in the whole batch."""
    return _forward(x, weights, drawn, half, kept=1)[0]


def _kept(x: Any, weights: Weights, drawn: Any, half: Half) -> tuple[Any, Any]:
    y, summed = _forward(x, weights, drawn, half, kept=2)
    return y, (x, summed, weights, drawn)


def _gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + jax.lax.erf(x * 2**-0.5))


def _activation(half: Half) -> Callable[[Any], Any]:
    """In float32. Keras's exact GELU takes erfc, which Mosaic does not have."""
    return _gelu if half.activation is keras.activations.gelu else half.activation


def _normed(x: Any, epsilon: float) -> tuple[Any, Any]:
    """x [rows, hidden] less its mean by row over its spread, float32, and one over the spread."""
    exact = x.astype(jnp.float32)
    exact = exact - jnp.mean(exact, axis=1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.mean(exact * exact, axis=1, keepdims=True) + epsilon)
    return exact * inverse, inverse


def _by_summed(given: Any, normed: Any, inverse: Any, gamma: Any) -> Any:
    """Gradients by what was normed."""
    weighted = given * gamma
    along = jnp.mean(weighted * normed, axis=1, keepdims=True)
    return inverse * (weighted - jnp.mean(weighted, axis=1, keepdims=True) - normed * along)


def _dropped(x: Any, drawn: Any, half: Half) -> Any:
    return dropped(x, (drawn[0], drawn[1]), drawn[2], half.least, half.scale)


def _forward_program(half: Half, drawn: Any, *refs: Any) -> None:
    x, gamma, beta, inner, inner_bias, outer, outer_bias, last_gamma, last_beta, *outs, found = refs
    y = (_normed(x[...], half.epsilon)[0] * gamma[...] + beta[...]).astype(x.dtype)
    found[...] = jnp.zeros_like(found)

    def part(_: Any, columns: Any) -> None:
        active = _activation(half)(product(y, inner[:, columns()], (1, 0)) + inner_bias[:, columns()])
        found[...] += product(active.astype(x.dtype), outer[columns(), :], (1, 0))

    each_part(half.inner // half.columns, half.columns, part)
    summed = (y + _dropped(found[...] + outer_bias[...], drawn, half)).astype(x.dtype)
    outs[0][...] = (_normed(summed, half.epsilon)[0] * last_gamma[...] + last_beta[...]).astype(x.dtype)
    if len(outs) == 2:
        outs[1][...] = summed


def _backward_program(half: Half, drawn: Any, *refs: Any) -> None:
    x, summed, given, gamma, beta, inner, inner_bias, outer, _, last_gamma, _, by_x, *others = refs
    by_gamma, by_beta, by_inner, by_inner_bias, by_outer, by_outer_bias, by_last_gamma, by_last_beta = others[:8]
    inner_sum, outer_sum, by_y = others[8:]
    begin((by_gamma, by_beta, inner_sum, by_inner_bias, outer_sum, by_outer_bias, by_last_gamma, by_last_beta))
    gradient = given[...].astype(jnp.float32)
    normed, inverse = _normed(summed[...], half.epsilon)
    add(by_last_gamma, gradient * normed)
    add(by_last_beta, gradient)
    gradient = _by_summed(gradient, normed, inverse, last_gamma[...])
    by_found = _dropped(gradient, drawn, half)
    add(by_outer_bias, by_found)
    by_found = by_found.astype(x.dtype)
    by_y[...] = gradient
    normed, inverse = _normed(x[...], half.epsilon)
    y = (normed * gamma[...] + beta[...]).astype(x.dtype)

    def part(_: Any, columns: Any) -> None:
        own = columns()
        active, pull = jax.vjp(_activation(half), product(y, inner[:, own], (1, 0)) + inner_bias[:, own])
        outer_sum[own, :] += product(active.astype(x.dtype), by_found, (0, 0))
        (by_product,) = pull(product(by_found, outer[own, :], (1, 1)))
        by_inner_bias[:, own] += jnp.sum(by_product, axis=0, keepdims=True)
        by_product = by_product.astype(x.dtype)
        inner_sum[:, own] += product(y, by_product, (0, 0))
        by_y[...] += product(by_product, inner[:, own], (1, 1))

    each_part(half.inner // half.columns, half.columns, part)
    add(by_gamma, by_y[...] * normed)
    add(by_beta, by_y[...])
    by_x[...] = _by_summed(by_y[...], normed, inverse, gamma[...]).astype(x.dtype)
    finish([(inner_sum, by_inner), (outer_sum, by_outer)])


def _called(
    program: Any, name: str, half: Half, drawn: Any, arrays: list[Any], weights: Weights, products: int, **more: Any
) -> list[Any]:
    rows = half.block(arrays[0].dtype.itemsize)
    assert rows is not None, "asked of fits"
    scratch = [*more.pop("scratch", ()), ((rows, half.hidden), jnp.float32)]
    found: list[Any] = called(
        functools.partial(program, half),
        name=name,
        programs=half.rows // rows,
        drawn=drawn,
        arrays=arrays,
        weights=weights,
        scratch=scratch,
        operations=2 * products * half.rows * half.hidden * half.inner,
        transcendentals=half.rows * half.inner,
        room=half.room(rows, arrays[0].dtype.itemsize),
        interpret=half.interpret,
        **more,
    )
    return found


def _forward(x: Any, weights: Weights, drawn: Any, half: Half, *, kept: int) -> list[Any]:
    """The result, and as second the sum before the last norm."""
    outs = [x] * kept
    return _called(_forward_program, "feedforward_forward", half, drawn, [x], weights, 2, outs=outs, sums=())


def _backward(half: Half, saved: Any, given: Any) -> tuple[Any, Weights, None]:
    x, summed, weights, drawn = saved
    by_x, *found = _called(
        _backward_program,
        "feedforward_backward",
        half,
        drawn,
        [x, summed, given],
        weights,
        5,
        outs=[x],
        sums=sums_of(weights),
        scratch=[(weights[place].shape, jnp.float32) for place in (2, 4)],
    )
    return by_x, tuple(each.astype(weight.dtype) for each, weight in zip(found, weights, strict=True)), None


_feedforward.defvjp(_kept, _backward)
