"""Kernels for a TPU whose programs each take some rows of all texts, with all weights in vector memory.

In come jax arrays; out come results by rows, and gradients of weights, which are summed over the programs in vector
memory and written once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from zoo.backend.pallas_attention import bits_kept, column_bits, row_bits

ROOM = 100 * 2**20
"""Bytes of vector memory that a kernel may take, of 128 MiB."""


def called(
    program: Callable[..., None],
    *,
    name: str,
    programs: int,
    drawn: Any,
    arrays: Sequence[Any],
    weights: Sequence[Any],
    outs: Sequence[Any],
    sums: Sequence[Any],
    scratch: Sequence[tuple[tuple[int, int], Any]],
    operations: int,
    transcendentals: int,
    room: int,
    interpret: bool,
) -> Any:
    """The results of a kernel.

    Args:
        program: takes references to drawn, arrays, weights, outs, sums and scratch.
        name: of the kernel.
        programs: how many share the rows.
        drawn: what masks are drawn from, int32.
        arrays: [all rows, n], of which a program has its rows, or [programs, m, n], of which it has one.
        weights: [m, n], which each program has whole.
        outs: arrays; results have their shapes and types, and programs have parts of them as of `arrays`.
        sums: arrays; further results have their shapes and types, and each program has them whole.
        scratch: shapes and types of what a program has to itself.
        operations, transcendentals: of all programs.
        room: bytes of vector memory.
        interpret: whether a CPU computes it, operation by operation.
    """

    def own(array: Any) -> pl.BlockSpec:
        if array.ndim == 3:
            return pl.BlockSpec((1, *array.shape[1:]), lambda number: (number, 0, 0))
        return pl.BlockSpec((array.shape[0] // programs, array.shape[1]), lambda number: (number, 0))

    def whole(array: Any) -> pl.BlockSpec:
        # Once and not twice, as the next program has the same.
        return pl.BlockSpec(array.shape, lambda number: (0, 0), pipeline_mode=pl.Buffered(1))

    by_rows, summed = ([shaped(array.shape, array.dtype) for array in group] for group in (outs, sums))
    moved = [*arrays, *weights, *by_rows, *summed]
    return pl.pallas_call(
        program,
        out_shape=[*by_rows, *summed],
        grid=(programs,),
        in_specs=[pl.BlockSpec(memory_space=pltpu.SMEM), *map(own, arrays), *map(whole, weights)],
        out_specs=[*map(own, by_rows), *map(whole, summed)],
        scratch_shapes=[pltpu.VMEM(*each) for each in scratch],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",), vmem_limit_bytes=room + 2**24),
        cost_estimate=pl.CostEstimate(
            flops=operations,
            transcendentals=transcendentals,
            bytes_accessed=sum(array.size * array.dtype.itemsize for array in moved),
        ),
        interpret=interpret,
        name=name,
    )(drawn, *arrays, *weights)


def shaped(shape: tuple[int, ...], kind: Any) -> Any:
    """Something with this shape and type."""
    return jax.ShapeDtypeStruct(shape, kind)  # type: ignore[no-untyped-call]


def begin(refs: Sequence[Any]) -> None:
    """Zeros, in the first program, where programs add up."""

    @pl.when(pl.program_id(0) == 0)
    def _() -> None:
        for ref in refs:
            ref[...] = jnp.zeros_like(ref)


def finish(pairs: Sequence[tuple[Any, Any]]) -> None:
    """What was added up, in the last program, into a result: pairs of references from and to."""

    @pl.when(pl.program_id(0) == pl.num_programs(0) - 1)
    def _() -> None:
        for summed, result in pairs:
            result[...] = summed[...].astype(result.dtype)


def add(ref: Any, found: Any) -> None:
    """Add the sum of found [rows, n] over rows to a reference [1, n]."""
    ref[...] += jnp.sum(found, axis=0, keepdims=True)


def dropped(x: Any, state: tuple[Any, Any], first: Any, least: int | None, scale: float) -> Any:
    """What stays of a program's rows [rows, hidden], scaled; see `Kernels.keep_mask`.

    Args:
        x: float32.
        state: seed and counter.
        first: the number of the first of all programs' rows in the whole batch.
        least: see `zoo.backend.transformer.least_kept`; None where nothing is dropped.
        scale: what is kept is multiplied by it.
    """
    if least is None:
        return x
    begun = first + pl.program_id(0) * x.shape[0]
    row = row_bits(state, begun + jax.lax.broadcasted_iota(jnp.int32, (x.shape[0], 1), 0))
    column = column_bits(state, jax.lax.broadcasted_iota(jnp.int32, (1, x.shape[1]), 1))
    return jnp.where(bits_kept(row, column, least), x * scale, 0.0)


def each_part(number: int, width: int, compute: Callable[[Any, Callable[..., Any]], None]) -> None:
    """Call a function for each part of so many columns: with the part's number, and with what gives its columns in an
    array of several times `number * width` columns, of which time."""

    def part(place: Any, carried: None) -> None:
        def columns(time: int = 0) -> Any:
            return pl.ds(pl.multiple_of((time * number + place) * width, 128), width)

        compute(place, columns)

    jax.lax.fori_loop(0, number, part, None)


def sums_of(weights: Sequence[Any]) -> list[Any]:
    """What the gradients of weights are like: of kernels like them, of vectors float32, in which they are added up."""
    return [weight if weight.shape[0] > 1 else shaped(weight.shape, jnp.float32) for weight in weights]
