"""How the weights of a model are cut where several devices share them (`training.model_parallel`).

In come the path and the shape of a weight; out comes the dimension that is cut. By Shoeybi et al. 2019, Megatron-LM,
section 3: of two products that follow each other the first is cut by what it puts out and the second by what it takes
in, so that the devices talk once after both. Attention is cut by heads. Refused is nothing: what does not divide stays
whole, and is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

from zoo.backend import Backend
from zoo.models.topology import kind
from zoo.recipe.training_group import Training

__all__ = ["CUT", "dimension", "dividing", "whole_told"]

CUT = {
    "token_embedding/embeddings": 1,  # not by vocabulary: that of RoBERTa is odd
    "position_embedding/embeddings": 1,
    "segment_embedding/embeddings": 1,
    "query/kernel": 1,
    "query/bias": 0,
    "key/kernel": 1,
    "key/bias": 0,
    "value/kernel": 1,
    "value/bias": 0,
    "attention_output/kernel": 0,
    "feedforward_intermediate_dense/kernel": 1,
    "feedforward_intermediate_dense/bias": 0,
    "feedforward_output_dense/kernel": 0,
    "pooled_dense/kernel": 1,
    "pooled_dense/bias": 0,
    "head_dense/kernel": 1,
    "head_dense/bias": 0,
}
"""By the last two names of a weight's path; kernels of attention are [hidden, heads, width] and, of its output, [heads,
width, hidden]. What is not here each device has whole: norms, biases that are added after devices have talked, adapters
and the last layer."""
TOLD = 0.01
"""From which share of all numbers on it is told that weights stay whole."""


def dimension(path: str) -> int | None:
    """The dimension along which a weight is cut; None where it stays whole."""
    return CUT.get(_ending(path))


def dividing(backend: Backend, config: Training) -> AbstractContextManager[None]:
    """A context in which a recipe's model is made, its weights shared out over devices as `config` says."""

    def cut(path: str, shape: tuple[int, ...]) -> int | None:
        found = dimension(path)
        return None if found is None or shape[found] % config.model_parallel else found

    return backend.dividing(config.devices, config.model_parallel, cut)


def whole_told(variables: Iterable[Any], parts: int) -> str | None:
    """In words, which weights would be cut and are not, as their sizes do not divide; None where these are few.

    Args:
        variables: a model's keras.Variables.
        parts: in how many they are cut.
    """
    numbers, whole, sizes = 0, 0, dict[str, int]()
    for variable in variables:
        shape = tuple(variable.shape)
        numbers += math.prod(shape)
        place = dimension(variable.path)
        if place is not None and shape[place] % parts:
            whole += math.prod(shape)
            sizes[_ending(variable.path)] = shape[place]
    if whole < TOLD * numbers:
        return None
    listed = ", ".join(f"{name} ({size})" for name, size in sizes.items())
    return (
        f"training.model_parallel: {parts} does not divide these sizes, so that each device has all of {listed}: "
        f"{whole / numbers:.0%} of the model's numbers"
    )


def _ending(path: str) -> str:
    """The last two names of a weight's path, that of the layer without its task."""
    layer, _, name = path.rpartition("/")
    return f"{kind(layer.rpartition('/')[2])}/{name}"
