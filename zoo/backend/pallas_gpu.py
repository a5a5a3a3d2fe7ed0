"""Attention in Pallas for an NVIDIA GPU, by Triton, forward and backward; nothing as large as scores is written.

In come jax arrays; out come jax arrays. It goes by blocks of queries and keys (Dao 2023, FlashAttention-2, algorithms 1
and 2), with a softmax in float32 and the mask of dropout computed where it is used, as `zoo.backend.triton_kernels`
does for torch. Never run on a device yet (docs/accelerators.md).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from zoo.backend.pallas_attention import Shape, bits_kept, column_bits, cost, row_bits
from zoo.backend.transformer import MASKED

QUERIES, KEYS = 64, 64
"""Of a block; those that were the quickest of eight for torch's kernels on an H100."""
BACKWARD = 32
"""Queries and keys of a block backward, which holds twice as much in registers."""
WIDTHS = (16, 32, 64, 128)
"""Of heads: powers of two, as Triton wants them."""


def fits(length: int, heads: int, width: int) -> bool:
    """Whether heads of this width can be multiplied."""
    return width in WIDTHS


class _Block:
    """Reads and writes of some rows of one head; what lies beyond the end of a text is read as zero."""

    def __init__(self, rows: Any, length: int) -> None:
        self.rows, self.inside = rows, rows.start + jnp.arange(rows.size) < length
        self.numbers = rows.start + jnp.arange(rows.size)

    def load(self, ref: Any, part: int, bias: Any) -> Any:
        found = plgpu.load(ref.at[self.rows, jnp.int32(part), :], mask=self.inside[:, None], other=0.0)
        return found + bias[part, :].astype(found.dtype)[None, :]

    def store(self, ref: Any, part: int, value: Any) -> None:
        plgpu.store(ref.at[self.rows, jnp.int32(part), :], value.astype(ref.dtype), mask=self.inside[:, None])


def _product(left: Any, right: Any) -> Any:
    return plgpu.dot(left, right, precision=jax.lax.Precision.HIGHEST if left.dtype == jnp.float32 else None)


def _scores(query: Any, key: Any, seen: Any, rows: _Block, columns: _Block, shape: Shape) -> Any:
    """Scaled scores [queries, keys], -inf beyond the end, the rest of what is not seen far down."""
    if seen.shape[0] == 1:
        shown = plgpu.load(seen.at[jnp.int32(0), columns.rows], mask=columns.inside, other=0)[None, :]
    else:
        inside = rows.inside[:, None] & columns.inside[None, :]
        shown = plgpu.load(seen.at[rows.rows, columns.rows], mask=inside, other=0)
    found = _product(query, key.T) * shape.width**-0.5 + jnp.where(shown != 0, 0.0, MASKED)
    return jnp.where(columns.inside[None, :], found, -jnp.inf)


def _dropped(x: Any, drawn: Any, head: Any, rows: _Block, columns: _Block, shape: Shape) -> Any:
    """What stays of a block of weights, scaled; see `Kernels.keep_mask`."""
    if shape.least is None:
        return x
    row = row_bits(drawn, shape.numbers(drawn, head, rows.numbers))
    column = column_bits(drawn, columns.numbers)
    return jnp.where(bits_kept(row[:, None], column[None, :], shape.least), x * shape.scale, 0.0)


def _head(shape: Shape) -> Any:
    """This program's, among all of the batch; asked outside of loops, where it is known."""
    return pl.program_id(2) * shape.heads + pl.program_id(1)


