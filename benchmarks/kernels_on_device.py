"""Kernels of a backend on its device, against the same sums in float64, under the same masks of dropout.

In comes the active backend; out come errors. On a CPU the kernels are computed by their interpreters, at a small size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from zoo.backend import Backend
from zoo.backend.transformer import MASKED, Kernels, least_kept

RATE = 0.1
SEED = (123456, 7)
LIMIT = 1e-2
"""Of an error in bfloat16, which has 8 bits; an H100 was 2.4e-3 off."""
LIMIT_FLOAT32 = 1e-4
EPSILON = 1e-12

Array = np.ndarray[Any, Any]


def sizes(backend: Backend) -> tuple[int, int, int, int]:
    """batch, length, heads and width of what is tried."""
    return (4, 512, 12, 64) if backend.accelerated else (2, 40, 4, 32)


def errors(backend: Backend) -> tuple[dict[str, float], float]:
    """Errors of the backend's own kernels by what they compute, and the most that they may be."""
    batch, length, heads, width = sizes(backend)
    random = np.random.Generator(np.random.PCG64(0))
    qkv, given = (
        random.standard_normal((batch, length, *three, heads, width)).astype(np.float32) for three in ((3,), ())
    )
    seen = random.random((batch, 1, 1, length)) > 0.1
    if backend.name == "torch":
        return _of_triton(backend, qkv, seen, given), LIMIT if backend.accelerated else LIMIT_FLOAT32
    return _of_pallas(backend, qkv, seen, given), LIMIT if backend.accelerated else LIMIT_FLOAT32


def attended(qkv: Array, seen: Array, mask: Array, given: Array) -> tuple[Array, Array]:
    """Attention and its gradient, in float64.

    Args:
        qkv: [batch, length, 3, heads, width].
        seen: [batch, 1, 1, length], which keys are seen.
        mask: [batch, heads, length, length], which weights are kept.
        given: gradient of what is computed, [batch, length, heads, width].

    Returns:
        What is computed, and the gradient by qkv.
    """
    query, key, value = np.moveaxis(qkv.astype(np.float64), (2, 3), (0, 2))
    scale, kept = query.shape[-1] ** -0.5, mask / (1.0 - RATE)
    scores = query @ np.swapaxes(key, -1, -2) * scale + np.where(seen, 0.0, MASKED)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    by_found = np.moveaxis(given.astype(np.float64), 1, 2)
    by_weights = by_found @ np.swapaxes(value, -1, -2) * kept
    by_scores = weights * (by_weights - (by_weights * weights).sum(-1, keepdims=True)) * scale
    by_value = np.swapaxes(weights * kept, -1, -2) @ by_found
    gradient = np.stack([by_scores @ key, np.swapaxes(by_scores, -1, -2) @ query, by_value])
    found = np.moveaxis((weights * kept) @ value, 2, 1)
    return found, np.moveaxis(gradient, (0, 2), (2, 3))


def error(found: Array, expected: Array) -> float:
    """Norm of the difference over the norm."""
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def _of_triton(backend: Backend, qkv: Array, seen: Array, given: Array) -> dict[str, float]:
    import torch
    from keras import ops

    from zoo.backend import triton_kernels
    from zoo.backend.transformer_torch import TorchKernels

    kernels: Any = triton_kernels

    where = ops.zeros(()).device
    kind = torch.bfloat16 if backend.accelerated else torch.float32  # NumPy, which interprets, has no bfloat16
    state = torch.tensor(SEED, device=where)
    least, scale = least_kept(RATE), 1.0 / (1.0 - RATE)

    def sent(array: Array) -> Any:
        return torch.from_numpy(array).to(where, kind)

    def back(tensor: Any) -> Array:
        return np.asarray(tensor.detach().double().cpu())

    def mask(*shape: int) -> Array:
        return np.asarray(TorchKernels(on_cpu=False).keep_mask(state, shape, RATE).cpu())

    batch, length, _, heads, width = qkv.shape
    ours, upward = sent(qkv).requires_grad_(), sent(given)
    found = kernels.Attention.apply(ours, torch.from_numpy(seen).to(where), state, least, scale)
    found.backward(upward)
    expected, gradient = attended(back(ours), seen, mask(batch, heads, length, length), back(upward))
    told = {"attention": error(back(found), expected), "its gradient": error(back(ours.grad), gradient)}

    rows, hidden = batch * length, heads * width
    residual, x = (sent(np.ascontiguousarray(qkv[:, :, part]).reshape(rows, hidden)) for part in (0, 1))
    norm = (torch.linspace(0.5, 1.5, hidden, device=where), torch.linspace(-1.0, 1.0, hidden, device=where))
    summed = back(residual) + back(x) * mask(rows, hidden) * scale
    closed = kernels.Closed.apply(residual, x, *norm, EPSILON, state, least, scale)
    normed = (summed - summed.mean(1, keepdims=True)) / np.sqrt(summed.var(1, keepdims=True) + EPSILON)
    return {**told, "end of a half": error(back(closed), normed * back(norm[0]) + back(norm[1]))}


