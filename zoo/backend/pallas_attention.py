"""Attention that writes nothing as large as its scores, with dropout, by Pallas: one function for TPUs and GPUs.

The kernels are in `pallas_tpu` and `pallas_gpu`; what both have is here: sizes, the bits of a mask, and the gradient.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from zoo.backend.transformer import COLUMNS, ROWS, mix

Platform = Literal["tpu", "gpu"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of one attention, and how it drops.

    least: see `zoo.backend.transformer.least_kept`; None where nothing is dropped. scale: what is kept is multiplied by
    it. platform: whose kernels. interpret: whether a CPU computes them, operation by operation.
    """

    batch: int
    length: int
    heads: int
    width: int
    least: int | None
    scale: float
    platform: Platform
    interpret: bool

    @property
    def hidden(self) -> int:
        return self.heads * self.width

    def numbers(self, drawn: Any, head: Any, queries: Any) -> Any:
        """The numbers of a mask's rows in the whole batch.

        Args:
            drawn: int32 [3], the third the number of this device's first example.
            head: number among all heads of this device's examples, from 0.
            queries: numbers of queries.
        """
        return (drawn[2] * self.heads + head) * self.length + queries


def fits(platform: Platform, length: int, heads: int, width: int) -> bool:
    """Whether the platform's kernels can do texts of this length, with heads of this width."""
    return bool(_kernels(platform).fits(length, heads, width))


def _kernels(platform: Platform) -> Any:
    return importlib.import_module(f"zoo.backend.pallas_{platform}")


def cost(shape: Shape, products: int, arrays: Sequence[Any]) -> pl.CostEstimate:
    """What XLA cannot see of a kernel: the operations of so many products, and each array read or written once."""
    pairs = shape.batch * shape.heads * shape.length**2
    return pl.CostEstimate(
        flops=2 * products * pairs * shape.width,
        transcendentals=pairs,
        bytes_accessed=sum(array.size * array.dtype.itemsize for array in arrays),
    )


def row_bits(drawn: Any, rows: Any) -> Any:
    """What is mixed of the numbers of rows; see `Kernels.keep_mask`.

    Args:
        drawn: of a mask, int32 [2] or more: its seed and its counter.
        rows: their numbers in the whole batch.
    """
    return mix(rows ^ mix(drawn[0] + drawn[1] * ROWS, _shifted), _shifted)


def column_bits(drawn: Any, columns: Any) -> Any:
    """What is mixed of the numbers of columns."""
    key = mix(drawn[0] + drawn[1] * ROWS, _shifted)
    return mix(columns ^ mix(key + COLUMNS, _shifted), _shifted)


def bits_kept(row: Any, column: Any, least: int) -> Any:
    """Which positions stay, from what was mixed of their rows and columns."""
    return (row + column) * (2 * row + (2 * column + 1)) >= least


def _shifted(x: Any, places: int) -> Any:
    return jax.lax.shift_right_logical(x, jnp.full_like(x, places))


def attention(qkv: Any, bias: Any, seen: Any, state: Any, shape: Shape) -> Any:
    """Softmax of scaled scores, some of it dropped, times values.

    Where the batch is shared out over the devices of a mesh (`jax.set_mesh`), each computes its own examples, under the
    mask that one device would draw.

    Args:
        qkv: products of queries, keys and values side by side, [batch, length, 3 * hidden].
        bias: what is added to them, [1, 3 * hidden].
        seen: which keys a query sees, 1 or 0, int8 [batch, 1 or length, length].
        state: what the mask is drawn from, int32 [2], see `Kernels.keep_mask`.
        shape: sizes, rate and platform.

    Returns:
        [batch, length, hidden].
    """
    own = replace(shape, batch=shape.batch // devices())

    def share(number: Any, qkv: Any, seen: Any, bias: Any, state: Any) -> Any:
        drawn = jnp.concatenate([state, jnp.full(1, number * own.batch, jnp.int32)])
        return _attention(qkv, bias, seen, drawn, own)

    return on_each_device(share, (qkv, seen), (bias, state))


def devices() -> int:
    """How many share a batch: those of the mesh of `jax.set_mesh`."""
    mesh = jax.sharding.get_abstract_mesh()
    return 1 if mesh.empty else int(mesh.size)


def on_each_device(compute: Callable[..., Any], shared: Sequence[Any], everywhere: Sequence[Any]) -> Any:
    """What each device computes of its part of the first dimension of `shared`, put together.

    Args:
        compute: takes a device's number, its part of each array of `shared`, and `everywhere`.
        shared: arrays whose first dimensions the devices share equally.
        everywhere: arrays that each has whole; their gradients are summed over the devices.
    """
    if devices() == 1:
        return compute(0, *shared, *everywhere)
    axes = jax.sharding.get_abstract_mesh().axis_names
    data, whole = jax.sharding.PartitionSpec(axes), jax.sharding.PartitionSpec()
    # Pallas does not say how what it computes varies over a mesh, so that is not checked.
    mapped = jax.shard_map(
        lambda *given: compute(jax.lax.axis_index(axes), *given),
        in_specs=(*[data] * len(shared), *[whole] * len(everywhere)),
        out_specs=data,
        check_vma=False,
    )
    return mapped(*shared, *everywhere)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _attention(qkv: Any, bias: Any, seen: Any, drawn: Any, shape: Shape) -> Any:
    """`attention` on one device; drawn is state and, as third, the number of its first example in the whole batch."""
    return _forward(qkv, bias, seen, drawn, shape)[0]


def _forward(qkv: Any, bias: Any, seen: Any, drawn: Any, shape: Shape) -> tuple[Any, Any]:
    found, kept = _kernels(shape.platform).forward(qkv, bias, seen, drawn, shape)
    return found, (qkv, bias, seen, drawn, kept)


def _backward(shape: Shape, saved: Any, gradient: Any) -> tuple[Any, Any, None, None]:
    by_qkv, by_bias = _kernels(shape.platform).backward(*saved, gradient, shape)
    return by_qkv, by_bias, None, None


_attention.defvjp(_forward, _backward)