def _forward(drawn: Any, seen: Any, qkv: Any, bias: Any, out: Any, logs: Any, *, shape: Shape) -> None:
    drawn, head = [drawn[place] for place in range(3)], _head(shape)
    rows = _Block(pl.ds(pl.program_id(0) * QUERIES, QUERIES), shape.length)
    query = rows.load(qkv, 0, bias)

    def step(number: Any, carried: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        most, total, found = carried
        columns = _Block(pl.ds(number * KEYS, KEYS), shape.length)
        key, value = columns.load(qkv, 1, bias), columns.load(qkv, 2, bias)
        scores = _scores(query, key, seen, rows, columns, shape)
        more = jnp.maximum(most, scores.max(1))
        shares, shrink = jnp.exp(scores - more[:, None]), jnp.exp(most - more)
        total = total * shrink + shares.sum(1)
        shares = _dropped(shares, drawn, head, rows, columns, shape)
        return more, total, found * shrink[:, None] + _product(shares.astype(value.dtype), value)

    zeros = jnp.zeros((QUERIES, shape.width), jnp.float32)
    begun = (jnp.full((QUERIES,), -jnp.inf, jnp.float32), jnp.zeros((QUERIES,), jnp.float32), zeros)
    most, total, found = jax.lax.fori_loop(0, pl.cdiv(shape.length, KEYS), step, begun)
    plgpu.store(out.at[rows.rows, :], (found / total[:, None]).astype(out.dtype), mask=rows.inside[:, None])
    plgpu.store(logs.at[rows.rows], most + jnp.log(total), mask=rows.inside)


def _backward(
    drawn: Any, seen: Any, qkv: Any, bias: Any, gradient: Any, logs: Any, dots: Any, result: Any, *, shape: Shape
) -> None:
    """Of one block: as queries against all keys, then as keys and values against all queries."""
    drawn, head = [drawn[place] for place in range(3)], _head(shape)
    own = _Block(pl.ds(pl.program_id(0) * BACKWARD, BACKWARD), shape.length)
    zeros = jnp.zeros((BACKWARD, shape.width), jnp.float32)

    def pair(rows: _Block, columns: _Block) -> tuple[Any, ...]:
        """Queries, keys, what was given to the queries, gradients by score, and dropped weights, of two blocks."""
        query, key, value = rows.load(qkv, 0, bias), columns.load(qkv, 1, bias), columns.load(qkv, 2, bias)
        given = plgpu.load(gradient.at[rows.rows, :], mask=rows.inside[:, None], other=0.0)
        log = plgpu.load(logs.at[rows.rows], mask=rows.inside, other=jnp.inf)
        dot = plgpu.load(dots.at[rows.rows], mask=rows.inside, other=0.0)
        weights = jnp.exp(_scores(query, key, seen, rows, columns, shape) - log[:, None])
        by_weight = _dropped(_product(given, value.T), drawn, head, rows, columns, shape)
        by_score = weights * (by_weight - dot[:, None]) * shape.width**-0.5
        dropped = _dropped(weights, drawn, head, rows, columns, shape)
        return query, key, given, by_score.astype(query.dtype), dropped.astype(given.dtype)

    def as_queries(number: Any, by_query: Any) -> Any:
        _, key, _, by_score, _ = pair(own, _Block(pl.ds(number * BACKWARD, BACKWARD), shape.length))
        return by_query + _product(by_score, key)

    def as_keys(number: Any, found: tuple[Any, Any]) -> tuple[Any, Any]:
        by_key, by_value = found
        query, _, given, by_score, dropped = pair(_Block(pl.ds(number * BACKWARD, BACKWARD), shape.length), own)
        return by_key + _product(by_score.T, query), by_value + _product(dropped.T, given)

    blocks = pl.cdiv(shape.length, BACKWARD)
    own.store(result, 0, jax.lax.fori_loop(0, blocks, as_queries, zeros))
    by_key, by_value = jax.lax.fori_loop(0, blocks, as_keys, (zeros, zeros))
    own.store(result, 1, by_key)
    own.store(result, 2, by_value)


def _place(block: Any, head: Any, example: Any) -> tuple[Any, ...]:
    """Where a program's head lies in [batch, length, 3, heads, width]."""
    return example, 0, 0, head, 0


def _specs(shape: Shape, seen: Any) -> list[pl.BlockSpec]:
    """Of what is drawn, mask, queries with keys and values, and their biases [3, heads, width]."""
    return [
        pl.BlockSpec((3,), lambda block, head, example: (0,)),
        pl.BlockSpec((None, *seen.shape[1:]), lambda block, head, example: (example, 0, 0)),
        pl.BlockSpec((None, shape.length, 3, None, shape.width), _place),
        pl.BlockSpec((3, None, shape.width), lambda block, head, example: (0, head, 0)),
    ]


def _rows(shape: Shape) -> pl.BlockSpec:
    """Of a head in [batch, length, heads, width]."""
    return pl.BlockSpec((None, shape.length, None, shape.width), lambda block, head, example: (example, 0, head, 0))


def _numbers(shape: Shape) -> pl.BlockSpec:
    """Of a head in [batch, heads, length]."""
    return pl.BlockSpec((None, None, shape.length), lambda block, head, example: (example, head, 0))


def forward(qkv: Any, bias: Any, seen: Any, drawn: Any, shape: Shape) -> tuple[Any, Any]:
    """See `zoo.backend.pallas_attention.attention`; with it what `backward` wants to have kept."""
    split = (shape.batch, shape.length, 3, shape.heads, shape.width)
    out, logs = pl.pallas_call(
        functools.partial(_forward, shape=shape),
        out_shape=[
            jax.ShapeDtypeStruct((shape.batch, shape.length, shape.heads, shape.width), qkv.dtype),
            jax.ShapeDtypeStruct((shape.batch, shape.heads, shape.length), jnp.float32),
        ],
        grid=(pl.cdiv(shape.length, QUERIES), shape.heads, shape.batch),
        in_specs=_specs(shape, seen),
        out_specs=[_rows(shape), _numbers(shape)],
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=3),
        cost_estimate=cost(shape, 2, [qkv, seen, jax.ShapeDtypeStruct((*split[:2], shape.hidden), qkv.dtype)]),
        interpret=shape.interpret,
        name="attention_forward",
    )(drawn, seen, qkv.reshape(split), bias.reshape(split[2:]))
    return out.reshape(shape.batch, shape.length, shape.hidden), (out, logs)


def backward(
    qkv: Any, bias: Any, seen: Any, drawn: Any, kept: tuple[Any, Any], gradient: Any, shape: Shape
) -> tuple[Any, Any]:
    """Gradients by qkv and by bias."""
    out, logs = kept
    split = (shape.batch, shape.length, 3, shape.heads, shape.width)
    gradient = gradient.reshape(out.shape)
    dots = jnp.einsum("blhw,blhw->bhl", gradient, out, preferred_element_type=jnp.float32)
    found = pl.pallas_call(
        functools.partial(_backward, shape=shape),
        out_shape=jax.ShapeDtypeStruct(split, qkv.dtype),
        grid=(pl.cdiv(shape.length, BACKWARD), shape.heads, shape.batch),
        in_specs=[*_specs(shape, seen), _rows(shape), _numbers(shape), _numbers(shape)],
        out_specs=pl.BlockSpec((None, shape.length, 3, None, shape.width), _place),
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=2),
        cost_estimate=cost(shape, 7, [qkv, seen, gradient, out, qkv]),
        interpret=shape.interpret,
        name="attention_backward",
    )(drawn, seen, qkv.reshape(split), bias.reshape(split[2:]), gradient, logs, dots)
    by_qkv = found.reshape(qkv.shape)
    return by_qkv, by_qkv.sum((0, 1), dtype=jnp.float32).reshape(bias.shape).astype(bias.dtype)
