"""A step with bfloat16 products takes the same direction as one with float32 products."""

from __future__ import annotations

import numpy as np
import pytest
from nano import drawn

import recipes
import zoo
from zoo.backend import Backend
from zoo.model import heads, inference, weights
from zoo.recipe.types import AdamW, ClassifierHead
from zoo.training.optimizer import build_optimizer


def gradients(backend: Backend, precision: str, seed: int = 0) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of a step, dropout on: with an epsilon far above them, AdamW's first step is -rate * g."""
    changes = {"training.precision": precision, "seed": seed}
    model = zoo.build(recipes.load("quickstart", profile="smoke", overrides=changes))
    config = AdamW(weight_decay=0.0, clip_norm=None, layer_decay=1.0, epsilon=1e4)
    optimizer = build_optimizer(config, model.trainable_variables, num_layers=2, rates=[1e4])
    trainer = backend.trainer(model, optimizer, heads.loss(ClassifierHead()))
    for variable in model.trainable_variables:
        variable.assign(drawn(variable.path, variable.shape, 1) + ("gamma" in variable.path))
    before = {v.path: weights.to_numpy(v).copy() for v in model.trainable_variables}
    inputs = {name: np.ones((16, 12), np.int32) for name in inference.input_names(model)}
    inputs["token_ids"] = np.random.default_rng(0).integers(5, 400, (16, 12)).astype(np.int32)
    loss, _ = trainer.step(inputs, np.arange(16, dtype=np.int32) % 2, np.ones(16, np.float32))
    trainer.commit()
    return float(inference.to_host(loss)), {
        v.path: before[v.path] - weights.to_numpy(v) for v in model.trainable_variables
    }


def test_as_float32(backend: Backend) -> None:
    loss, exact = gradients(backend, "float32")
    rounded_loss, rounded = gradients(backend, "bfloat16")
    assert rounded_loss == pytest.approx(loss, rel=1e-2)
    assert rounded_loss != loss  # it was another precision
    assert far(exact, rounded) == []
    _, other = gradients(backend, "float32", seed=1)  # other masks of dropout
    assert len(far(exact, other)) > len(exact) / 2


def far(exact: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> list[str]:
    """Variables whose gradient is over a twentieth of its norm away; one that is only rounding has no direction."""
    norms = {path: float(np.linalg.norm(gradient)) for path, gradient in exact.items()}
    least = 1e-4 * max(norms.values())
    return [p for p, norm in norms.items() if norm > least and np.linalg.norm(found[p] - exact[p]) > 0.05 * norm]
