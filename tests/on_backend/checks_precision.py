"""A step with bfloat16 products takes the same direction as one with float32 products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nano import drawn, tiny_config

import recipes
import zoo
from zoo import predict
from zoo.backend import Backend
from zoo.data.trials import Trial
from zoo.finished import Run
from zoo.models import inference, weights
from zoo.recipe.types import AdamW
from zoo.runs import run
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer
from zoo.training.trial import quicker_precision


def gradients(backend: Backend, precision: str, seed: int = 1) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of a step, dropout on: with an epsilon far above them, AdamW's first step is -rate * g."""
    changes = {"training.precision": precision, "seed": seed}
    model = zoo.build(recipes.load("quickstart", profile="smoke", overrides=changes))
    config = AdamW(weight_decay=0.0, clip_norm=None, layer_decay=1.0, epsilon=1e4)
    optimizer = build_optimizer(config, model.trainable_variables, num_layers=2, rates=[1e4])
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy)
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
    _, other = gradients(backend, "float32", seed=2)  # other masks of dropout
    assert len(far(exact, other)) > len(exact) / 2


def far(exact: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> list[str]:
    """Variables whose gradient is over a twentieth of its norm away; one that is only rounding has no direction."""
    norms = {path: float(np.linalg.norm(gradient)) for path, gradient in exact.items()}
    least = 1e-4 * max(norms.values())
    return [p for p, norm in norms.items() if norm > least and np.linalg.norm(found[p] - exact[p]) > 0.05 * norm]


def test_auto_is_tried_on_this_device(backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Both kinds of step are real ones, in training and in prediction."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    for work in ("train", "predict"):
        found = quicker_precision(tiny_config("bert"), backend, rows=2, length=8, work=work)  # type: ignore[arg-type]
        assert all(0.0 < seconds < 10.0 for seconds in found.seconds.values())
    assert len(list((tmp_path / "trials").iterdir())) == 2


def test_a_finished_run_predicts_in_the_quicker_precision(
    whole: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured is kept, chooses, and is told; without a trial the precision is the caller's."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    assert zoo.load_run(whole.path).trial is None
    asked: list[str] = []

    def measured(*arguments: object, work: str, **named: object) -> Trial:
        asked.append(work)
        return Trial(device="cpu", seconds={"float32": 0.02, "bfloat16": 0.01})

    monkeypatch.setattr(run, "quicker_precision", measured)
    quick = zoo.load_run(whole.path, precision="auto")
    assert (quick.precision, asked) == ("bfloat16", ["predict"])
    assert predict.main([str(whole.path), "--text", "good", "--precision", "auto"]) == 0
    assert "bfloat16 (10 ms against 20 in float32" in capsys.readouterr().err
    near = zoo.load_run(whole.path).probabilities(["good film"])
    np.testing.assert_allclose(quick.probabilities(["good film"]), near, atol=0.02)
    assert (quick.probabilities(["good film"]) != near).any()
