"""A model that takes several texts in a row.

In comes a text classifier; out comes another keras.Model of the same layers and variables, which computes for each text
what the first one does for the text in a row by itself. Its inputs are those of `zoo.data.packing`. Nothing is refused.
"""

from __future__ import annotations

from typing import Any

from zoo.models.heads import layers_by_name
from zoo.models.topology import Changed, classify, encode, unchanged


def packed(model: Any, change: Changed = unchanged) -> Any:
    """The model for packed rows.

    Args:
        model: from `zoo.models.heads.attach`.
        change: of its layers.

    Returns:
        A keras.Model from token_ids, padding_mask, positions (and segment_ids), each [rows, width] int32, first
        [texts] int32, and what the change takes, to float32 logits [texts, units].
    """
    import keras
    from keras import ops

    layers, more = change(layers_by_name(model))
    names = [tensor.name for tensor in model.inputs] + ["positions"]
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    first = keras.Input((), dtype="int32", name="first")
    numbers = inputs["padding_mask"]
    queries, keys = ops.expand_dims(numbers, 2), ops.expand_dims(numbers, 1)
    same_text = ops.logical_and(ops.equal(queries, keys), ops.greater(keys, 0))
    others = {name: value for name, value in inputs.items() if name != "padding_mask"}
    x = encode(layers, **others, attention_mask=same_text)
    x = ops.take(ops.reshape(x, (-1, x.shape[-1])), first, axis=0)
    return keras.Model({**inputs, "first": first, **more}, classify(layers, x), name="packed_text_classifier")
