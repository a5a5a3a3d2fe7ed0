"""A `BackboneConfig` as a keras-hub backbone, made of our own layers or of Keras's and keras-hub's.

In comes a config; out comes a subclass of keras-hub's class of the family, which computes with `zoo.models.layers`.
What keras-hub's class fixes (the kind of GELU, the layer norms' epsilon, one rate for all dropout) it has as arguments.
Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras

from zoo.backend import without_tensorflow
from zoo.models.backbone import BackboneConfig
from zoo.models.dropout import Masks, dropout, seed_at
from zoo.models.families import FAMILIES
from zoo.models.found_by_keras import PACKAGE
from zoo.models.layers import SegmentEmbedding, TokenEmbedding, TransformerEncoder
from zoo.models.topology import Layers, encode

with without_tensorflow():
    import keras_hub

INITIAL_RANGE = 0.02
"""Standard deviation of fresh weights, as BERT, DistilBERT and RoBERTa draw them."""
FLOAT32 = ("token_embedding", "position_embedding", "segment_embedding", "embeddings_add", "embeddings_layer_norm")
"""Layers that compute in float32 in mixed precision too: few rows are looked up, and Keras would cast the whole table
for them, and the gradient back."""


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """Of which classes an encoder's layers are; each is called with a name and a dtype beside what stands here."""

    tokens: Callable[..., Any]
    """(vocabulary_size, hidden_dim)."""
    segments: Callable[..., Any]
    """(num_segments, hidden_dim)."""
    dropout: Callable[..., Any]
    """(rate)."""
    transformer: Callable[..., Any]
    """()."""


def encoder_layers(config: BackboneConfig, kinds: Kinds, *, initializer: Any, dtype: Any) -> Layers:
    """The layers of an encoder by name, as `zoo.models.topology.encode` wants them; BERT's pooler among them."""
    family = FAMILIES[config.family]
    size = config.hidden_dim

    def named(name: str) -> dict[str, Any]:
        return {"name": name, "dtype": "float32" if name in FLOAT32 else dtype}

    def embedding(kind: Callable[..., Any], rows: int, name: str) -> Any:
        return kind(rows, size, embeddings_initializer=_drawn(initializer), **named(name))

    layers: dict[str, Any] = {
        "token_embedding": embedding(kinds.tokens, config.vocabulary_size, "token_embedding"),
        "position_embedding": keras_hub.layers.PositionEmbedding(
            config.max_positions, initializer=_drawn(initializer), **named("position_embedding")
        ),
    }
    if family.embeddings is not None:  # their variables have the paths that keras-hub's class gives them
        with keras.name_scope(family.embeddings):
            layers["token_embedding"].build((None, None))
            layers["position_embedding"].build((None, None, size))
    if config.num_segments is not None:
        layers["segment_embedding"] = embedding(kinds.segments, config.num_segments, "segment_embedding")
    layers |= {
        "embeddings_add": keras.layers.Add(**named("embeddings_add")),
        "embeddings_layer_norm": keras.layers.LayerNormalization(
            epsilon=config.layer_norm_epsilon, **named("embeddings_layer_norm")
        ),
        "embeddings_dropout": kinds.dropout(config.dropout, **named("embeddings_dropout")),
    }
    for number in range(config.num_layers):
        name = f"transformer_layer_{number}"
        layers[name] = kinds.transformer(**named(name))
    if family.dense == "pooled_dense":
        layers["pooled_dense"] = keras.layers.Dense(
            size,
            activation=family.dense_activation,
            kernel_initializer=_drawn(initializer),
            **named("pooled_dense"),
        )
    return layers


def encoder_graph(layers: Layers) -> tuple[dict[str, Any], Any]:
    """Inputs and outputs of an encoder as keras-hub's classes have them.

    Returns:
        token_ids, padding_mask (and segment_ids), each [batch, length] int32; and hidden states [batch, length,
        hidden], of BERT a dict of these (sequence_output) and pooled_output [batch, hidden].
    """
    names = ["token_ids", *["segment_ids"] * ("segment_embedding" in layers), "padding_mask"]
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    states = encode(layers, **inputs)
    if "pooled_dense" not in layers:
        return inputs, states
    return inputs, {"sequence_output": states, "pooled_output": layers["pooled_dense"](states[:, 0, :])}


