"""The model that a training step goes through: the one that is saved, or another of the same layers and variables.

In comes a model from `zoo.models.heads.attach` and the recipe's `training`; out comes a keras.Model of which an input
is moved by an adversary, that takes packed rows, that scores hidden tokens alone, that computes each text twice or that
mixes texts. Nothing is refused.
"""

from __future__ import annotations

from typing import Any

from zoo.data.mixup import PARTNER, SHARE
from zoo.models.heads import layers_by_name
from zoo.models.packed import packed
from zoo.models.places import at_places
from zoo.models.topology import Changed, Layers, classify, embed, encode, tag, unchanged
from zoo.recipe.heads import ContrastiveHead, Head, MaskedHead
from zoo.recipe.training_group import Training

__all__ = ["SHIFT", "in_training"]

SHIFT = "embeddings_shift"
"""The input that is added to word embeddings, [batch, length, hidden_dim] float32."""


def in_training(model: Any, config: Training, head: Head) -> Any:
    """The model for a recipe's steps.

    Args:
        model: from `attach`.
        config: what the recipe says of training.
        head: that of the model.

    Returns:
        `model` itself, or a keras.Model from its inputs, from those of `zoo.data.packing` or from those of
        `at_places`; beside them with `config.adversarial` from `SHIFT`, with `config.mixup` from those of
        `zoo.data.mixup`. With `config.r_drop` its outputs are [batch, 2, ...], of two passes.
    """
    once = _once(model, config, head)
    return once if config.r_drop is None else _twice(once)


def _once(model: Any, config: Training, head: Head) -> Any:
    change = _change(config)
    if isinstance(head, MaskedHead):
        return at_places(model, change)
    if config.packing:
        return packed(model, change)
    if change is unchanged:
        return model
    return _by_rows(model, head, change)


def _change(config: Training) -> Changed:
    asked = {_shifted: config.adversarial, _mixed: config.mixup}
    changes = [change for change, group in asked.items() if group is not None]
    if not changes:
        return unchanged

    def all_of_them(layers: Layers) -> tuple[Layers, dict[str, Any]]:
        inputs: dict[str, Any] = {}
        for change in changes:
            layers, more = change(layers)
            inputs |= more
        return layers, inputs

    return all_of_them


def _twice(model: Any) -> Any:
    """The outputs of two passes side by side; each draws its own masks of dropout."""
    import keras
    from keras import ops

    inputs = {tensor.name: tensor for tensor in model.inputs}
    return keras.Model(inputs, ops.stack([model(inputs), model(inputs)], axis=1), name=f"{model.name}_twice")


def _by_rows(model: Any, head: Head, change: Changed) -> Any:
    """The model with a change between its layers."""
    import keras

    layers, more = change(layers_by_name(model))
    inputs = {tensor.name: keras.Input((None,), dtype="int32", name=tensor.name) for tensor in model.inputs}
    x = encode(layers, **inputs)
    if isinstance(head, ContrastiveHead):
        outputs = embed(layers, x, inputs["padding_mask"])
    else:
        outputs = tag(layers, x) if head.each == "token" else classify(layers, x[:, 0, :])
    return keras.Model({**inputs, **more}, outputs, name=f"{model.name}_in_training")


def _shifted(layers: Layers) -> tuple[Layers, dict[str, Any]]:
    """Word embeddings with `SHIFT` added, before positions, segments and the norm."""
    import keras
    from keras import ops

    embedding: Any = layers["token_embedding"]
    shift = keras.Input((None, embedding.output_dim), dtype="float32", name=SHIFT)
    return {**layers, "token_embedding": lambda ids: ops.add(embedding(ids), shift)}, {SHIFT: shift}


def _mixed(layers: Layers) -> tuple[Layers, dict[str, Any]]:
    """Features [batch, hidden] of pairs of texts mixed, before the last dropout."""
    import keras
    from keras import ops

    last = layers["head_dropout"]
    inputs = {
        SHARE: keras.Input((), dtype="float32", name=SHARE),
        PARTNER: keras.Input((), dtype="int32", name=PARTNER),
    }

    def mix(x: Any) -> Any:
        share = ops.cast(ops.expand_dims(inputs[SHARE], -1), x.dtype)
        row = ops.cumsum(ops.ones_like(inputs[PARTNER])) - 1  # how many there are is not known yet
        other = ops.take(x, row + inputs[PARTNER], axis=0)
        return last(share * x + (1.0 - share) * other)

    return {**layers, "head_dropout": mix}, inputs
