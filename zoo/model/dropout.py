"""Dropout whose masks are the same on every backend.

In comes a built model; out goes the same model, its Dropout layers drawing their masks from a generator of ours
(`zoo.backend.transformer`). Nothing is refused.

A mask depends on the layer's `seed_generator` (its seed and how often it was called), which Keras draws from
Python's generator and keeps among the model's variables, and on a position's row and column.
"""

from __future__ import annotations

from typing import Any

import keras

from zoo.backend import kernels
from zoo.backend.transformer import Drop


class PortableDropout(keras.layers.Dropout):  # type: ignore[misc]  # Keras ships no types
    """keras.layers.Dropout with masks that do not depend on the backend."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Inputs of any shape, at least [n]; a share `rate` of them 0 and the others scaled by 1 / (1 - rate)."""
        drop = drop_of(self)
        return kernels().dropped(inputs, drop, drop.state(training))


def drop_of(layer: Any) -> Drop:
    """Rate and seeds of a Dropout layer; one of rate 0 may have no seeds."""
    return Drop(rate=layer.rate, seeds=layer.seed_generator if layer.rate else None)


def make_portable(model: Any) -> None:
    """Let every Dropout layer of a model, also those within its layers, draw portable masks from now on."""
    for layer in model._flatten_layers():
        # Layers stand in a traced graph and within others: the object has to stay, only what it does is exchanged.
        if type(layer) is keras.layers.Dropout:
            layer.__class__ = PortableDropout
