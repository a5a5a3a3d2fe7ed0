"""Low-rank adapters of a transformer layer's products (Hu et al. 2021, LoRA, section 4.1).

An adapted product computes x (W + alpha / rank * A B), with A [inputs, rank] and B [rank, outputs] in place of a change
of W, which stays as it is. The kernels take the sum as the product's kernel, so that they are as quick as ever; where
the adapter drops some of what it reads, it is computed beside the product. Keras's own `enable_lora` gives a kernel of
attention another A for each head and one B for all, which is another method: these are peft's.
Importing this imports Keras.
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.backend import kernels
from zoo.models import weights
from zoo.models.dropout import Masks, dropout, seed_at
from zoo.models.found_by_keras import PACKAGE

__all__ = ["Adapter", "adapted", "adapter_for", "applied", "draw", "merged", "variables"]


@keras.saving.register_keras_serializable(package=PACKAGE)
class Adapter(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """What is added to a product.

    Args:
        inputs: leading dimensions of the kernel that it sums over, one or two.
        kernel_shape: of the product's kernel.
        rank: columns of A.
        alpha: the sum is scaled by alpha / rank.
        rate: share of what A reads that is dropped in training.
        masks, seed: see `zoo.models.dropout.dropout`.
    """

    def __init__(
        self,
        inputs: int,
        kernel_shape: tuple[int, ...],
        *,
        rank: int,
        alpha: float,
        rate: float = 0.0,
        masks: Masks = "portable",
        seed: int | None = None,
        **named: Any,
    ) -> None:
        super().__init__(**named)
        self.inputs, self.kernel_shape = inputs, tuple(kernel_shape)
        self.rank, self.alpha, self.rate, self.masks, self.seed = rank, alpha, rate, masks, seed
        self.dropout = dropout(rate, masks=masks, seed=seed, place=self.name, name="dropout", dtype=self.dtype_policy)

    def build(self, inputs_shape: Any = None) -> None:
        read, written = math.prod(self.kernel_shape[: self.inputs]), math.prod(self.kernel_shape[self.inputs :])
        # In float32 whatever the policy: the kernel that they are added to is.
        given: dict[str, Any] = {"initializer": "zeros", "autocast": False}
        self.lora_a = self.add_weight(name="lora_a", shape=(read, self.rank), **given)
        self.lora_b = self.add_weight(name="lora_b", shape=(self.rank, written), **given)
        self.built = True

    def change(self) -> Any:
        """What is added to the kernel, of its shape, float32."""
        product = ops.matmul(kernels().array(self.lora_a), kernels().array(self.lora_b))
        return ops.reshape(product * (self.alpha / self.rank), self.kernel_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """What is added to the product, [batch, length, ...], from what the product reads."""
        batch, length = ops.shape(inputs)[:2]
        x = ops.reshape(inputs, (batch, length, self.lora_a.shape[0]))
        x = self.dropout(x, training=training)
        found = ops.matmul(ops.matmul(x, ops.cast(self.lora_a, x.dtype)), ops.cast(self.lora_b, x.dtype))
        found = found * ops.cast(self.alpha / self.rank, x.dtype)
        return ops.reshape(found, (batch, length, *self.kernel_shape[self.inputs :]))

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        names = ("inputs", "kernel_shape", "rank", "alpha", "rate", "masks", "seed")
        return config | {name: getattr(self, name) for name in names}


def adapter_for(layer: Any, dense: Any, target: str, inputs: int = 1) -> Adapter | None:
    """The adapter that a layer has beside one of its products, built; None where it has none.

    Args:
        layer: as `zoo.models.layers.TransformerEncoder`, with its `adapters`, seed and masks.
        dense: the product, built.
        target: what recipes call it.
        inputs: leading dimensions of its kernel that it sums over.
    """
    wanted = layer.adapters
    if target not in wanted.get("targets", ()):
        return None
    adapter = Adapter(
        inputs,
        dense.kernel.shape,
        rank=wanted["rank"],
        alpha=wanted["alpha"],
        rate=wanted["dropout"],
        masks=layer.dropout_masks,
        seed=None if layer.seed is None else seed_at(layer.seed, target),
        name=f"{target}_adapter",
        dtype=layer.dtype_policy,
    )
    adapter.build()
    return adapter


def applied(dense: Any, adapter: Adapter | None, inputs: Any, training: bool) -> Any:
    """What a product gives, with what its adapter adds."""
    found = dense(inputs)
    return found if adapter is None else found + adapter(inputs, training=training)


def variables(model: Any) -> list[Any]:
    """A and B of all adapters of a model; none where it has none."""
    return [variable for adapter, _ in adapted(model) for variable in (adapter.lora_a, adapter.lora_b)]


def adapted(model: Any) -> list[tuple[Adapter, Any]]:
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
        change = weights.to_numpy(adapter.lora_a) @ weights.to_numpy(adapter.lora_b) * (adapter.alpha / adapter.rank)
        found[kernel.path] = found[kernel.path] + change.reshape(kernel.shape)
    return found
