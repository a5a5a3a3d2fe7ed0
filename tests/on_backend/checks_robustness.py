"""Strategies of robustness, each held to its formula: texts that are moved, computed twice, or mixed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checks_losses import task_of_three, value
from checks_packing import both, pair_of
from nano import SHORT, blueprint_of, classifier_of, nano_recipe, preset, stepped, stopped_and_whole
from scipy.special import expit, log_expit, log_softmax, softmax

import recipes
from zoo.backend import Backend
from zoo.data.batches import Batch
from zoo.data.mixup import PARTNER, SHARE
from zoo.models import inference, weights
from zoo.models.builder import build_model
from zoo.models.in_training import SHIFT, in_training
from zoo.recipe.heads import BinaryHead, ClassifierHead, Head, MultilabelHead, TokensHead
from zoo.recipe.robustness import Adversarial
from zoo.recipe.training_group import Training
from zoo.tasks.twice import Twice
from zoo.training.adversarial import FastGradient, adversary_of
from zoo.training.fewest_parts import fewest_parts
from zoo.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("backend")

HEAD = ClassifierHead(init="preset")
THREE = task_of_three(HEAD)
MOVED = Training(adversarial=Adversarial(epsilon=0.5))
EAGER = os.environ["KERAS_BACKEND"] == "torch"
"""The others compile each step."""


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
        for path, gradient in expected.items():
            np.testing.assert_allclose(found.gradient[path], gradient, rtol=0, atol=2e-6, err_msg=path)

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

    @pytest.mark.at_times
    def test_texts_that_share_a_row(self, backend: Backend) -> None:
        """Each of them is moved by itself: the step is that of a row a text."""
        model, together = pair_of("bert", layers=1)
        adversary = adversary_of(MOVED, 16)
        found = []
        for number, packing in enumerate((False, True)):
            moving = in_training(model, MOVED.model_copy(update={"packing": packing}), HEAD)
            found.append(stepped(backend, moving, THREE, both(model, together)[number], adversary=adversary))
        assert found[1].loss == pytest.approx(found[0].loss, abs=1e-5)
        for path, gradient in found[0].gradient.items():
            np.testing.assert_allclose(found[1].gradient[path], gradient, rtol=0, atol=1e-4, err_msg=path)

    @pytest.mark.at_times
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
        apart = {path: np.abs(gradient - found[1].gradient[path]).max() for path, gradient in found[0].gradient.items()}
        assert 1e-5 < max(apart.values()) < 1e3


class TestTwice:
    @pytest.mark.parametrize("head", [ClassifierHead(), BinaryHead(), MultilabelHead(), TokensHead()])
    def test_the_loss_is_its_formula(self, references: Path, head: Head) -> None:
        found = np.load(references / "losses.npz")
        logits, labels = (found[f"{head.type}_{what}"] for what in ("logits", "labels"))
        task, flags = task_of_three(head), head.type in ("binary", "multilabel")
        other = logits + 3 * np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
        counted = np.array([0, 0, 1, 0.5, 2, 1, 0, 0], np.float32)  # the first two are extreme
        both = np.stack([logits, other], 1)
        own = [value(task, each, labels, counted) for each in (logits, other)]
        apart = symmetric(logits.astype(np.float64), other.astype(np.float64), flags=flags)
        shares = counted if apart.ndim == 1 else counted[:, None] * (labels >= 0)
        expected = np.mean(own) + 0.7 * (apart * shares).sum() / shares.sum()
        agreed = Twice(task=task, own=task, weight=0.7)
        assert value(agreed, both, labels, counted) == pytest.approx(expected, rel=1e-5)
        assert agreed.hits(both, labels, counted) == task.hits(logits, labels, counted)
        assert expected > 1.001 * np.mean(own)

    @pytest.mark.at_times
    def test_a_step_sees_each_text_under_two_masks(self, backend: Backend) -> None:
        """In parts, too: a step of a session tells the loss of what it puts out."""
        session = prepare(nano_recipe({"training.r_drop": {"weight": 2.0}, "training.batch_size": 8}), backend=backend)
        batch = next(iter(session.epoch_batches(0)))
        counted = np.linspace(0.0, 1.0, 8, dtype=np.float32)
        trainer = backend.trainer(
            session.trained,
            session.optimizer(session.rates()),
            session.objective.loss,
            precision="float32",
            accumulate=2,
        )
        told, outputs = map(inference.to_host, trainer.step(batch.inputs, batch.labels, counted))
        assert outputs.shape == (8, 2, 2)
        assert np.abs(outputs[:, 0] - outputs[:, 1]).max() > 1e-4
        cross = -log_softmax(outputs.astype(np.float64), axis=-1)[np.arange(8), :, batch.labels].mean(axis=1)
        apart = symmetric(*outputs.astype(np.float64).swapaxes(0, 1), flags=False)
        assert float(told) == pytest.approx(((cross + 2.0 * apart) * counted).sum() / counted.sum(), abs=1e-6)


class TestMixup:
    @pytest.mark.at_times
    @pytest.mark.parametrize("changes", [{"training.accumulate": 2}, {"training.packing": True}][: 1 + EAGER])
    def test_a_step_learns_mixtures(self, backend: Backend, changes: dict[str, Any]) -> None:
        """Features of both texts in their shares, so that logits are mixed alike; and the loss of both labels."""
        still = {"model.backbone.dropout": 0.0, "model.head.dropout": 0.0, "training.batch_size": 8}
        declared = {"training.class_weights": {"negative": 0.5}, "training.mixup": {"alpha": 1.0}}
        session = prepare(nano_recipe({**still, **declared, **changes}), backend=backend)
        plain = prepare(nano_recipe({**still, "training.packing": session.recipe.training.packing}), backend=backend)
        for model in (session.model, plain.model):
            random = np.random.default_rng(0)
            for variable in model.trainable_variables:  # large ones, so that texts differ
                variable.assign(random.normal(0.0, 1.0, variable.shape).astype(np.float32))
        batch = next(iter(session.epoch_batches(0)))
        inputs = {name: batch.inputs[name] for name in inference.input_names(plain.trained)}
        logits = inference.to_host(backend.predictor(plain.trained, precision="float32")(inputs)).astype(np.float64)
        share, other = batch.inputs[SHARE][:, None], np.arange(8) + batch.inputs[PARTNER]
        expected = share * logits + (1 - share) * logits[other]
        made = session.trained, session.optimizer(session.rates()), session.objective.loss
        trainer = backend.trainer(*made, precision="float32", accumulate=session.recipe.training.least_parts)
        told, outputs = map(inference.to_host, trainer.step(batch.inputs, batch.labels, batch.weights))
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
        assert np.abs(outputs - logits).max() > 0.1
        labels = batch.labels[:, 0].astype(int)
        assert labels[: len(batch.rows)].tolist() == session.splits["train"].labels[batch.rows].tolist()
        shares = batch.weights.astype(np.float64)
        assert {*shares.tolist()} >= {0.5, 1.0}
        by_label = -log_softmax(expected, axis=-1)
        losses = by_label[np.arange(8), labels], by_label[np.arange(8), labels[other]]
        total = (share[:, 0] * shares * losses[0] + (1 - share[:, 0]) * shares[other] * losses[1]).sum()
        assert float(told) == pytest.approx(total / shares.sum(), rel=1e-5)
        assert session.objective.counted(batch.labels, batch.weights) == pytest.approx(shares.sum())
        hits = session.objective.hits(outputs, batch.labels, batch.weights)["accuracy"]
        assert hits == pytest.approx(shares[outputs.argmax(axis=1) == labels].sum())

    def test_parts_that_fit_have_whole_pairs(self) -> None:
        """Of `accumulate: auto`: 12 rows fit in 4 parts, and of an even number of rows in 6."""
        assert [fewest_parts(12, lambda parts: parts >= 4, least=least) for least in (1, 2)] == [4, 6]

    @pytest.mark.at_times
    @pytest.mark.parametrize("name", ["quora_bert", "goemotions_bert", "amazon_stars_bert"])
    def test_every_task_of_texts(self, backend: Backend, name: str) -> None:
        """The told loss is the task's own by both targets, of each text by its share of the mixture."""
        from keras import ops

        session, plain = (
            prepare(recipes.load(name, profile="smoke", overrides=changes), backend=backend)
            for changes in ({"training.mixup": {"alpha": 1.0}}, {})
        )
        mixed, batch = (next(iter(each.epoch_batches(0))) for each in (session, plain))
        made = session.trained, session.optimizer(session.rates()), session.objective.loss
        told, outputs = map(
            inference.to_host,
            backend.trainer(*made, precision="float32").step(mixed.inputs, mixed.labels, mixed.weights),
        )
        share, other = mixed.inputs[SHARE], np.arange(len(mixed.weights)) + mixed.inputs[PARTNER]
        total = 0.0
        for rows, weights_ in ((slice(None), share), (other, 1 - share)):
            given = outputs, batch.labels[rows], batch.weights[rows] * weights_
            total += float(inference.to_host(plain.objective.loss(*map(ops.convert_to_tensor, given))[0]))
        expected = total / plain.objective.counted(batch.labels, batch.weights)
        assert float(told) == pytest.approx(expected, rel=1e-5)


@pytest.mark.at_times
@pytest.mark.usefixtures("unpainted")
def test_a_run_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    """The same weights and predictions to the last bit."""
    changes = SHORT | {"training.adversarial": {"epsilon": 0.1}, "training.r_drop": {"weight": 0.5}}
    changes |= {"training.mixup": {"alpha": 0.5}}
    stopped_and_whole(recipes.load("quickstart", profile="smoke", overrides=changes), tmp_path)


def symmetric(one: np.ndarray, other: np.ndarray, *, flags: bool) -> np.ndarray:
    """The mean of both Kullback-Leibler divergences over the last axis of logits, in nats; flags: the mean over it of
    those of two values."""

    def of(p: np.ndarray, log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
        return p * (log_p - log_q)

    if not flags:
        logs = [log_softmax(each, axis=-1) for each in (one, other)]
        return sum(of(np.exp(p), p, q).sum(axis=-1) for p, q in (logs, logs[::-1])) / 2
    found = [
        of(expit(sign * p), log_expit(sign * p), log_expit(sign * q)).mean(axis=-1)
        for p, q in ((one, other), (other, one))
        for sign in (1, -1)
    ]
    return sum(found) / 2
