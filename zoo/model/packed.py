"""A model that takes several texts in a row.

In comes a text classifier; out comes another keras.Model of the same layers and variables, which computes for each text
what the first one does for the text in a row by itself. Its inputs are those of `zoo.data.packing`. Nothing is refused.
"""

from __future__ import annotations

from typing import Any

from zoo.model.backbone import BackboneConfig

HEAD = ("pooled_dense", "head_input_dropout", "head_dense", "head_dropout", "logits")
"""Layers between a text's first hidden state and its logits, those that a model has, in order (zoo.model.heads)."""


def packed(model: Any, config: BackboneConfig) -> Any:
    """The model for packed rows.

    Args:
        model: from `zoo.model.heads.attach`.
        config: of its backbone.

    Returns:
        A keras.Model from token_ids, padding_mask, positions (and segment_ids), each [rows, width] int32, and first
        [texts] int32, to float32 logits [texts, units].
    """
    import keras
    from keras import ops

    own = {layer.name: layer for layer in model.layers}
    names = [tensor.name for tensor in model.inputs] + ["positions"]
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    first = keras.Input((), dtype="int32", name="first")
    tokens, positions = inputs["token_ids"], inputs["positions"]
    if config.family == "bert":
        embedded = own["token_embedding"](tokens)
        placed = own["position_embedding"](embedded, positions=positions)
        x = own["embeddings_add"]((embedded, placed, own["segment_embedding"](inputs["segment_ids"])))
    else:
        x = own[{"distilbert": "token_and_position_embedding", "roberta": "embeddings"}[config.family]](
            tokens, positions=positions
        )
    x = own["embeddings_dropout"](own["embeddings_layer_norm"](x))
    numbers = inputs["padding_mask"]
    queries, keys = ops.expand_dims(numbers, 2), ops.expand_dims(numbers, 1)
    same_text = ops.logical_and(ops.equal(queries, keys), ops.greater(keys, 0))
    for layer in range(config.num_layers):
        x = own[f"transformer_layer_{layer}"](x, attention_mask=same_text)
    x = ops.take(ops.reshape(x, (-1, config.hidden_dim)), first, axis=0)
    for name in HEAD:
        if name in own:
            x = own[name](x)
    return keras.Model({**inputs, "first": first}, x, name="packed_text_classifier")
