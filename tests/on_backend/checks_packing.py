"""Packed rows on the backend of this process: for every family the same logits and the same step as row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nano import tiny_config

from zoo.data.batches import Batch, batches
from zoo.data.packing import packed_batches, row_width
from zoo.data.tokens import TokenTable
from zoo.models import heads, inference, weights
from zoo.models.encoder import assemble
from zoo.models.packed import packed
from zoo.recipe.heads import ClassifierHead
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer

pytestmark = pytest.mark.usefixtures("backend")

FAMILIES = ("bert", "distilbert", "roberta")
SIZES = np.array([5, 9, 3, 16, 7, 4, 11, 2])
LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int32)


def table() -> TokenTable:
    random = np.random.default_rng(1)
    return TokenTable(
        ids=random.integers(1, 50, SIZES.sum()).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(SIZES)]),
        second=(SIZES // 2).astype(np.int32),
        full=SIZES.astype(np.int32),
        owners=np.arange(len(SIZES), dtype=np.int32),
        pad=0,
    )


def pair_of(family: str, layers: int = 2) -> tuple[Any, Any]:
    """A model of large random weights without dropout, and what takes packed rows into the same layers."""
    size = {"vocabulary_size": 50, "num_layers": layers, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32}
    size["max_positions"] = 16
    config = replace(tiny_config(family), **size, dropout=0.0, attention_dropout=0.0)
    model = heads.attach(assemble(config, dtype="float32"), config, ClassifierHead(dropout=0.0), 3)
    random = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(random.normal(0.0, 1.0, variable.shape).astype(np.float32))
    return model, packed(model)


def both(model: Any, other: Any) -> tuple[Batch, Batch]:
    """The eight texts, a row each, and packed into fewer."""
    rows = table()
    order = [np.arange(len(SIZES))]
    (apart,) = batches(rows, LABELS, order, batch_size=len(SIZES), lengths=(16,), names=inference.input_names(model))
    names, width = inference.input_names(other), row_width(rows.lengths)
    (together,) = packed_batches(rows, LABELS, order, batch_size=len(SIZES), width=width, names=names)
    assert together.shape == (4, 16)
    return apart, together


@pytest.mark.parametrize("family", ["bert", *(pytest.param(name, marks=pytest.mark.at_times) for name in FAMILIES[1:])])
class TestPacked:
    def test_the_same_logits(self, backend: Any, family: str) -> None:
        model, other = pair_of(family)
        apart, together = both(model, other)
        expected = inference.to_host(backend.predictor(model, precision="float32")(apart.inputs))
        predict = backend.predictor(other, precision="float32")
        found = inference.to_host(predict(together.inputs))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
        assert np.ptp(expected, axis=0).min() > 0.05  # texts differ
        # Texts that see each other are not the same, nor are those that do not begin at position 0.
        for name, value in (("padding_mask", 1), ("positions", 3)):
            wrong = {**together.inputs, name: np.full_like(together.inputs[name], value)}
            assert np.abs(inference.to_host(predict(wrong)) - expected).max() > 1e-2

    def test_the_same_step(self, backend: Any, family: str) -> None:
        losses, values = [], []
        for number in (0, 1):
            models = pair_of(family, layers=1)
            batch = both(*models)[number]
            trained = models[number]
            # A large epsilon: a key's bias has no gradient but rounding, and AdamW would make steps of that.
            optimizer = build_optimizer(AdamW(epsilon=1e-3), trained.trainable_variables, num_layers=1, rates=[1e-3])
            trainer = backend.trainer(trained, optimizer, softmax_cross_entropy, precision="float32")
            losses.append(float(inference.to_host(trainer.step(batch.inputs, batch.labels, batch.weights)[0])))
            trainer.commit()
            values.append({v.path: weights.to_numpy(v) for v in models[0].trainable_variables})
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)
        for path, value in values[0].items():
            np.testing.assert_allclose(values[1][path], value, rtol=0, atol=1e-5, err_msg=path)
