"""Attention in Pallas for a TPU, forward and backward: scores stay in its vector memory and are never written.

In come jax arrays; out come jax arrays. A program computes the heads of one example that fill 128 lanes, over the whole
length at once: rows of 512 tokens have scores of 1 MiB a head. Heads are told apart by masks over lanes, since a matrix
unit 128 wide would be filled up with zeros for a narrower head anyway. A mask of dropout is computed from row and
column where it is used, with the bits of `Kernels.keep_mask`. Softmax is in float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from zoo.backend.pallas_attention import Shape, bits_kept, column_bits, cost, row_bits
from zoo.backend.transformer import MASKED

LANES = 128
LONGEST = 1024
"""Tokens of a text: ten arrays of scores, of 4 MiB each at this length, are in vector memory together."""


def fits(length: int, heads: int, width: int) -> bool:
    """Whether scores of this length have room, and heads of this width fill registers."""
    return length <= LONGEST and heads * width % lanes_of(width) == 0


def lanes_of(width: int) -> int:
    """Lanes of a group: those of whole heads and of whole registers."""
    return math.lcm(width, LANES)


def groups(shape: Shape) -> int:
    """Of heads that are computed together."""
    return shape.hidden // lanes_of(shape.width)


def first_head(example: Any, group: Any, shape: Shape) -> Any:
    """The number of a group's first head among all of the batch."""
    return (example * groups(shape) + group) * (lanes_of(shape.width) // shape.width)


def _heads(shape: Shape, first: Any) -> Iterator[tuple[Any, Any]]:
    """Of each head of a group, from the first: its number, and which lanes are its own, [1, lanes]."""
    lane = jax.lax.broadcasted_iota(jnp.int32, (1, lanes_of(shape.width)), 1)
    for place in range(lanes_of(shape.width) // shape.width):
        yield first + place, (lane >= place * shape.width) & (lane < (place + 1) * shape.width)


def _dropped(x: Any, drawn: Any, head: Any, shape: Shape) -> Any:
    """What stays of a head's weights [length, length], scaled; which do is as `Kernels.keep_mask` says."""
    if shape.least is None:
        return x
    row = row_bits(drawn, shape.numbers(drawn, head, jax.lax.broadcasted_iota(jnp.int32, (shape.length, 1), 0)))
    column = column_bits(drawn, jax.lax.broadcasted_iota(jnp.int32, (1, shape.length), 1))
    return jnp.where(bits_kept(row, column, shape.least), x * shape.scale, 0.0)


def product(left: Any, right: Any, over: tuple[int, int]) -> Any:
    """The product over these axes, in float32."""
    exact = jax.lax.Precision.HIGHEST if left.dtype == jnp.float32 else None
    dimensions = (((over[0],), (over[1],)), ((), ()))
    return jax.lax.dot_general(left, right, dimensions, precision=exact, preferred_element_type=jnp.float32)


def _weights(query: Any, key: Any, seen: Any, shape: Shape) -> tuple[Any, Any]:
    """exp of the scores less the row's largest, [length, length], and their sums by row, both float32."""
    scores = product(query, key, (1, 1)) * shape.width**-0.5
    scores = scores + jnp.where(seen != 0, 0.0, MASKED)
    shares = jnp.exp(scores - jnp.max(scores, axis=1, keepdims=True))
    return shares, jnp.sum(shares, axis=1, keepdims=True)


def _own(x: Any, lanes: Any) -> Any:
    return jnp.where(lanes, x, jnp.zeros_like(x))


def _with_bias(parts: list[Any]) -> list[Any]:
    """Queries, keys and values of this program, [length, lanes], from references to these and to their biases."""
    products, biases = parts[:3], parts[3:]
    return [x[0] + bias[...].astype(x.dtype) for x, bias in zip(products, biases, strict=True)]


def attended(parts: Sequence[Any], drawn: Any, seen: Any, first: Any, shape: Shape) -> Any:
    """What a group's heads attend to.

    Args:
        parts: queries, keys and values, [length, lanes] each.
        drawn: see `bits_kept`.
        seen: which keys a query sees, int32 [1 or length, length].
        first: number of the group's first head among all of the batch.
        shape: sizes.

    Returns:
        [length, lanes], float32.
    """
    queries, keys, values = parts
    found = jnp.zeros(queries.shape, jnp.float32)
    for head, lanes in _heads(shape, first):
        shares, total = _weights(_own(queries, lanes), keys, seen, shape)
        shares = _dropped(shares, drawn, head, shape)
        found = jnp.where(lanes, product(shares.astype(values.dtype), values, (1, 0)) / total, found)
    return found


def by_attended(parts: Sequence[Any], given: Any, drawn: Any, seen: Any, first: Any, shape: Shape) -> tuple[Any, ...]:
    """Gradients by queries, keys and values, float32, from that by what the heads attend to; see `attended`."""
    queries, keys, values = parts
    zeros = jnp.zeros(queries.shape, jnp.float32)
    by_query, by_key, by_value = zeros, zeros, zeros
    for head, lanes in _heads(shape, first):
        shares, total = _weights(_own(queries, lanes), keys, seen, shape)
        weights = shares / total
        dropped = _dropped(weights, drawn, head, shape).astype(given.dtype)
        by_value = jnp.where(lanes, product(dropped, given, (0, 0)), by_value)
        by_weight = _dropped(product(_own(given, lanes), values, (1, 1)), drawn, head, shape)
        along = jnp.sum(weights * by_weight, axis=1, keepdims=True)
        by_score = (weights * (by_weight - along) * shape.width**-0.5).astype(keys.dtype)
        by_query = jnp.where(lanes, product(by_score, keys, (1, 0)), by_query)
        by_key = jnp.where(lanes, product(by_score, queries, (0, 0)), by_key)
    return by_query, by_key, by_value


def _forward(drawn: Any, seen: Any, *refs: Any, shape: Shape) -> None:
    *parts, out = refs
    first = first_head(pl.program_id(0), pl.program_id(1), shape)
    out[0] = attended(_with_bias(parts), drawn, seen[0].astype(jnp.int32), first, shape).astype(out.dtype)


def _backward(drawn: Any, seen: Any, *refs: Any, shape: Shape) -> None:
    *parts, gradient, result, by_bias = refs
    shown, group = seen[0].astype(jnp.int32), pl.program_id(1)
    first = first_head(pl.program_id(0), group, shape)
    for part, found in enumerate(by_attended(_with_bias(parts), gradient[0], drawn, shown, first, shape)):
        start = pl.multiple_of(part * shape.hidden + group * lanes_of(shape.width), LANES)
        result[0, :, pl.ds(start, lanes_of(shape.width))] = found.astype(result.dtype)
        by_bias[0, :, pl.ds(start, lanes_of(shape.width))] = jnp.sum(found, axis=0, keepdims=True)


def _specs(shape: Shape, seen: Any) -> list[pl.BlockSpec]:
    """Of what is drawn, mask, queries, keys and values, which are parts of one array, and their biases likewise."""
    products, biases = [], []
    for part in range(3):
        place = functools.partial(_place, part * groups(shape))
        products.append(pl.BlockSpec((1, shape.length, lanes_of(shape.width)), place))
        biases.append(pl.BlockSpec((1, lanes_of(shape.width)), lambda *program, place=place: place(*program)[1:]))
    return [
        pl.BlockSpec(memory_space=pltpu.SMEM),
        pl.BlockSpec((1, *seen.shape[1:]), lambda example, group: (example, 0, 0)),
        *products,
        *biases,
    ]


def _place(first: int, example: Any, group: Any) -> tuple[Any, ...]:
    """Where a program's block of [batch, length, lanes] is, in blocks, from the first group on."""
    return example, 0, first + group


def _parameters(shape: Shape, itemsize: int) -> pltpu.CompilerParams:
    """Room for the blocks, each twice, and for ten arrays of scores."""
    blocks = 2 * itemsize * shape.length * (3 * shape.hidden + 4 * lanes_of(shape.width))
    needed = blocks + 10 * 4 * shape.length**2
    return pltpu.CompilerParams(
        dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=max(16 * 2**20, min(needed, 96 * 2**20))
    )


def forward(qkv: Any, bias: Any, seen: Any, drawn: Any, shape: Shape) -> tuple[Any, None]:
    """See `zoo.backend.pallas_attention.attention`; nothing is kept for `backward`."""
    out = jax.ShapeDtypeStruct((shape.batch, shape.length, shape.hidden), qkv.dtype)
    found = pl.pallas_call(
        functools.partial(_forward, shape=shape),
        out_shape=out,
        grid=(shape.batch, groups(shape)),
        in_specs=_specs(shape, seen),
        out_specs=_by_group(shape),
        compiler_params=_parameters(shape, qkv.dtype.itemsize),
        cost_estimate=cost(shape, 2, [qkv, seen, out]),
        interpret=shape.interpret,
        name="attention_forward",
    )(drawn, seen, qkv, qkv, qkv, bias, bias, bias)
    return found, None


def backward(qkv: Any, bias: Any, seen: Any, drawn: Any, kept: None, gradient: Any, shape: Shape) -> tuple[Any, Any]:
    """Gradients by qkv and by bias."""
    # One block for all groups of an example: each writes its own lanes of it.
    whole = [(1, shape.length, 3 * shape.hidden), (1, 1, 3 * shape.hidden)]
    by_qkv, by_bias = pl.pallas_call(
        functools.partial(_backward, shape=shape),
        out_shape=[
            jax.ShapeDtypeStruct(qkv.shape, qkv.dtype),
            jax.ShapeDtypeStruct((shape.batch, 1, 3 * shape.hidden), jnp.float32),
        ],
        grid=(shape.batch, groups(shape)),
        in_specs=[*_specs(shape, seen), _by_group(shape)],
        out_specs=[pl.BlockSpec(block, lambda example, group: (example, 0, 0)) for block in whole],
        compiler_params=_parameters(shape, qkv.dtype.itemsize),
        cost_estimate=cost(shape, 5, [qkv, seen, gradient, qkv]),
        interpret=shape.interpret,
        name="attention_backward",
    )(drawn, seen, qkv, qkv, qkv, bias, bias, bias, gradient)
    return by_qkv, by_bias.sum(0).astype(bias.dtype)


def _by_group(shape: Shape) -> pl.BlockSpec:
    return pl.BlockSpec((1, shape.length, lanes_of(shape.width)), functools.partial(_place, 0))
