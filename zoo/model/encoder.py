"""A transformer layer with nothing computed that need not be.

In comes a keras_hub TransformerEncoder that is built; out goes the same object, its weights where they were, computing
the same function by `zoo.backend.transformer`. Attention is fused wherever no weight of it is dropped: Keras fuses only
layers whose rate is 0, so with dropout in a recipe never, not even in prediction. Nothing is refused.
"""

from __future__ import annotations

from typing import Any

import keras_hub
from keras import ops

from zoo.backend import kernels
from zoo.backend.transformer import LayerParts
from zoo.model.dropout import PortableDropout, drop_of


class TransformerEncoder(keras_hub.layers.TransformerEncoder):  # type: ignore[misc]  # Keras ships no types
    """keras-hub's layer with its norms after each half (Devlin et al. 2019), quicker.

    It has keras-hub's name, by which Keras finds a layer's weights in a file.
    """

    def call(
        self,
        inputs: Any,
        padding_mask: Any = None,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Any:
        """Hidden states [batch, length, hidden_dim] from the same.

        Args:
            inputs: hidden states.
            padding_mask: [batch, length], 0 where there is no token.
            attention_mask: [batch, length, length], which keys a query sees; in place of padding_mask.
            training: whether anything is dropped.
            return_attention_scores: whether the attention's weights [batch, heads, length, length] are wanted too.
        """
        by_keras = training and not isinstance(self._feedforward_dropout, PortableDropout)  # its masks are its own
        if by_keras or return_attention_scores:
            return super().call(inputs, padding_mask, attention_mask, training, return_attention_scores)
        mask = padding_mask[:, None, None, :] if attention_mask is None else attention_mask[:, None, :, :]
        return kernels().transformer_layer(self._parts(), inputs, ops.cast(mask, "bool"), bool(training))

    def _parts(self) -> LayerParts:
        attention = self._self_attention_layer
        return LayerParts(
            query=_variables(attention.query_dense),
            key=_variables(attention.key_dense),
            value=_variables(attention.value_dense),
            output=_variables(attention.output_dense),
            inner=_variables(self._feedforward_intermediate_dense),
            outer=_variables(self._feedforward_output_dense),
            attention_norm=_norm(self._self_attention_layer_norm),
            feedforward_norm=_norm(self._feedforward_layer_norm),
            epsilon=self._feedforward_layer_norm.epsilon,
            activation=self.activation,
            weights_drop=drop_of(attention._dropout_layer),
            attention_drop=drop_of(self._self_attention_dropout),
            feedforward_drop=drop_of(self._feedforward_dropout),
        )


def _variables(layer: Any) -> tuple[Any, Any]:
    return layer._kernel, layer.bias


def _norm(layer: Any) -> tuple[Any, Any]:
    return layer.gamma, layer.beta
