"""`training.compile`: a compiled step is the step, under the same masks of dropout."""

from __future__ import annotations

import numpy as np
import pytest

import recipes
import zoo
from zoo.backend import Backend
from zoo.errors import EnvironmentFault
from zoo.models import inference
from zoo.recipe.types import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer
from zoo.training.prepare import activated

STEPS = 3


def losses(backend: Backend, *, compiled: bool, remat: bool = False) -> list[float]:
    changes = {"training.precision": "float32", "training.remat": remat}
    model = zoo.build(recipes.load("quickstart", profile="smoke", overrides=changes))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-3] * STEPS)
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32", compiled=compiled)
    random = np.random.default_rng(0)
    inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
    found = []
    for _ in range(STEPS):
        inputs["token_ids"] = random.integers(5, 400, (4, 8)).astype(np.int32)
        labels = (inputs["token_ids"][:, 0] % 2).astype(np.int32)
        found.append(float(inference.to_host(trainer.step(inputs, labels, np.ones(4, np.float32))[0])))
    return found


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of what it does itself
def test_a_compiled_step_is_the_step(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend.name == "jax":
        assert backend.compiles() == (True,)
        with pytest.raises(EnvironmentFault, match=r"training\.compile: got off, but jax"):
            activated(recipes.load("quickstart", profile="smoke", overrides={"training.compile": "off"}))
        return
    assert backend.compiles()[0] is False
    expected = losses(backend, compiled=False)
    assert expected[0] != expected[-1]
    np.testing.assert_allclose(losses(backend, compiled=True), expected, atol=2e-6)
    if backend.name == "torch":
        from zoo.backend import transformer_torch

        before = transformer_torch._compiled.cache_info()
        assert before.currsize == 1, "both layers are one function"
        np.testing.assert_allclose(losses(backend, compiled=True, remat=True), expected, atol=2e-6)
        assert transformer_torch._compiled.cache_info().currsize == 1
