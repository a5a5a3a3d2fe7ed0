"""TensorFlow's way on an accelerator, the whole step compiled by XLA, taken on this CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from nano import few_steps

import recipes
import zoo
from zoo.backend import Backend, compiled_for
from zoo.models import inference
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer


def losses(backend: Backend, accumulate: int = 1) -> list[float]:
    """Of a few steps, then the first logit of a prediction."""
    found, model, inputs = few_steps(backend, {"model.backbone.num_layers": 1}, accumulate=accumulate)
    return [*found, float(inference.to_host(backend.predictor(model, precision="float32")(inputs))[0, 0])]


@pytest.mark.parametrize("accumulate", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_step_compiled_as_a_whole_is_the_step(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    expected = losses(backend, accumulate)
    compiled: list[bool] = []
    function = tf.function

    def noted(*given: Any, jit_compile: bool | None = None, **named: Any) -> Any:
        compiled.append(bool(jit_compile))
        return function(*given, jit_compile=jit_compile, **named)

    monkeypatch.setattr(tf, "function", noted)
    with compiled_for("gpu"):
        assert backend.accelerated
        found = losses(backend, accumulate)
    assert compiled
    assert all(compiled), "the step and the prediction are whole"
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_what_xla_refuses_is_seen(backend: Backend) -> None:
    """A step that only runs operation by operation fails when it is compiled as a whole."""

    def loss(outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        kept = tf.py_function(lambda x: x, [weights], tf.float32)  # Python, which XLA has not
        total, count = softmax_cross_entropy(outputs, targets, tf.ensure_shape(kept, weights.shape))
        return total, count

    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides={"training.precision": "float32"}))
    inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
    given = inputs, np.zeros(4, np.int32), np.ones(4, np.float32)
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-3])
    backend.trainer(model, optimizer, loss, precision="float32").step(*given)
    with compiled_for("gpu"), pytest.raises(tf.errors.InvalidArgumentError, match="PyFunc"):
        backend.trainer(model, optimizer, loss, precision="float32").step(*given)
