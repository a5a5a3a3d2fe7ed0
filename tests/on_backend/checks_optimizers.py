"""Optimizers beside AdamW, each against torch's or its paper's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rules import CASES, SHAPES

from zoo.backend import Backend
from zoo.models import weights
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer


def model_of_one_layer(reference: Any) -> Any:
    """The model of rules.write_optimizers, at its start."""
    import keras

    class Attention(keras.layers.Layer):  # type: ignore[misc]
        """Not attention at all: its first and last product, laid out by heads as Keras does it."""

        def build(self, shape: Any) -> None:
            self.query = keras.layers.EinsumDense("ab,bcd->acd", (2, 3), bias_axes="cd", name="query")
            self.out = keras.layers.EinsumDense("acd,cdb->ab", (4,), bias_axes="b", name="attention_output")
            self.query.build(shape)
            self.out.build((None, 2, 3))

        def call(self, features: Any) -> Any:
            return self.out(keras.ops.tanh(self.query(features)))

    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    embedding = keras.layers.Embedding(7, 4, name="token_embedding")
    features = keras.ops.mean(embedding(token_ids), axis=1)
    features = Attention(name="transformer_layer_0")(features)
    model = keras.Model({"token_ids": token_ids}, keras.layers.Dense(3, name="logits")(features))
    assert {v.path for v in model.trainable_variables} == set(SHAPES)
    for variable in model.trainable_variables:
        variable.assign(reference[f"start/{variable.path}"])
    return model


@pytest.mark.parametrize("kind", CASES)
def test_as_torch_or_as_the_paper(backend: Backend, references: Path, kind: str) -> None:
    """Twenty steps: repeated tokens, clipping, decay of some, rates that move and differ by layer."""
    reference, config = np.load(references / "optimizers.npz"), CASES[kind]
    model = model_of_one_layer(reference)
    optimizer = build_optimizer(config, model.trainable_variables, num_layers=1, rates=reference["rates"].tolist())
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32")
    worst, moved = 0.0, 0.0
    for step, (token_ids, labels) in enumerate(zip(reference["token_ids"], reference["labels"], strict=True)):
        trainer.step({"token_ids": token_ids}, labels, np.ones(len(labels), np.float32))
        trainer.commit()
        for variable in model.trainable_variables:
            expected = reference[f"{kind}/{variable.path}"][step]
            worst = max(worst, float(np.abs(weights.to_numpy(variable) - expected).max()))
            moved = max(moved, float(np.abs(expected - reference[f"start/{variable.path}"]).max()))
    assert worst < 5e-6
    assert moved > 2e-2  # the comparison can fail
