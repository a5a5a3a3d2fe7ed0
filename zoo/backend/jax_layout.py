"""JAX: models whose weights are made in parts, each on another device, by Keras's layouts; and how they compute.

Importing this imports Keras.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from zoo.backend.base import Cut
from zoo.backend.jax_mesh import MODEL, ROWS, Mesh, divides, in_mesh
from zoo.backend.transformer import Drop, Kernels, LayerParts

__all__ = ["Divided", "JaxKernels"]


class Divided(keras.distribution.ModelParallel):  # type: ignore[misc]  # Keras ships no types
    """Within its `scope` variables are made as `cut` says, over a mesh of rows and parts.

    Keras keeps a variable's layout: what is assigned to it is laid out likewise, and so is what an optimizer that is
    built on it keeps of it, also outside the scope.
    """

    def __init__(self, mesh: Mesh, cut: Cut) -> None:
        grid = keras.distribution.DeviceMesh(mesh.devices.shape, (ROWS, MODEL), mesh.devices)
        layouts = keras.distribution.LayoutMap(grid)  # empty: patterns of names know no sizes
        super().__init__(layout_map=layouts, batch_dim_name=ROWS, auto_shard_dataset=False)
        self._cut = cut

    def get_variable_layout(self, variable: Any) -> Any:
        """Keras asks for it before a variable has a value."""
        place = self._cut(variable.path, tuple(variable.shape))
        axes = [MODEL if dimension == place else None for dimension in range(len(variable.shape))]
        return keras.distribution.TensorLayout(axes, self.device_mesh)


class JaxKernels(Kernels):
    """In keras.ops, which XLA fuses, and shares out where devices have parts of weights."""

    def transformer_layer(self, parts: LayerParts, x: Any, mask: Any, training: bool) -> Any:
        if divides():
            # Embeddings are cut by width: left to itself XLA would have hidden states so in all layers, and put them
            # together before each product.
            x = in_mesh(x, ROWS)
        return super().transformer_layer(parts, x, mask, training)

    def _projected(self, parts: LayerParts, x: Any) -> list[Any]:
        if not divides():
            return super()._projected(parts, x)
        # As one product: of three, devices would sum each one's gradient by x.
        hidden, heads, width = parts.query[0].shape
        kernels = [ops.reshape(kernel, (hidden, heads * width)) for kernel, _ in parts.attended]
        found = ops.tensordot(x, ops.stack(kernels, axis=1), 1)
        biases = [ops.reshape(bias, (heads * width,)) for _, bias in parts.attended]
        return [found[:, place] + bias for place, bias in enumerate(biases)]

    def _attention(self, query: Any, key: Any, value: Any, mask: Any, drop: Drop, state: Any | None) -> Any:
        if state is None and divides():  # kernels that Keras would take are not shared out
            return ops.dot_product_attention(query, key, value, mask=mask, flash_attention=False)
        return super()._attention(query, key, value, mask, drop, state)
