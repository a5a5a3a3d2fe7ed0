"""A transformer layer that says where it looked.

In comes a layer of a model; out come its hidden states and, beside them, the weights of its attention. Nothing is
refused.
"""

from __future__ import annotations

from typing import Any

import keras


class Attending(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """`zoo.model.encoder.TransformerEncoder` with both of its outputs; a layer of its own, as Keras works out one
    output for the layer itself while a model is traced."""

    def __init__(self, layer: Any) -> None:
        super().__init__(name=f"{layer.name}_attending", dtype=layer.dtype_policy)
        self.layer = layer

    def call(self, inputs: Any, padding_mask: Any) -> Any:
        """Hidden states [batch, length, hidden_dim] to the same of the next layer and weights [batch, heads, length,
        length], dropout off."""
        return self.layer(inputs, padding_mask=padding_mask, training=False, return_attention_scores=True)
