"""The same model of Keras's and keras-hub's own layers alone, which load where the zoo is not installed.

In comes a blueprint; out comes a keras.Model whose variables have the paths of the zoo's own, so that its weights
fit. It computes the same, more slowly, and is for export: dropout has one rate, the backbone's, in all its layers.
Nothing is refused. Importing this imports Keras.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from zoo.backend import without_tensorflow
from zoo.models import heads
from zoo.models.backbone import BackboneConfig
from zoo.models.blueprint import Blueprint
from zoo.models.encoder import Kinds, encoder_graph, encoder_layers
from zoo.models.families import FAMILIES
from zoo.models.topology import tag
from zoo.recipe.heads import MaskedHead

with without_tensorflow():
    import keras_hub
    from keras_hub.src.utils.keras_utils import gelu_approximate  # in the form that keras-hub can save

ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": gelu_approximate, "relu": "relu"}


def is_class_of_keras_hub(config: BackboneConfig) -> bool:
    """Whether keras-hub's backbone class of this family computes this; it fixes activation and epsilon."""
    family = FAMILIES[config.family]
    fixed = family.keras_hub_activation, family.layer_norm_epsilon
    return (config.activation, config.layer_norm_epsilon) == fixed


def stock_model(blueprint: Blueprint) -> Any:
    """The keras.Model of a blueprint in float32, as `assemble_model` makes it, its weights to be filled in."""
    backbone = stock_backbone(blueprint.backbone)
    if isinstance(blueprint.head, MaskedHead):
        return _masked(backbone, blueprint)
    return heads.attach(backbone, blueprint.backbone, blueprint.head, blueprint.units, masks="native")


def _masked(backbone: Any, blueprint: Blueprint) -> Any:
    """A masked language model whose last layer has a matrix of its own: Keras has no layer that is tied."""
    config = blueprint.backbone
    kind = FAMILIES[config.family].masked_activation or config.activation
    layers = {
        "head_dense": keras.layers.Dense(config.hidden_dim, activation=ACTIVATIONS[kind], name="head_dense"),
        "head_layer_norm": keras.layers.LayerNormalization(epsilon=config.layer_norm_epsilon, name="head_layer_norm"),
        "logits": keras.layers.Dense(config.vocabulary_size, name="logits"),
    }
    outputs = backbone(backbone.input)
    states = outputs["sequence_output"] if isinstance(outputs, Mapping) else outputs
    return keras.Model(backbone.input, tag(layers, states), name="masked_language_model")


def stock_backbone(config: BackboneConfig) -> Any:
    """The backbone as a functional keras.Model; inputs and outputs are those of keras-hub's class of the family."""

    def transformer(*, name: str, dtype: str) -> Any:
        return keras_hub.layers.TransformerEncoder(
            config.intermediate_dim,
            config.num_heads,
            dropout=config.dropout,
            activation=ACTIVATIONS[config.activation],
            layer_norm_epsilon=config.layer_norm_epsilon,
            name=name,
            dtype=dtype,
        )

    kinds = Kinds(
        tokens=keras_hub.layers.ReversibleEmbedding,
        segments=keras.layers.Embedding,
        dropout=keras.layers.Dropout,
        transformer=transformer,
    )
    layers = encoder_layers(config, kinds, initializer=None, dtype="float32")
    return keras.Model(*encoder_graph(layers), name="backbone", dtype="float32")
