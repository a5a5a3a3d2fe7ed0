"""A masked language model: an encoder, and scores of the whole vocabulary for each token (Devlin et al. 2019).

In comes a backbone; out comes a plain keras.Model. Its last layer is tied to the token embeddings. Between the backbone
and it stand a dense layer and a layer norm, as the three families' authors trained them, so that a Hugging Face
masked-LM preset fits into it. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.models.backbone import BackboneConfig
from zoo.models.families import FAMILIES
from zoo.models.topology import tag


def attach(backbone: Any, config: BackboneConfig, *, seed: int = 0) -> Any:
    """Backbone and head in one keras.Model.

    Args:
        backbone: a keras.Model as `zoo.models.encoder.encoder_graph` says.
        config: of the backbone.
        seed: draws the weights as Keras makes them.

    Returns:
        A keras.Model from the backbone's dict of inputs, each [batch, length] int32, to float32 scores [batch, length,
        vocabulary]. The backbone is one of its layers; its pooler, if it has one, is not trained.
    """
    import keras

    from zoo.models.dropout import seed_at
    from zoo.models.layers import ACTIVATIONS, TiedLogits

    family, policy = FAMILIES[config.family], backbone.dtype_policy.name
    dense = keras.layers.Dense(
        config.hidden_dim,
        activation=ACTIVATIONS[family.masked_activation or config.activation],
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed_at(seed, "head_dense")),
        name="head_dense",
        dtype=policy,
    )
    norm = keras.layers.LayerNormalization(epsilon=config.layer_norm_epsilon, name="head_layer_norm", dtype=policy)
    layers = {layer.name: layer for layer in backbone.layers}
    # Logits and loss in float32 whatever the policy: bfloat16 has three digits.
    tied = TiedLogits(layers["token_embedding"], name="logits", dtype="float32")
    head = {layer.name: layer for layer in (dense, norm, tied)}
    outputs = backbone(backbone.input)
    states = outputs
    if isinstance(outputs, Mapping):
        states = outputs["sequence_output"]
        layers["pooled_dense"].trainable = False
    return keras.Model(backbone.input, tag(head, states), name="masked_language_model")
