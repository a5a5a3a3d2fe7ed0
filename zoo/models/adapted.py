"""The low-rank adapters of a model: filled at its start, and added to the kernels at its end.

In comes a model from `zoo.models.builder`; out come its adapters, or its weights without them. Nothing is refused.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from zoo.models import weights

__all__ = ["adapted", "draw", "merged"]


def adapted(model: Any) -> list[tuple[Any, Any]]:
    """The adapters of a model, each with the variable of the kernel that it adapts."""
    return [pair for layer in model.get_layer("backbone").transformer_layers for pair in layer.adapted]


def draw(model: Any, seed: int) -> None:
    """Fill adapters as peft does: A uniform within 1 / sqrt(inputs), B zero, so that at first nothing is added.

    By NumPy, the same on every backend.
    """
    for adapter, _ in adapted(model):
        random = np.random.Generator(np.random.PCG64([seed, zlib.crc32(adapter.lora_a.path.encode())]))
        bound = adapter.lora_a.shape[0] ** -0.5
        adapter.lora_a.assign(random.uniform(-bound, bound, adapter.lora_a.shape).astype(np.float32))
        adapter.lora_b.assign(np.zeros(adapter.lora_b.shape, np.float32))


def merged(model: Any) -> dict[str, np.ndarray]:
    """The weights of a model by path, the adapters of each kernel added to it."""
    found = {variable.path: weights.to_numpy(variable) for variable in weights.parameters(model)}
    for adapter, kernel in adapted(model):
        # Not Adapter.change, which a device may multiply in less than float32.
        change = weights.to_numpy(adapter.lora_a) @ weights.to_numpy(adapter.lora_b) * (adapter.alpha / adapter.rank)
        found[kernel.path] = found[kernel.path] + change.reshape(kernel.shape)
    return found