def own_kinds(
    config: BackboneConfig,
    *,
    masks: Masks,
    seed: int | None,
    initializer: Any,
    adapters: Mapping[str, Any] | None = None,
) -> Kinds:
    """Our own layers."""

    def dropped(rate: float, *, name: str, dtype: Any) -> Any:
        return dropout(rate, masks=masks, seed=seed, place=name, name=name, dtype=dtype)

    output_dropout = config.dropout if FAMILIES[config.family].attention_output_dropout else 0.0

    def transformer(*, name: str, dtype: Any) -> Any:
        return TransformerEncoder(
            config.intermediate_dim,
            config.num_heads,
            activation=config.activation,
            layer_norm_epsilon=config.layer_norm_epsilon,
            dropout=config.dropout,
            attention_output_dropout=output_dropout,
            attention_dropout=config.attention_dropout,
            dropout_masks=masks,
            seed=None if seed is None else seed_at(seed, name),
            initializer=_drawn(initializer),
            adapters=adapters,
            name=name,
            dtype=dtype,
        )

    return Kinds(tokens=TokenEmbedding, segments=SegmentEmbedding, dropout=dropped, transformer=transformer)


def assemble(
    config: BackboneConfig,
    *,
    dtype: str,
    masks: Masks = "portable",
    seed: int | None = None,
    adapters: Mapping[str, Any] | None = None,
) -> Any:
    """The keras-hub backbone of a config, its weights blank: all kernels and embeddings are zero.

    Args:
        config: dimensions and rates.
        dtype: a Keras dtype policy, e.g. float32 or mixed_bfloat16.
        masks, seed: see `zoo.models.dropout.dropout`.
        adapters: see `TransformerEncoder`.

    Returns:
        A keras.Model as `encoder_graph` says, an instance of keras-hub's class of the family.
    """
    values = asdict(config)
    del values["family"]
    if config.num_segments is None:
        del values["num_segments"]
    values["max_sequence_length"] = values.pop("max_positions")
    return BACKBONES[config.family](
        **values,
        dropout_masks=masks,
        seed=seed,
        initializer="zeros",
        adapters=adapters,
        dtype=dtype,
        name="backbone",
    )


def keras_hub_backbone(config: BackboneConfig, dtype: str = "float32") -> Any:
    """keras-hub's own class of the family, its weights drawn; activation and epsilon are those of the class."""
    family = FAMILIES[config.family]
    segments = {} if config.num_segments is None else {"num_segments": config.num_segments}
    return getattr(keras_hub.models, f"{family.class_prefix}Backbone")(
        vocabulary_size=config.vocabulary_size,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        hidden_dim=config.hidden_dim,
        intermediate_dim=config.intermediate_dim,
        max_sequence_length=config.max_positions,
        dropout=config.dropout,
        dtype=dtype,
        **segments,
    )


def keras_hub_classifier(config: BackboneConfig, *, units: int, dropout: float, dtype: str) -> Any:
    """keras-hub's own text classifier of the family, its weights drawn, to logits [batch, units].

    Args:
        config: of the backbone, see `keras_hub_backbone`.
        units: outputs a row.
        dropout: rate before the last layer.
        dtype: a Keras dtype policy.
    """
    kind = getattr(keras_hub.models, f"{FAMILIES[config.family].class_prefix}TextClassifier")
    backbone = keras_hub_backbone(config, dtype)
    return kind(backbone=backbone, num_classes=units, dropout=dropout, compile=False)


