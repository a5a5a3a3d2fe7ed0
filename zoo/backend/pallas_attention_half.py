"""The attention half of a transformer layer in Pallas for a TPU, from hidden states to the sum before the half's norm.

In come jax arrays; out come jax arrays. A program has one text: its products, its attention, which goes by groups of
heads, and what is added to it. Queries, keys, values and what is attended to are written for the backward pass alone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from zoo.backend.pallas_attention import Shape, devices, on_each_device
from zoo.backend.pallas_rows import ROOM, add, begin, called, dropped, each_part, finish, shaped, sums_of
from zoo.backend.pallas_tpu import attended, by_attended, first_head, groups, lanes_of, product
from zoo.backend.pallas_tpu import fits as attention_fits


@dataclass(frozen=True, kw_only=True)
class Half:
    """Sizes of one attention half, and how it drops of what comes out: least and scale as those of `Shape`."""

    shape: Shape
    least: int | None
    scale: float

    def room(self, itemsize: int) -> int:
        """Bytes of vector memory backward: weights, their gradients and sums, blocks twice, and what is between."""
        length, hidden = self.shape.length, self.shape.hidden
        weights = 4 * hidden**2 * (2 * itemsize + 4)
        return weights + 14 * length * hidden * itemsize + 4 * length * (4 * hidden + 10 * length)


Weights = tuple[Any, ...]
"""Kernel [hidden, 3 * hidden] and bias of queries, keys and values, kernel and bias of the product with what is
attended to; biases have two dimensions, the first 1."""


def fits(half: Half, itemsize: int) -> bool:
    """Whether a text fills registers, and with the weights has room in vector memory."""
    shape = half.shape
    return attention_fits(shape.length, shape.heads, shape.width) and half.room(itemsize) <= ROOM


def attention_half(x: Any, seen: Any, weights: Weights, states: Any, half: Half) -> Any:
    """x + dropped(attention(x) kernel + bias).

    Args:
        x: hidden states, [batch, length, hidden].
        seen: which keys a query sees, 1 or 0, int8 [batch, 1 or length, length].
        weights: see `Weights`; kernels in x's type.
        states: what the masks of attention's weights and of what comes out are drawn from, int32 [4].
        half: sizes and rates.

    Returns:
        [batch, length, hidden].
    """
    batch = half.shape.batch // devices()
    own = replace(half, shape=replace(half.shape, batch=batch))

    def share(number: Any, x: Any, seen: Any, states: Any, *weights: Any) -> Any:
        first = jnp.asarray([number * batch, number * batch * own.shape.length], jnp.int32)
        return _half(x, weights, seen, jnp.concatenate([states[:2], first[:1], states[2:], first[1:]]), own)

    return on_each_device(share, (x, seen), (states, *weights))


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _half(x: Any, weights: Weights, seen: Any, drawn: Any, half: Half) -> Any:
    """`attention_half` on one device.

    drawn is [6]: of each mask its state, and the number of its first example, or row, in the whole batch.
    """
    hidden = half.shape.hidden
    scratch = [((half.shape.length, width), x.dtype) for width in (3 * hidden, hidden)]
    return _forward(x, weights, seen, drawn, half, outs=[x], scratch=scratch)[0]


def _kept(x: Any, weights: Weights, seen: Any, drawn: Any, half: Half) -> tuple[Any, Any]:
    outs = [x, shaped((*x.shape[:2], 3 * half.shape.hidden), x.dtype), x]
    summed, qkv, context = _forward(x, weights, seen, drawn, half, outs=outs, scratch=())
    return summed, (x, qkv, context, weights, seen, drawn)


def _own(ref: Any) -> Any:
    """A reference to this program's text, without the first dimension."""
    return ref.at[0] if len(ref.shape) == 3 else ref


