"""Keras layers of a transformer encoder that compute by the kernels of `zoo.backend`.

`TransformerEncoder` has its norms after each half (Vaswani et al. 2017, section 3.1; Devlin et al. 2019). It is made of
Keras's own Dense, EinsumDense, LayerNormalization and Dropout layers, by the names that keras-hub gives them. Where
these are as they were built, it computes what they do in one go; where one is quantized, or draws dropout in the
backend's own way, it calls them one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from zoo.backend import kernels, without_tensorflow
from zoo.backend.transformer import MASKED, LayerParts
from zoo.models.adapters import Adapter, adapter_for, applied
from zoo.models.dropout import Masks, PortableDropout, drop_of, dropout
from zoo.models.found_by_keras import PACKAGE

with without_tensorflow():
    import keras_hub


@keras.saving.register_keras_serializable(package=PACKAGE)  # type: ignore[untyped-decorator]
def _gelu_tanh(x: Any) -> Any:
    return keras.activations.gelu(x, approximate=True)


ATTENTION = ("query", "key", "value", "output")
"""Products of attention, in the order of `LayerParts`."""
PRODUCTS = (*ATTENTION, "inner", "outer")
"""All of them, by its fields."""
Products = list[tuple[Any, Adapter | None]]
"""The layers that multiply, in the order of PRODUCTS, each with its adapter."""
ACTIVATIONS = {"gelu": keras.activations.gelu, "gelu_tanh": _gelu_tanh, "relu": keras.activations.relu}
"""By the name that a `BackboneConfig` has for them."""


@keras.saving.register_keras_serializable(package=PACKAGE)
class TokenEmbedding(keras_hub.layers.ReversibleEmbedding):  # type: ignore[misc]  # Keras ships no types
    """keras-hub's embedding of token ids, whose gradient the backend makes in its quickest way."""

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """token_ids [batch, length] to [batch, length, hidden]; with `reverse` as keras-hub's."""
        if reverse or not _as_built(self):
            return super().call(inputs, reverse=reverse)
        return kernels().look_up(self.embeddings, inputs)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SegmentEmbedding(keras.layers.Embedding):  # type: ignore[misc]
    """Keras's embedding of segment ids, likewise."""

    def call(self, inputs: Any) -> Any:
        """segment_ids [batch, length] to [batch, length, hidden]."""
        return kernels().look_up(self.embeddings, inputs) if _as_built(self) else super().call(inputs)


