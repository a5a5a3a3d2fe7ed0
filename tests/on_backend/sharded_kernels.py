"""Kernels on a batch that two CPU devices share, beside one; prints what agrees: `attention` by platform, halves."""

from __future__ import annotations

import os
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from zoo.backend import pallas_attention_half, pallas_feedforward
from zoo.backend.pallas_attention import Shape, attention
from zoo.backend.transformer import least_kept

BATCH, LENGTH, HEADS, WIDTH = 4, 24, 4, 32


INNER, ROWS = 128, 256
RANDOM = np.random.default_rng(0)
MESH = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))


def normal(*size: int) -> Any:
    return RANDOM.normal(size=size).astype(np.float32)


def agree(function: Any, shared: list[Any], everywhere: list[Any]) -> None:
    """Values and gradients, the first dimension of `shared` on two devices and on one.

    Args:
        function: of all arrays, in this order.
        shared: the first has a gradient.
        everywhere: all have one.
    """
    first, *rest = shared
    given = normal(*jax.eval_shape(function, *shared, *everywhere).shape)

    @jax.jit
    def run(first: Any, rest: Any, given: Any) -> Any:
        found, pull = jax.vjp(lambda first, *weights: function(first, *rest, *weights), first, *everywhere)
        return found, *pull(given)

    expected = run(first, rest, given)
    with jax.set_mesh(MESH):
        found = run(*jax.device_put((first, rest, given), NamedSharding(MESH, PartitionSpec("data"))))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def shape_for(platform: Any, length: int) -> Shape:
    return Shape(
        batch=BATCH,
        length=length,
        heads=HEADS,
        width=WIDTH,
        least=least_kept(0.1),
        scale=1 / 0.9,
        platform=platform,
        interpret=True,
    )


def main() -> None:
    hidden = HEADS * WIDTH
    seen, state = np.ones((BATCH, 1, LENGTH), np.int8), np.array([5, 3], np.int32)
    for platform in ("tpu", "gpu"):
        shape = shape_for(platform, LENGTH)

        def attended(qkv: Any, seen: Any, bias: Any, shape: Shape = shape) -> Any:
            return attention(qkv, bias, seen, jnp.asarray(state), shape)

        agree(attended, [normal(BATCH, LENGTH, 3 * hidden), seen], [normal(1, 3 * hidden)])
        print(platform)
    shape = shape_for("tpu", ROWS // BATCH)
    first = pallas_attention_half.Half(shape=shape, least=shape.least, scale=shape.scale)
    second = pallas_feedforward.Half(
        rows=ROWS,
        hidden=hidden,
        inner=INNER,
        activation=jax.nn.relu,
        epsilon=1e-6,
        least=shape.least,
        scale=shape.scale,
        interpret=True,
    )

    def halves(x: Any, seen: Any, *weights: Any) -> Any:
        states = jnp.asarray([*state, *state])
        x = pallas_attention_half.attention_half(x, seen, weights[:4], states, first)
        return pallas_feedforward.feedforward(x.reshape(ROWS, hidden), weights[4:], jnp.asarray(state), second)

    vector = (1, hidden)
    sizes = [(hidden, 3 * hidden), (1, 3 * hidden), (hidden, hidden), vector]
    sizes += [vector, vector, (hidden, INNER), (1, INNER), (INNER, hidden), vector, vector, vector]
    seen = np.ones((BATCH, 1, ROWS // BATCH), np.int8)
    agree(halves, [normal(BATCH, ROWS // BATCH, hidden), seen], [normal(*size) * size[-1] ** -0.5 for size in sizes])
    print("halves")


if __name__ == "__main__":
    main()
