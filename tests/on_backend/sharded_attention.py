"""`attention` with a batch shared out over two CPU devices, beside that of one; prints the platforms that agree."""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from zoo.backend.pallas_attention import Shape, attention
from zoo.backend.transformer import least_kept

BATCH, LENGTH, HEADS, WIDTH = 4, 24, 4, 32


def main() -> None:
    random = np.random.default_rng(0)
    hidden = HEADS * WIDTH
    qkv, bias, given = (
        random.normal(size=size).astype(np.float32)
        for size in ((BATCH, LENGTH, 3 * hidden), (1, 3 * hidden), (BATCH, LENGTH, hidden))
    )
    seen, state = np.ones((BATCH, 1, LENGTH), np.int8), np.array([5, 3], np.int32)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    for platform in ("tpu", "gpu"):
        shape = Shape(
            batch=BATCH,
            length=LENGTH,
            heads=HEADS,
            width=WIDTH,
            least=least_kept(0.1),
            scale=1 / 0.9,
            platform=platform,
            interpret=True,
        )

        @jax.jit
        def run(qkv, bias, seen, given, shape=shape):
            found, pull = jax.vjp(lambda *floating: attention(*floating, seen, jnp.asarray(state), shape), qkv, bias)
            return found, *pull(given)

        expected = run(qkv, bias, seen, given)
        with jax.set_mesh(mesh):
            shared = [jax.device_put(x, NamedSharding(mesh, PartitionSpec("data"))) for x in (qkv, seen, given)]
            found = run(shared[0], bias, *shared[1:])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-5)
        print(platform)


if __name__ == "__main__":
    main()