@keras.saving.register_keras_serializable(package=PACKAGE)
class TiedLogits(keras.layers.Layer):  # type: ignore[misc]
    """Scores of a whole vocabulary by its own token embeddings (Press and Wolf 2017) and a bias.

    Args:
        embedding: the layer that holds the embeddings, built.
    """

    def __init__(self, embedding: Any, **named: Any) -> None:
        super().__init__(**named)
        self.embedding = embedding

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        self.bias = self.add_weight(name="bias", shape=(self.embedding.input_dim,), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        """Hidden states [..., hidden] to scores [..., vocabulary]."""
        return self.embedding(inputs, reverse=True) + self.bias

    def compute_output_shape(self, inputs_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*inputs_shape[:-1], self.embedding.input_dim)

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | {"embedding": keras.saving.serialize_keras_object(self.embedding)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config | {"embedding": keras.saving.deserialize_keras_object(config["embedding"])})


def _as_built(layer: Any) -> bool:
    """Whether a layer's weights are what its variables hold: neither quantized nor, of an embedding, adapted."""
    return layer.quantization_mode is None and not (isinstance(layer, keras.layers.Embedding) and layer.lora_enabled)


@keras.saving.register_keras_serializable(package=PACKAGE)
class SelfAttention(keras.layers.Layer):  # type: ignore[misc]
    """Four products and a dropout: the weights of self-attention, by the names of keras.layers.MultiHeadAttention.

    Args:
        num_heads: attention heads.
        dropout: rate on the attention's weights.
        dropout_masks, seed: see `zoo.models.dropout.dropout`.
        initializer: how kernels are drawn.
        adapters: see `TransformerEncoder`.
    """

    def __init__(
        self,
        num_heads: int,
        dropout: float,
        dropout_masks: Masks = "portable",
        seed: int | None = None,
        initializer: Any = "glorot_uniform",
        adapters: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> None:
        super().__init__(**named)
        self.num_heads, self.rate = num_heads, dropout
        self.adapters = dict(adapters or {})
        self.dropout_masks, self.seed = dropout_masks, seed
        self.initializer = keras.initializers.get(initializer)

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        hidden = inputs_shape[-1] or 0
        shape = (None, self.num_heads, hidden // self.num_heads)
        options = {"kernel_initializer": self.initializer, "dtype": self.dtype_policy}
        for name in ("query", "key", "value"):
            dense = keras.layers.EinsumDense("abc,cde->abde", shape, bias_axes="de", name=name, **options)
            dense.build(inputs_shape)
            setattr(self, f"{name}_dense", dense)
        self.dropout = dropout(
            self.rate,
            masks=self.dropout_masks,
            seed=self.seed,
            place="attention_weights",
            dtype=self.dtype_policy,
            name="dropout",
        )
        self.output_dense = keras.layers.EinsumDense(
            "abcd,cde->abe", (None, hidden), bias_axes="e", name="attention_output", **options
        )
        self.output_dense.build((*inputs_shape[:-1], *shape[1:]))
        for name, target in zip(ATTENTION, ("query", "key", "value", "attention_output"), strict=True):
            dense = getattr(self, f"{name}_dense")
            setattr(self, f"{name}_adapter", adapter_for(self, dense, target, inputs=2 if name == "output" else 1))

    def call(self, inputs: Any, mask: Any, training: bool = False) -> tuple[Any, Any]:
        """What attention puts out, and its weights before any is dropped (section 3.2.1 of Vaswani et al. 2017).

        Args:
            inputs: [batch, length, hidden].
            mask: bool [batch, 1, 1 or length, length], which keys a query sees.
            training: whether weights are dropped.

        Returns:
            [batch, length, hidden] and [batch, heads, length, length].
        """
        query, key, value = (
            applied(getattr(self, f"{name}_dense"), getattr(self, f"{name}_adapter"), inputs, training)
            for name in ("query", "key", "value")
        )
        scores = ops.einsum("btnh,bsnh->bnts", query, key) * ops.cast(query.shape[-1] ** -0.5, query.dtype)
        scores = scores + ops.where(mask, ops.cast(0.0, scores.dtype), ops.cast(MASKED, scores.dtype))
        weights = ops.softmax(scores)
        context = ops.einsum("bnts,bsnh->btnh", self.dropout(weights, training=training), value)
        return applied(self.output_dense, self.output_adapter, context, training), weights

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | {
            "num_heads": self.num_heads,
            "dropout": self.rate,
            "dropout_masks": self.dropout_masks,
            "seed": self.seed,
            "initializer": keras.initializers.serialize(self.initializer),
            "adapters": self.adapters,
        }


@keras.saving.register_keras_serializable(package=PACKAGE)
class TransformerEncoder(keras.layers.Layer):  # type: ignore[misc]
    """A layer of a transformer encoder.

    Args:
        intermediate_dim: width of the feed-forward half.
        num_heads: attention heads.
        activation: a key of ACTIVATIONS.
        layer_norm_epsilon: of both norms.
        dropout: rate on what the feed-forward half puts out.
        attention_output_dropout: rate on what attention puts out.
        attention_dropout: rate on the attention's weights.
        dropout_masks, seed: see `zoo.models.dropout.dropout`.
        initializer: how kernels are drawn.
        adapters: which products have low-rank adapters, of query, key, value, attention_output,
            feedforward_intermediate and feedforward_output: `targets`, and their `rank`, `alpha` and rate of `dropout`;
            None adapts none.
    """

    def __init__(
        self,
        intermediate_dim: int,
        num_heads: int,
        activation: str,
        layer_norm_epsilon: float,
        dropout: float,
        attention_output_dropout: float,
        attention_dropout: float,
        dropout_masks: Masks = "portable",
        seed: int | None = None,
        initializer: Any = "glorot_uniform",
        adapters: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> None:
        super().__init__(**named)
        self.adapters = dict(adapters or {})
        self.intermediate_dim, self.num_heads = intermediate_dim, num_heads
        self.activation, self.layer_norm_epsilon = activation, layer_norm_epsilon
        self.dropout, self.attention_output_dropout = dropout, attention_output_dropout
        self.attention_dropout = attention_dropout
        self.dropout_masks, self.seed = dropout_masks, seed
        self.initializer = keras.initializers.get(initializer)
        self.supports_masking = True
        self.remat = False
        """Whether training computes this layer again in the backward pass; of a process, so not in the config."""

    def build(self, inputs_shape: tuple[int | None, ...]) -> None:
        dtype = self.dtype_policy
        norm = {"epsilon": self.layer_norm_epsilon, "dtype": dtype}
        dense = {"kernel_initializer": self.initializer, "dtype": dtype}
        self.self_attention = SelfAttention(
            self.num_heads,
            self.attention_dropout,
            dropout_masks=self.dropout_masks,
            seed=self.seed,
            initializer=self.initializer,
            adapters=self.adapters,
            dtype=dtype,
            name="self_attention_layer",
        )
        self.self_attention_norm = keras.layers.LayerNormalization(name="self_attention_layer_norm", **norm)
        self.self_attention_output_dropout = self._dropout("self_attention_dropout", self.attention_output_dropout)
        self.feedforward_norm = keras.layers.LayerNormalization(name="feedforward_layer_norm", **norm)
        self.feedforward_intermediate = keras.layers.Dense(
            self.intermediate_dim, name="feedforward_intermediate_dense", **dense
        )
        self.feedforward_output = keras.layers.Dense(inputs_shape[-1], name="feedforward_output_dense", **dense)
        self.feedforward_output_dropout = self._dropout("feedforward_dropout", self.dropout)
        for layer in (self.self_attention, self.self_attention_norm, self.feedforward_norm):
            layer.build(inputs_shape)
        self.feedforward_intermediate.build(inputs_shape)
        self.feedforward_output.build((*inputs_shape[:-1], self.intermediate_dim))
        self.intermediate_adapter = adapter_for(self, self.feedforward_intermediate, "feedforward_intermediate")
        self.output_adapter = adapter_for(self, self.feedforward_output, "feedforward_output")

    def _dropout(self, name: str, rate: float) -> Any:
        return dropout(rate, masks=self.dropout_masks, seed=self.seed, place=name, dtype=self.dtype_policy, name=name)

    def call(
        self,
        inputs: Any,
        padding_mask: Any = None,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
    ) -> Any:
        """Hidden states [batch, length, hidden] from the same.

        Args:
            inputs: hidden states.
            padding_mask: [batch, length], 0 where there is no token.
            attention_mask: [batch, length, length], which keys a query sees; in place of padding_mask.
            training: whether anything is dropped.
            return_attention_scores: whether the attention's weights [batch, heads, length, length] are wanted too.
        """
        mask = padding_mask[:, None, None, :] if attention_mask is None else attention_mask[:, None, :, :]
        mask, training = ops.cast(mask, "bool"), bool(training)
        products = self._products
        if self._is_in_one_go(products, training) and not return_attention_scores:
            return kernels().transformer_layer(self._parts(products), inputs, mask, training)
        found, weights = self.self_attention(inputs, mask, training=training)
        found = self.self_attention_output_dropout(found, training=training)
        x = self.self_attention_norm(inputs + found)
        found = applied(self.feedforward_intermediate, self.intermediate_adapter, x, training)
        found = applied(self.feedforward_output, self.output_adapter, ACTIVATIONS[self.activation](found), training)
        x = self.feedforward_norm(x + self.feedforward_output_dropout(found, training=training))
        return (x, weights) if return_attention_scores else x

    def _is_in_one_go(self, products: Products, training: bool) -> bool:
        """Whether the kernels compute what the layers would."""
        portable = isinstance(self.feedforward_output_dropout, PortableDropout)
        beside = any(adapter is not None and adapter.rate for _, adapter in products)
        return ((portable and not beside) or not training) and all(_as_built(dense) for dense, _ in products)

    @property
    def _products(self) -> Products:
        attention = self.self_attention
        return [
            *((getattr(attention, f"{name}_dense"), getattr(attention, f"{name}_adapter")) for name in ATTENTION),
            (self.feedforward_intermediate, self.intermediate_adapter),
            (self.feedforward_output, self.output_adapter),
        ]

    @property
    def adapted(self) -> list[tuple[Adapter, Any]]:
        """The adapters, each with the kernel's variable."""
        return [(adapter, dense.kernel) for dense, adapter in self._products if adapter is not None]

    def _parts(self, products: Products) -> LayerParts:
        attention = self.self_attention
        return LayerParts(
            **{name: _product(*product) for name, product in zip(PRODUCTS, products, strict=True)},
            attention_norm=_norm(self.self_attention_norm),
            feedforward_norm=_norm(self.feedforward_norm),
            epsilon=self.layer_norm_epsilon,
            activation=ACTIVATIONS[self.activation],
            weights_drop=drop_of(attention.dropout),
            attention_drop=drop_of(self.self_attention_output_dropout),
            feedforward_drop=drop_of(self.feedforward_output_dropout),
            remat=self.remat,
        )

    def compute_output_spec(
        self, inputs: Any, *others: Any, return_attention_scores: bool = False, **named: Any
    ) -> Any:
        """See `call`; Keras asks for this where it traces a graph."""
        states = keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return states
        batch, length, _ = inputs.shape
        return states, keras.KerasTensor((batch, self.num_heads, length, length), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        return config | {
            "intermediate_dim": self.intermediate_dim,
            "num_heads": self.num_heads,
            "activation": self.activation,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "dropout": self.dropout,
            "attention_output_dropout": self.attention_output_dropout,
            "attention_dropout": self.attention_dropout,
            "dropout_masks": self.dropout_masks,
            "seed": self.seed,
            "initializer": keras.initializers.serialize(self.initializer),
            "adapters": self.adapters,
        }


class Attending(keras.layers.Layer):  # type: ignore[misc]
    """A `TransformerEncoder` that says where it looked, as a layer of its own: Keras wants each to have one output."""

    def __init__(self, layer: TransformerEncoder) -> None:
        super().__init__(name=f"{layer.name}_attending", dtype=layer.dtype_policy)
        self.layer = layer

    def call(self, inputs: Any, padding_mask: Any) -> Any:
        """Hidden states [batch, length, hidden] and weights [batch, heads, length, length], dropout off."""
        return self.layer(inputs, padding_mask=padding_mask, training=False, return_attention_scores=True)


def _product(dense: Any, adapter: Adapter | None) -> tuple[Any, Any]:
    """Kernel (a variable, or with an adapter the sum of both, in the type of products) and bias."""
    if adapter is None:
        return dense.kernel, dense.bias
    return ops.cast(kernels().array(dense.kernel) + adapter.change(), dense.compute_dtype), dense.bias


def _norm(layer: Any) -> tuple[Any, Any]:
    return layer.gamma, layer.beta
