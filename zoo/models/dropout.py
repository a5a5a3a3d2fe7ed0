"""Dropout whose masks are the same on every backend.

`PortableDropout` draws them from a generator of ours (`zoo.backend.transformer`), by the state of the layer's
`seed_generator` (its seed and how often it was called), which Keras keeps among the model's variables, and by a
position's row and column.
"""

from __future__ import annotations

import zlib
from typing import Any, Literal

import keras
import numpy as np

from zoo.backend import kernels
from zoo.backend.transformer import Drop
from zoo.models.found_by_keras import PACKAGE

Masks = Literal["portable", "native"]


@keras.saving.register_keras_serializable(package=PACKAGE)
class PortableDropout(keras.layers.Dropout):  # type: ignore[misc]  # Keras ships no types
    """keras.layers.Dropout with masks that do not depend on the backend."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Inputs of any shape, at least [n]; a share `rate` of them 0 and the others scaled by 1 / (1 - rate)."""
        drop = drop_of(self)
        return kernels().dropped(inputs, drop, kernels().state(drop, training))


def drop_of(layer: Any) -> Drop:
    """Rate and seeds of a Dropout layer; one of rate 0 has no seeds."""
    return Drop(rate=layer.rate, seeds=layer.seed_generator if layer.rate else None)


def dropout(rate: float, *, masks: Masks, seed: int | None, place: str, **named: Any) -> Any:
    """A Dropout layer.

    Args:
        rate: share that is dropped.
        masks: drawn alike on every backend, or by the backend itself.
        seed: of the whole model; None leaves it to Keras.
        place: what tells this layer's masks from those of the model's others.
        named: name and dtype of the layer.
    """
    own = None if seed is None else seed_at(seed, place)
    return {"portable": PortableDropout, "native": keras.layers.Dropout}[masks](rate, seed=own, **named)


def seed_at(seed: int, place: str) -> int:
    """The seed that a place of a model has, from the model's."""
    return int(np.random.SeedSequence([seed, zlib.crc32(place.encode())]).generate_state(1)[0] >> 1)
