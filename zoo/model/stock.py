"""The same model of Keras's and keras-hub's own layers alone, which load where the zoo is not installed.

In comes a blueprint; out comes a keras.Model whose variables have the paths of the zoo's own, so that its weights
fit. It computes the same, more slowly, and is for export: dropout has one rate, the backbone's, in all its layers.
Nothing is refused.
"""

from __future__ import annotations

from typing import Any

from zoo.backend import without_tensorflow
from zoo.model import heads
from zoo.model.backbone import DEFAULTS, BackboneConfig, nothing_drawn
from zoo.model.builder import Blueprint
from zoo.model.weights import INITIAL_RANGE

EMBEDDINGS = {"distilbert": "token_and_position_embedding", "roberta": "embeddings"}
"""What keras-hub calls the layer that embeds tokens and positions, in the families that have one for both."""
CLASS_ACTIVATIONS = {"bert": "gelu_tanh", "distilbert": "gelu", "roberta": "gelu"}
"""The activation that keras-hub's backbone of a family has and cannot be told otherwise."""


def is_class_of_keras_hub(config: BackboneConfig) -> bool:
    """Whether keras-hub's backbone class of this family computes this; it fixes activation and epsilon."""
    return (
        config.activation == CLASS_ACTIVATIONS[config.family]
        and config.layer_norm_epsilon == DEFAULTS[config.family]["layer_norm_epsilon"]
    )


def stock_model(blueprint: Blueprint) -> Any:
    """The keras.Model of a blueprint in float32, as `assemble_model` makes it; its weights are blank."""
    with nothing_drawn():
        backbone = stock_backbone(blueprint.backbone)
    return heads.attach(backbone, blueprint.backbone, blueprint.head, blueprint.classes)


def stock_backbone(config: BackboneConfig) -> Any:
    """The backbone as a functional keras.Model; inputs and outputs are those of keras-hub's class of the family."""
    with without_tensorflow():
        import keras_hub
        from keras_hub.src.utils.keras_utils import gelu_approximate
    import keras

    activation = {"gelu": "gelu", "gelu_tanh": gelu_approximate, "relu": "relu"}[config.activation]
    epsilon, rate, dtype = config.layer_norm_epsilon, config.dropout, "float32"
    drawn = keras.initializers.TruncatedNormal(stddev=INITIAL_RANGE)
    names = ["token_ids", "padding_mask"] + ["segment_ids"] * (config.num_segments is not None)
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    tokens = inputs["token_ids"]
    if config.family == "bert":
        embedded = keras_hub.layers.ReversibleEmbedding(
            config.vocabulary_size,
            config.hidden_dim,
            embeddings_initializer=drawn,
            dtype=dtype,
            name="token_embedding",
        )(tokens)
        placed = keras_hub.layers.PositionEmbedding(
            config.max_positions, initializer=drawn, dtype=dtype, name="position_embedding"
        )(embedded)
        segments = keras.layers.Embedding(
            config.num_segments,
            config.hidden_dim,
            embeddings_initializer=drawn,
            dtype=dtype,
            name="segment_embedding",
        )(inputs["segment_ids"])
        x = keras.layers.Add(dtype=dtype, name="embeddings_add")((embedded, placed, segments))
    else:
        x = keras_hub.layers.TokenAndPositionEmbedding(
            vocabulary_size=config.vocabulary_size,
            sequence_length=config.max_positions,
            embedding_dim=config.hidden_dim,
            embeddings_initializer=drawn,
            dtype=dtype,
            name=EMBEDDINGS[config.family],
        )(tokens)
    x = keras.layers.LayerNormalization(axis=-1, epsilon=epsilon, dtype=dtype, name="embeddings_layer_norm")(x)
    x = keras.layers.Dropout(rate, dtype=dtype, name="embeddings_dropout")(x)
    for number in range(config.num_layers):
        x = keras_hub.layers.TransformerEncoder(
            intermediate_dim=config.intermediate_dim,
            num_heads=config.num_heads,
            dropout=rate,
            activation=activation,
            layer_norm_epsilon=epsilon,
            kernel_initializer=drawn,
            dtype=dtype,
            name=f"transformer_layer_{number}",
        )(x, padding_mask=inputs["padding_mask"])
    outputs = x
    if config.family == "bert":
        pooler = keras.layers.Dense(
            config.hidden_dim, kernel_initializer=drawn, activation="tanh", dtype=dtype, name="pooled_dense"
        )
        outputs = {"sequence_output": x, "pooled_output": pooler(x[:, 0, :])}
    return keras.Model(inputs, outputs, name="backbone", dtype=dtype)