def _forward_program(half: Half, drawn: Any, *refs: Any) -> None:
    x, seen, kernel, bias, output, output_bias, summed, qkv, context = map(_own, refs)
    shape, shown, example = half.shape, seen[...].astype(jnp.int32), pl.program_id(0)

    def part(group: Any, columns: Any) -> None:
        for place in map(columns, range(3)):
            qkv[:, place] = (product(x[...], kernel[:, place], (1, 0)) + bias[:, place]).astype(x.dtype)
        parts = [qkv[:, place] for place in map(columns, range(3))]
        context[:, columns()] = attended(parts, drawn, shown, first_head(example, group, shape), shape).astype(x.dtype)

    each_part(groups(shape), lanes_of(shape.width), part)
    found = product(context[...], output[...], (1, 0)) + output_bias[...]
    summed[...] = (x[...] + dropped(found, (drawn[3], drawn[4]), drawn[5], half.least, half.scale)).astype(x.dtype)


def _backward_program(half: Half, drawn: Any, *refs: Any) -> None:
    x, qkv, context, given, seen, kernel, _, output, _, by_x, *others = map(_own, refs)
    by_kernel, by_bias, by_output, by_output_bias, kernel_sum, output_sum, by_context, by_states = others
    shape, shown, example = half.shape, seen[...].astype(jnp.int32), pl.program_id(0)
    begin((kernel_sum, by_bias, output_sum, by_output_bias))
    gradient = given[...].astype(jnp.float32)
    by_states[...] = gradient
    by_found = dropped(gradient, (drawn[3], drawn[4]), drawn[5], half.least, half.scale)
    add(by_output_bias, by_found)
    by_found = by_found.astype(x.dtype)
    output_sum[...] += product(context[...], by_found, (0, 0))
    by_context[...] = product(by_found, output[...], (1, 1)).astype(x.dtype)

    def part(group: Any, columns: Any) -> None:
        places = [columns(time) for time in range(3)]
        parts = [qkv[:, place] for place in places]
        found = by_attended(parts, by_context[:, columns()], drawn, shown, first_head(example, group, shape), shape)
        for place, each in zip(places, found, strict=True):
            by_bias[:, place] += jnp.sum(each, axis=0, keepdims=True)
            rounded = each.astype(x.dtype)
            kernel_sum[:, place] += product(x[...], rounded, (0, 0))
            by_states[...] += product(rounded, kernel[:, place], (1, 1))

    each_part(groups(shape), lanes_of(shape.width), part)
    by_x[...] = by_states[...].astype(x.dtype)
    finish([(kernel_sum, by_kernel), (output_sum, by_output)])


def _called(program: Any, name: str, half: Half, drawn: Any, arrays: list[Any], weights: Weights, **more: Any) -> Any:
    """A kernel with `more` of `called`; backward has twice the products of the forward pass, and scores once more."""
    shape = half.shape
    rows, pairs = shape.batch * shape.length, shape.batch * shape.heads * shape.length**2
    times, each = (2, 5) if program is _backward_program else (1, 2)
    return called(
        functools.partial(program, half),
        name=name,
        programs=shape.batch,
        drawn=drawn,
        arrays=arrays,
        weights=weights,
        operations=2 * (times * 4 * rows * shape.hidden**2 + each * pairs * shape.width),
        transcendentals=pairs,
        room=half.room(arrays[0].dtype.itemsize),
        interpret=shape.interpret,
        **more,
    )


def _forward(x: Any, weights: Weights, seen: Any, drawn: Any, half: Half, **more: Any) -> Any:
    """The sum, and with places for them in `outs` queries, keys and values, and what was attended to."""
    return _called(_forward_program, "attention_half_forward", half, drawn, [x, seen], weights, sums=(), **more)


def _backward(half: Half, saved: Any, given: Any) -> tuple[Any, Weights, None, None]:
    x, qkv, context, weights, seen, drawn = saved
    arrays, hidden, length = [x, qkv, context, given, seen], half.shape.hidden, half.shape.length
    by_x, *found = _called(
        _backward_program,
        "attention_half_backward",
        half,
        drawn,
        arrays,
        weights,
        outs=[x],
        sums=sums_of(weights),
        scratch=[
            *[(weights[place].shape, jnp.float32) for place in (0, 2)],
            ((length, hidden), x.dtype),
            ((length, hidden), jnp.float32),
        ],
    )
    by_weights = tuple(each.astype(weight.dtype) for each, weight in zip(found, weights, strict=True))
    return by_x, by_weights, None, None


_half.defvjp(_kept, _backward)
