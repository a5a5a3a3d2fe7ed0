"""Strategies of robustness, each held to its formula: texts that are moved against the model."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks_packing import both, pair_of
from nano import blueprint_of, classifier_of, preset, stepped, task_with
from scipy.special import softmax

import recipes
from zoo.backend import Backend
from zoo.data.batches import Batch
from zoo.models import inference, weights
from zoo.models.builder import build_model
from zoo.models.in_training import SHIFT, in_training
from zoo.recipe.heads import ClassifierHead
from zoo.recipe.robustness import Adversarial
from zoo.recipe.training_group import Training
from zoo.training.adversarial import FastGradient, adversary_of
from zoo.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("backend")

HEAD = ClassifierHead(init="preset")
THREE = task_with(HEAD, ["a", "b", "c"])
MOVED = Training(adversarial=Adversarial(epsilon=0.5))
EAGER = os.environ["KERAS_BACKEND"] == "torch"
"""The others compile each step."""
at_times = pytest.mark.usefixtures("backend") if EAGER else pytest.mark.slow


def checkpoint(references: Path, config: Training) -> tuple[Any, dict[str, np.ndarray], int]:
    """The model for steps on the checkpoint bert-gelu without dropout, the inputs of its reference, and its width."""
    found = preset(references / "bert-gelu", "bert")
    blueprint = blueprint_of(found, HEAD)
    still = replace(blueprint.backbone, dropout=0.0, attention_dropout=0.0)
    blueprint = replace(blueprint, backbone=still, head=blueprint.head.model_copy(update={"dropout": 0.0}))
    model = build_model(blueprint, preset=found, seed=0, precision="float32")
    batch = np.load(found.path / "reference.npz")
    given = {name: batch[name] for name in inference.input_names(model)}
    return in_training(model, config, HEAD), given, still.hidden_dim


class TestFastGradient:
    @pytest.mark.parametrize("accumulate", [1, 2] if EAGER else [2])
    def test_a_step_as_torch_has_it(self, backend: Backend, references: Path, accumulate: int) -> None:
        """Its loss, and the gradients of both passes by all weights, also in parts whose rows count unlike."""
        theirs = np.load(references / "adversarial" / "reference.npz")
        model, inputs, width = checkpoint(references, MOVED)
        batch = Batch(inputs=inputs, labels=theirs["labels"], weights=theirs["weights"], rows=np.arange(4), tokens=0)
        before = {v.path: weights.to_numpy(v).tobytes() for v in model.variables}
        found = stepped(backend, model, THREE, batch, adversary=adversary_of(MOVED, width), accumulate=accumulate)
        assert {v.path: weights.to_numpy(v).tobytes() for v in model.variables} == before
        assert found.loss == pytest.approx(float(theirs["loss"]), abs=1e-6)
        gradients = classifier_of(preset(references / "adversarial", "bert"), HEAD)
        expected = {v.path: weights.to_numpy(v) for v in weights.parameters(gradients)}
        assert found.gradient.keys() == expected.keys()
        for path, value in expected.items():
            np.testing.assert_allclose(found.gradient[path], value, rtol=0, atol=2e-6, err_msg=path)

    def test_a_text_is_moved_by_epsilon(self, backend: Backend, references: Path) -> None:
        """Along the gradient of the loss, as torch has it; what fills a batch stays."""
        theirs = np.load(references / "adversarial" / "reference.npz")
        model, inputs, width = checkpoint(references, MOVED)
        logits = np.load(references / "bert-gelu" / "reference.npz")["logits"]
        by_logits = softmax(logits, axis=-1) - np.eye(3)[theirs["labels"]]
        by_logits[2] = 0.0
        zeros = np.zeros((*inputs["token_ids"].shape, width), np.float32)
        gradient = backend.gradient(model, SHIFT)({**inputs, SHIFT: zeros}, by_logits.astype(np.float32))
        attack = FastGradient(epsilon=0.5, hidden_dim=width)
        for factor in (1.0, 1e-25, 1e20):  # of a text that the model is sure of hardly anything is left
            found = inference.to_host(attack.against(gradient * factor, inputs))
            norms = np.sqrt((found.astype(np.float64) ** 2).sum(axis=(1, 2)))
            np.testing.assert_allclose(norms, [0.5, 0.5, 0.0, 0.5], rtol=1e-5)
            kept = [0, 1, 3]
            np.testing.assert_allclose(found[kept], theirs["shift"][kept], rtol=0, atol=1e-5)
        assert not inference.to_host(attack.still(inputs)).any()

    @at_times
    def test_texts_that_share_a_row(self, backend: Backend) -> None:
        """Each of them is moved by itself: the step is that of a row a text."""
        model, together = pair_of("bert", layers=1)
        adversary = adversary_of(MOVED, 16)
        found = []
        for number, packing in enumerate((False, True)):
            moving = in_training(model, MOVED.model_copy(update={"packing": packing}), HEAD)
            found.append(stepped(backend, moving, THREE, both(model, together)[number], adversary=adversary))
        assert found[1].loss == pytest.approx(found[0].loss, abs=1e-5)
        for path, value in found[0].gradient.items():
            np.testing.assert_allclose(found[1].gradient[path], value, rtol=0, atol=1e-4, err_msg=path)

    @at_times
    @pytest.mark.parametrize("name", ["ner_bert", "squad_bert", "imdb_masked", "multitask", "amazon_stars_bert"])
    def test_every_task(self, backend: Backend, name: str) -> None:
        """It moves the gradient of each, and the loss stays that of the texts as they are."""
        changes = {"training.adversarial": {"epsilon": 0.5}, "training.precision": "float32"}
        session = prepare(recipes.load(name, profile="smoke", overrides=changes), backend=backend)
        batch = next(iter(session.epoch_batches(0)))
        assert session.adversary is not None
        near = replace(session.adversary, epsilon=1e-6)
        found = []
        for adversary in (session.adversary, near):
            for variable in session.trained.variables:
                if variable.name == weights.SEED:
                    variable.assign(np.array([7, 0], np.uint32))
            found.append(stepped(backend, session.trained, session.objective, batch, adversary=adversary))
        assert found[0].loss == pytest.approx(found[1].loss, abs=1e-6)
        apart = {path: np.abs(value - found[1].gradient[path]).max() for path, value in found[0].gradient.items()}
        assert 1e-5 < max(apart.values()) < 1e3
