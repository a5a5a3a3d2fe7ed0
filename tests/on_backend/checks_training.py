"""The optimizer against torch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recipes
import zoo
from zoo.backend import Backend
from zoo.models import inference, weights
from zoo.models.backbone import depth, in_head
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer

pytestmark = pytest.mark.usefixtures("backend")


def small_model(reference: Any) -> Any:
    """The model of references.write_adamw, at its start."""
    import keras

    token_ids = keras.Input((None,), dtype="int32", name="token_ids")
    embedding = keras.layers.Embedding(7, 4, name="token_embedding")
    features = keras.ops.mean(embedding(token_ids), axis=1)
    model = keras.Model({"token_ids": token_ids}, keras.layers.Dense(3, name="logits")(features))
    for variable in model.trainable_variables:
        variable.assign(reference[f"start/{variable.name}"])
    return model


def five_steps(backend: Backend, model: Any, optimizer: Any, reference: Any) -> list[dict[str, np.ndarray]]:
    """The weights after each step."""
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32")
    found = []
    for token_ids, labels in zip(reference["token_ids"], reference["labels"], strict=True):
        trainer.step({"token_ids": token_ids}, labels, np.ones(len(labels), np.float32))
        trainer.commit()
        found.append({v.name: weights.to_numpy(v).copy() for v in model.trainable_variables})
    return found


def distance(found: list[dict[str, np.ndarray]], reference: Any, kind: str) -> float:
    """Largest difference of any weight after any step."""
    return max(
        float(np.abs(value - reference[f"{kind}/{step}/{name}"]).max())
        for step, state in enumerate(found)
        for name, value in state.items()
    )


class TestAdamW:
    @pytest.mark.parametrize("kind", ["plain", "full"])
    def test_as_torch(self, backend: Backend, references: Path, kind: str) -> None:
        """Repeated tokens, clipping, decay of some, rates that move and differ by layer."""
        reference = np.load(references / "adamw.npz")
        config = AdamW(weight_decay=0.0, clip_norm=None)
        rates = [1e-2] * 5
        if kind == "full":
            config, rates = AdamW(weight_decay=0.1, clip_norm=0.1, layer_decay=0.5), reference["rates"].tolist()
        model = small_model(reference)
        optimizer = build_optimizer(config, model.trainable_variables, num_layers=1, rates=rates)
        found = five_steps(backend, model, optimizer, reference)
        assert distance(found, reference, kind) < 2e-6
        assert distance(found, reference, "full" if kind == "plain" else "plain") > 1e-3  # the comparison can fail

    def test_keras_own_differs_where_gradients_are_sparse(self, backend: Backend, references: Path) -> None:
        """Why there is an AdamW of ours: Keras's squares a repeated token's gradients before it sums them."""
        import keras

        reference = np.load(references / "adamw.npz")
        model = small_model(reference)
        optimizer = keras.optimizers.AdamW(1e-2, weight_decay=0.0, epsilon=1e-8)
        optimizer.build(model.trainable_variables)
        off = distance(five_steps(backend, model, optimizer, reference), reference, "plain")
        assert off > 1e-3 if backend.name == "tensorflow" else off < 1e-5

    def test_rates_by_depth(self, backend: Backend) -> None:
        """Adam's first step moves each weight by its rate: the rates can be read off."""
        model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides={"model.backbone.dropout": 0.0}))
        config = AdamW(weight_decay=0.0, clip_norm=None, layer_decay=0.5, head_rate=6e-5, epsilon=1e-12)
        optimizer = build_optimizer(config, model.trainable_variables, num_layers=2, rates=[1e-3])
        before = {v.path: weights.to_numpy(v).copy() for v in model.trainable_variables}
        trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32")
        random = np.random.default_rng(0)
        inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
        inputs["token_ids"] = random.integers(5, 400, (4, 8)).astype(np.int32)
        trainer.step(inputs, np.array([0, 1, 0, 1], np.int32), np.ones(4, np.float32))
        trainer.commit()
        rates: dict[int, float] = {}
        for variable in model.trainable_variables:
            moved = float(np.abs(weights.to_numpy(variable) - before[variable.path]).max())
            level = depth(variable.path, 2) + in_head(variable.path, 2)
            rates[level] = max(rates.get(level, 0.0), moved)
        # Embeddings, two layers, the pooler; and the head, at three times the rate.
        expected = {0: 0.25e-3, 1: 0.5e-3, 2: 1e-3, 3: 1e-3, 4: 3e-3}
        assert rates == pytest.approx(expected, rel=2e-2)

    def test_rate_follows_the_schedule_and_holds(self) -> None:
        model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke"))
        optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1.0, 2.0, 4.0])
        found = []
        for step in range(5):
            optimizer.iterations.assign(step)
            found.append(float(inference.to_host(optimizer.learning_rate)))
        assert found == [1.0, 2.0, 4.0, 4.0, 4.0]


def test_depth_of_every_layer() -> None:
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke"))
    found = {v.path.split("/")[0]: depth(v.path, 2) for v in model.trainable_variables}
    assert found == {
        "token_embedding": 0,
        "segment_embedding": 0,
        "position_embedding": 0,
        "embeddings_layer_norm": 0,
        "transformer_layer_0": 1,
        "transformer_layer_1": 2,
        "pooled_dense": 3,
        "logits": 3,
    }