def backbone_class(name: str) -> Any:
    """Our subclass of the class that keras-hub has for a family, with its name."""
    family = FAMILIES[name]
    base = getattr(keras_hub.models, f"{family.class_prefix}Backbone")

    class Backbone(base):  # type: ignore[misc, valid-type]  # Keras ships no types
        """keras-hub's backbone of the family, computed by the layers of `zoo.models.layers`.

        Arguments are those of keras-hub's class, and

        Args:
            attention_dropout: rate on the attention's weights; None means `dropout`.
            activation: gelu, gelu_tanh or relu; None means what keras-hub's class has.
            layer_norm_epsilon: of all layer norms; None means what keras-hub's class has.
            dropout_masks: "portable", the same on every backend, or "native".
            seed: what dropout is drawn from; None leaves it to Keras.
            initializer: how kernels and embeddings are drawn; None draws them as the family's authors do.
            adapters: see `TransformerEncoder`.
        """

        def __init__(
            self,
            vocabulary_size: int,
            num_layers: int,
            num_heads: int,
            hidden_dim: int,
            intermediate_dim: int,
            dropout: float = 0.1,
            max_sequence_length: int = 512,
            num_segments: int | None = family.num_segments,
            dtype: Any = None,
            attention_dropout: float | None = None,
            activation: Any = None,
            layer_norm_epsilon: float | None = None,
            dropout_masks: Masks = "portable",
            seed: int | None = None,
            initializer: Any = None,
            adapters: Mapping[str, Any] | None = None,
            **named: Any,
        ) -> None:
            config = BackboneConfig(
                family=name,  # type: ignore[arg-type]
                vocabulary_size=vocabulary_size,
                num_layers=num_layers,
                num_heads=num_heads,
                hidden_dim=hidden_dim,
                intermediate_dim=intermediate_dim,
                max_positions=max_sequence_length,
                num_segments=num_segments,
                activation=activation or family.keras_hub_activation,
                layer_norm_epsilon=layer_norm_epsilon or family.layer_norm_epsilon,
                dropout=dropout,
                attention_dropout=dropout if attention_dropout is None else attention_dropout,
            )
            kinds = own_kinds(config, masks=dropout_masks, seed=seed, initializer=initializer, adapters=adapters)
            layers = encoder_layers(config, kinds, initializer=initializer, dtype=dtype)
            # Attributes as keras-hub's classes have them, in the order of the layers, which is that of their variables.
            self.transformer_layers: list[Any] = []
            for place, layer in layers.items():
                if place.startswith("transformer_layer_"):
                    self.transformer_layers.append(layer)
                else:
                    setattr(self, place, layer)
            inputs, outputs = encoder_graph(layers)
            # What the family's own class would build is built above: its __init__ is left out.
            keras_hub.models.Backbone.__init__(self, inputs=inputs, outputs=outputs, dtype=dtype, **named)
            self.vocabulary_size, self.num_layers, self.num_heads = vocabulary_size, num_layers, num_heads
            self.hidden_dim, self.intermediate_dim, self.dropout = hidden_dim, intermediate_dim, dropout
            self.max_sequence_length = max_sequence_length
            if num_segments is not None:
                self.num_segments = num_segments
            self.cls_token_index = self.start_token_index = 0  # keras-hub's classes have one or the other
            self.attention_dropout, self.activation = config.attention_dropout, config.activation
            self.layer_norm_epsilon = config.layer_norm_epsilon
            self.dropout_masks, self.seed = dropout_masks, seed
            self.adapters = dict(adapters or {})

        @classmethod
        def from_preset(cls, preset: str, load_weights: bool = True, **named: Any) -> Any:
            """As keras-hub's; a preset of keras-hub's own class is taken over into the layers of ours."""
            found = base.from_preset(preset, load_weights=load_weights, **named)
            if isinstance(found, cls):
                return found
            own = cls.from_config(found.get_config())
            for variable, value in zip(own.weights, found.weights, strict=True):
                variable.assign(value)
            return own

        def get_config(self) -> dict[str, Any]:
            names = ("attention_dropout", "activation", "layer_norm_epsilon", "dropout_masks", "seed", "adapters")
            config: dict[str, Any] = super().get_config()
            return config | {name: getattr(self, name) for name in names}

    Backbone.__name__ = Backbone.__qualname__ = base.__name__
    registered: Any = keras.saving.register_keras_serializable(package=PACKAGE)(Backbone)
    return registered


BACKBONES = {name: backbone_class(name) for name in FAMILIES}
"""keras-hub's class of each family, subclassed."""
globals().update({backbone.__name__: backbone for backbone in BACKBONES.values()})


def _drawn(initializer: Any) -> Any:
    return keras.initializers.TruncatedNormal(stddev=INITIAL_RANGE) if initializer is None else initializer