def _of_pallas(backend: Backend, qkv: Array, seen: Array, given: Array) -> dict[str, float]:
    import jax
    import jax.numpy as jnp

    from zoo.backend.pallas_attention import attention

    batch, length, _, heads, width = qkv.shape
    kind = jnp.bfloat16 if backend.accelerated else jnp.float32
    state = jnp.array(SEED, jnp.int32)
    mask = np.asarray(Kernels().keep_mask(state, (batch, heads, length, length), RATE))
    side_by_side = jnp.asarray(qkv.reshape(batch, length, -1), kind)
    upward = jnp.asarray(given.reshape(batch, length, -1), kind)
    bias = jnp.zeros((1, side_by_side.shape[2]), jnp.float32)
    rounded = np.asarray(side_by_side.astype(jnp.float32)).reshape(qkv.shape)
    expected, gradient = attended(rounded, seen, mask, np.asarray(upward.astype(jnp.float32)).reshape(given.shape))
    found: dict[str, float] = {}
    for platform in _platforms(backend):
        shape = _shape(batch, length, heads, width, platform, interpret=not backend.accelerated)

        @jax.jit
        def run(floating: Any, upward: Any, shape: Any = shape) -> Any:
            keys = jnp.asarray(seen[:, 0], jnp.int8)
            value, pull = jax.vjp(lambda qkv: attention(qkv, bias, keys, state, shape), floating)
            return value, pull(upward)[0]

        value, by_qkv = (np.asarray(each.astype(jnp.float32)) for each in run(side_by_side, upward))
        found[f"{platform} attention"] = error(value.reshape(expected.shape), expected)
        found[f"{platform} gradient"] = error(by_qkv.reshape(gradient.shape), gradient)
    return found


def _platforms(backend: Backend) -> Iterable[Any]:
    """Whose kernels are tried: the device's own, and by the interpreter all."""
    return (backend.device().partition(":")[0],) if backend.accelerated else ("gpu", "tpu")


def _shape(batch: int, length: int, heads: int, width: int, platform: Any, *, interpret: bool) -> Any:
    from zoo.backend.pallas_attention import Shape

    return Shape(
        batch=batch,
        length=length,
        heads=heads,
        width=width,
        least=least_kept(RATE),
        scale=1.0 / (1.0 - RATE),
        platform=platform,
        interpret=interpret,
    )


def both(backend: Backend) -> tuple[Any, Any]:
    """The backend's kernels for its device, and plain products there."""
    if backend.name == "torch":
        from zoo.backend.transformer_torch import CudaKernels, TorchKernels

        return CudaKernels(), TorchKernels(on_cpu=False)
    from zoo.backend.transformer_jax import AcceleratorKernels

    (platform, *_) = _platforms(backend)
    return AcceleratorKernels(platform, interpret=not backend.accelerated), Kernels()


def interpreted(backend: Backend) -> dict[str, Any]:
    """What a recipe has to be for an interpreter: smaller, and of what NumPy multiplies."""
    if backend.accelerated:
        return {}
    small = {"num_layers": 1, "num_heads": 2, "hidden_dim": 64, "intermediate_dim": 64}
    return {"training.precision": "float32", **{f"model.backbone.{name}": size for name, size in small.items()}}


def sharded(backend: Backend) -> dict[str, float] | None:
    """Error of attention that all devices compute together, from what one computes; None where there is one."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import NamedSharding, PartitionSpec

    from zoo.backend.pallas_attention import attention

    devices = jax.devices()
    if len(devices) == 1:
        return None
    _, length, heads, width = sizes(backend)
    batch = 2 * len(devices)
    random = np.random.Generator(np.random.PCG64(0))
    kind = jnp.bfloat16 if backend.accelerated else jnp.float32
    qkv = jnp.asarray(random.standard_normal((batch, length, 3 * heads * width)), kind)
    bias, seen = jnp.zeros((1, qkv.shape[2]), jnp.float32), jnp.ones((batch, 1, length), jnp.int8)
    (platform, *_) = _platforms(backend)
    shape = _shape(batch, length, heads, width, platform, interpret=not backend.accelerated)
    run = jax.jit(lambda qkv, seen: attention(qkv, bias, seen, jnp.array(SEED, jnp.int32), shape))
    expected = np.asarray(run(qkv, seen).astype(jnp.float32))
    data: Any = PartitionSpec
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    with jax.set_mesh(mesh):
        shared = [jax.device_put(each, NamedSharding(mesh, data("data"))) for each in (qkv, seen)]
        found = np.asarray(run(*shared).astype(jnp.float32))
    return {f"{len(devices)} devices": error(found, expected)}


def no_read_back(backend: Backend) -> dict[str, Any]:
    """A whole step in bfloat16 after three others, in which CUDA refuses whatever waits for the device."""
    if not backend.device().startswith("gpu: "):
        return {"left_out": "CUDA alone tells it"}
    from itertools import islice

    import torch

    import recipes
    from zoo.training.prepare import prepare

    changes = {"training.precision": "bfloat16", "training.compile": "off"}
    session = prepare(recipes.load("imdb_bert_2k", profile="smoke", overrides=changes))
    optimizer = session.optimizer(session.rates())
    trainer = session.backend.trainer(session.trained, optimizer, session.objective.loss, precision=session.precision)
    (batch,) = islice(session.epoch_batches(0), 1)
    for _ in range(3):
        trainer.step(batch.inputs, batch.labels, batch.weights)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.step(batch.inputs, batch.labels, batch.weights)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"said": "a whole step after three others waited for nothing", "right": True}
