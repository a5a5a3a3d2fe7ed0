"""Optimizers beside AdamW: what is the same on every backend."""

from __future__ import annotations

import math

import numpy as np
import pytest

import recipes
import zoo
from zoo.models import weights
from zoo.recipe.estimate import Dimensions, moments
from zoo.recipe.optimizers import SGD, Adafactor, Adam, AdamW, Lamb, Lion, Muon
from zoo.training.optimizer import build_optimizer


def test_what_each_keeps() -> None:
    """As many numbers as `zoo.check` counts with, under names of their own, which checkpoints tell them by."""
    recipe = recipes.load("imdb_bert_2k", profile="smoke")
    variables = zoo.build(recipe).trainable_variables
    backbone = recipe.model.backbone
    size = Dimensions(
        **{name: getattr(backbone, name) for name in ("num_layers", "num_heads", "hidden_dim", "intermediate_dim")},
        vocabulary_size=variables[0].shape[0],
        max_positions=variables[1].shape[0],
    )
    for config in (AdamW(), Adam(), SGD(), SGD(momentum=0.0), Lion(), Lamb(), Adafactor(), Muon()):
        kept = build_optimizer(config, variables, num_layers=2, rates=[1e-3]).variables
        assert len({variable.path for variable in kept}) == len(kept)
        numbers = sum(math.prod(variable.shape) for variable in kept) - 1  # the step's
        assert numbers == pytest.approx(moments(config, size), rel=0.01, abs=0)


def test_adafactor_leaves_tokens_that_never_came() -> None:
    """A row whose squared gradients are all zero is divided by next to nothing, and stays."""
    import keras

    table = keras.Variable(np.ones((4, 3), np.float32), name="embeddings")
    optimizer = build_optimizer(Adafactor(), [table], num_layers=1, rates=[1e-2])
    gradient = np.zeros((4, 3), np.float32)
    for scale in (1e-3, 1e-12, 1.0):
        gradient[:2] = scale
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [table])
    found = weights.to_numpy(table)
    assert (found[2:] == 1.0).all()
    assert (found[:2] < 1.0).all()
