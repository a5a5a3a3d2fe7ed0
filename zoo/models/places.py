"""A masked language model that computes scores where they are wanted alone, or what comes of them.

In comes a model from `zoo.models.masked.attach`; out comes a keras.Model of the same layers and variables. Scores of
all tokens would be [tokens, vocabulary] numbers: a gigabyte of a few thousand. Nothing is refused.
"""

from __future__ import annotations

from typing import Any

from zoo.data.masking import PLACES, TARGETS
from zoo.models.heads import layers_by_name
from zoo.models.topology import Changed, encode, tag, unchanged
from zoo.tasks.masked import surprises


def at_places(model: Any, change: Changed = unchanged) -> Any:
    """The model that scores some tokens of each row alone.

    Args:
        model: from `attach`.
        change: of its layers.

    Returns:
        A keras.Model from the inputs of `model`, `PLACES` and what the change takes to float32 scores [batch, places,
        vocabulary].
    """
    import keras

    inputs, scores = _scores(model, change)
    return keras.Model(inputs, scores, name="masked_language_model_at_places")


def judged(model: Any) -> Any:
    """The model that says how well it does on each row, so that no scores leave the device.

    Args:
        model: from `attach`.

    Returns:
        A keras.Model from the inputs of `model`, `PLACES` and `TARGETS` (-1 where there is none) to float32 [batch, 3]:
        the sum of the losses in nats, how many places there are, and how many of them have the highest score.
    """
    import keras
    from keras import ops

    inputs, scores = _scores(model)
    targets = keras.Input((None,), dtype="int32", name=TARGETS)
    losses, there = surprises(scores, targets)
    right = ops.cast(ops.equal(ops.cast(ops.argmax(scores, axis=-1), "int32"), targets), "float32")
    columns = [ops.sum(each, axis=-1) for each in (losses, there, right)]
    return keras.Model({**inputs, TARGETS: targets}, ops.stack(columns, axis=-1), name="judged_at_places")


def _scores(model: Any, change: Changed = unchanged) -> tuple[dict[str, Any], Any]:
    import keras
    from keras import ops

    layers, more = change(layers_by_name(model))
    inputs = {tensor.name: keras.Input((None,), dtype="int32", name=tensor.name) for tensor in model.inputs}
    places = keras.Input((None,), dtype="int32", name=PLACES)
    x = ops.take_along_axis(encode(layers, **inputs), ops.expand_dims(places, -1), axis=1)
    return {**inputs, PLACES: places, **more}, tag(layers, x)
