"""Embeddings of texts: the mean of a text's hidden states, scaled to length 1 (Reimers and Gurevych 2019, section 3).

In comes a backbone; out comes a plain keras.Model of public layers. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.models.topology import EMBEDDER, embed


def attach(backbone: Any) -> Any:
    """Backbone and pooling in one keras.Model.

    Args:
        backbone: a keras.Model as `zoo.models.encoder.encoder_graph` says.

    Returns:
        A keras.Model from the backbone's dict of inputs, each [batch, length] int32, to float32 embeddings [batch,
        hidden]. The backbone is one of its layers; its pooler, if it has one, is not trained.
    """
    import keras

    states = backbone(backbone.input)
    if isinstance(states, Mapping):
        states = states["sequence_output"]
        backbone.get_layer("pooled_dense").trainable = False
    # In float32 whatever the policy: bfloat16 has three digits, and a sum over tokens fewer.
    kinds = keras.layers.GlobalAveragePooling1D, keras.layers.UnitNormalization
    layers = {name: kind(name=name, dtype="float32") for name, kind in zip(EMBEDDER, kinds, strict=True)}
    embeddings = embed(layers, states, backbone.input["padding_mask"])
    return keras.Model(backbone.input, embeddings, name="text_embedder")
