"""Steps that go wrong: a gradient that is not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import recipes
import zoo
from zoo.backend import Backend
from zoo.models import inference
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_gradient_that_is_not_finite(backend: Backend, accumulate: int) -> None:
    """It is told as the loss of its own step, though that is finite."""
    from keras import ops

    def loss(outputs: Any, targets: Any, counted: Any) -> tuple[Any, Any]:
        total, count = softmax_cross_entropy(outputs, targets, counted)
        still = ops.where(counted < 2.0, 1.0, 0.0)[:, None] + 0.0 * outputs
        return total + ops.sum(ops.sqrt(still)), count  # the root's slope at 0 is infinite

    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides={"training.precision": "float32"}))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-3] * 2)
    trainer = backend.trainer(model, optimizer, loss, precision="float32", accumulate=accumulate)
    inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
    for last, finite in ((1.0, True), (2.0, False)):
        told, _ = trainer.step(inputs, np.zeros(4, np.int32), np.array([1, 1, 1, last], np.float32))
        assert np.isfinite(inference.to_host(told)) == finite
