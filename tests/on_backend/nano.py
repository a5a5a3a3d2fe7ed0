"""Nano models and what they are compared with, for the checks beside this file."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recipes
import zoo
from zoo.backend import Backend
from zoo.data.backbones import Preset
from zoo.data.batches import Batch
from zoo.finished import Run
from zoo.models import inference, weights
from zoo.models.backbone import DEFAULTS, BackboneConfig
from zoo.models.blueprint import Blueprint
from zoo.models.builder import build_model
from zoo.models.encoder import assemble
from zoo.models.presets import read_config
from zoo.recipe import Recipe, recipe_from
from zoo.recipe.heads import Head
from zoo.recipe.optimizers import AdamW
from zoo.runs.screen import Screen
from zoo.tasks import Task, task_of
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer

FAMILIES = ("bert", "distilbert", "roberta")
KINDS = [(family, activation) for family in FAMILIES for activation in ("gelu", "gelu_new")]
TOLERANCE = 1e-4
BETA = 0.9
"""Of the optimizer of `stepped`: its first moment after one step is the gradient by 1 - BETA."""
SHORT: dict[str, Any] = {"training.epochs": 3, "data.limit": {"train": 96}}
"""Changes of quickstart's `smoke` where what is learned does not count: 18 steps in place of 92."""


class Interrupting(Screen):
    """Presses Ctrl-C at the second step of an epoch, and keeps what it is told."""

    def __init__(self, epoch: int) -> None:
        super().__init__(quiet=True)
        self.epoch, self.notes = epoch, list[str]()

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        self.seen = getattr(self, "seen", 0) + (epoch == self.epoch)
        if self.seen == 2:
            raise KeyboardInterrupt

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def stopped_and_whole(recipe: Recipe, folder: Path) -> tuple[Run, Run]:
    """A run that was interrupted in its third epoch and gone on with, and the same one never stopped: of the same
    weights and predictions to the last bit."""
    whole = zoo.train(recipe, out=folder / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        zoo.train(recipe, out=folder / "cut", progress=Interrupting(3))
    again = zoo.train(recipe, out=folder / "cut", resume=True, progress=False)
    for name in ("model/weights.safetensors", "predictions.jsonl"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    return again, whole


def preset(folder: Path, family: str, layout: str = "hf") -> Preset:
    return Preset(path=folder, layout=layout, family=family, name=folder.name)  # type: ignore[arg-type]


def changed(source: Path, target: Path, changes: dict[str, Any], file: str = "config.json") -> Path:
    """A copy of a preset, other in some keys of one of its JSON files; None takes a key out."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    content = json.loads((target / file).read_text()) | changes
    (target / file).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return target


def backbone_of(found: Preset) -> Any:
    config = read_config(found).backbone
    backbone = assemble(config, dtype="float32")
    weights.load_hugging_face(backbone, config, found.path, head=None)
    return backbone


def classifier_of(found: Preset, head: Head, classes: int = 3) -> Any:
    return build_model(blueprint_of(found, head, classes), preset=found, seed=0, precision="float32")


def blueprint_of(found: Preset, head: Head, classes: int = 3) -> Blueprint:
    config = read_config(found)
    filled = head.model_copy(update={"dropout": config.head_dropout})
    return Blueprint(
        backbone=config.backbone, head=filled, units=task_with(head, [str(n) for n in range(classes)]).units
    )


def task_with(head: Head, names: Sequence[str], threshold: float | None = None) -> Task:
    """The task of a head with these names, as it is once rows are read."""
    task = task_of(head)
    return replace(task, names=tuple(names), threshold=task.threshold if threshold is None else threshold)


def assert_logits(found: Preset, head: Head, classes: int = 3) -> None:
    """A model with the preset's own head gives the reference's logits, in a padded batch and for a row alone."""
    reference = np.load(found.path / "reference.npz")
    model = classifier_of(found, head, classes)
    ours = inference.to_host(call(model, inputs_of(reference)))
    np.testing.assert_allclose(ours, reference["logits"], rtol=0, atol=TOLERANCE)
    alone = inference.to_host(call(model, inputs_of(reference, slice(1, 2), 9)))
    np.testing.assert_allclose(alone, reference["logits"][1:2], rtol=0, atol=TOLERANCE)


def call(model: Any, inputs: dict[str, np.ndarray]) -> Any:
    return model({name: inputs[name] for name in inference.input_names(model)}, training=False)


def hidden_states(backbone: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    output = call(backbone, inputs)
    return inference.to_host(output["sequence_output"] if isinstance(output, dict) else output)


def inputs_of(reference: Any, rows: slice = slice(None), length: int | None = None) -> dict[str, np.ndarray]:
    return {name: reference[name][rows, :length] for name in ("token_ids", "padding_mask", "segment_ids")}


def assert_hidden_states(backbone: Any, reference: Any, tolerance: float = TOLERANCE) -> None:
    """Equal at all real tokens, in a padded batch and for a row alone, without the padding that it had there."""
    mask = reference["padding_mask"].astype(bool)
    ours = hidden_states(backbone, inputs_of(reference))
    np.testing.assert_allclose(ours[mask], reference["hidden"][mask], rtol=0, atol=tolerance)
    length = int(mask[1].sum())
    alone = hidden_states(backbone, inputs_of(reference, slice(1, 2), length))
    np.testing.assert_allclose(alone[0], reference["hidden"][1, :length], rtol=0, atol=tolerance)


def drawn(path: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """What weights.draw says it does, written another way: redraw each value until it lies within two deviations."""
    random = np.random.Generator(np.random.PCG64([seed, zlib.crc32(path.encode())]))
    flat = random.standard_normal(int(np.prod(shape)))
    while len(places := np.flatnonzero((flat < -2) | (flat > 2))):
        flat[places] = random.standard_normal(len(places))
    return (0.02 * flat).reshape(shape).astype(np.float32)


def tiny_config(family: Any) -> BackboneConfig:
    """The smallest backbone of a family that can be built."""
    return BackboneConfig(
        family=family,
        vocabulary_size=10,
        num_layers=1,
        num_heads=1,
        hidden_dim=4,
        intermediate_dim=8,
        max_positions=8,
        **DEFAULTS[family],
    )


def nano_recipe(changes: dict[str, Any] | None = None) -> Recipe:
    return recipe_from(
        {
            "name": "nano",
            "data": {"dataset": "smoke_reviews"},
            "tokens": {"max_length": 32},
            "model": {
                "backbone": {
                    "family": "bert",
                    "num_layers": 1,
                    "num_heads": 2,
                    "hidden_dim": 8,
                    "intermediate_dim": 16,
                    "vocabulary": "nano_uncased",
                }
            },
        },
        overrides={"training.precision": "float32", **(changes or {})},
    )


def few_steps(
    backend: Backend, changes: Mapping[str, Any] | None = None, **ways: Any
) -> tuple[list[float], Any, dict[str, np.ndarray]]:
    """Losses of three steps of a nano BERT in float32, dropout on; then the model and the last inputs.

    Args:
        backend: the active one.
        changes: of the recipe.
        ways: what `Backend.trainer` takes beside the precision.
    """
    overrides = {"training.precision": "float32", **(changes or {})}
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides=overrides))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-3] * 3)
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32", **ways)
    random = np.random.default_rng(0)
    inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
    losses = []
    for _ in range(3):
        inputs["token_ids"] = random.integers(5, 400, (4, 8)).astype(np.int32)
        labels = (inputs["token_ids"][:, 0] % 2).astype(np.int32)
        losses.append(float(inference.to_host(trainer.step(inputs, labels, np.ones(4, np.float32))[0])))
    return losses, model, inputs


@dataclass(frozen=True)
class Stepped:
    """The loss of one step, and its gradient by the path of the variable."""

    loss: float
    gradient: dict[str, np.ndarray]


def stepped(
    backend: Backend, model: Any, task: Any, batch: Batch, rows: slice | np.ndarray = slice(None), **ways: Any
) -> Stepped:
    """One step on some rows of a batch; the weights of the model are as they were.

    `ways` are what `Backend.trainer` takes beside the precision.
    """
    before = {variable.path: weights.to_numpy(variable).copy() for variable in model.trainable_variables}
    config = AdamW(clip_norm=None, beta_1=BETA)
    optimizer = build_optimizer(config, model.trainable_variables, num_layers=1, rates=[1e-3])
    trainer = backend.trainer(model, optimizer, task.loss, precision="float32", **ways)
    inputs = {name: array[rows] for name, array in batch.inputs.items()}
    loss, _ = trainer.step(inputs, batch.labels[rows], batch.weights[rows])
    trainer.commit()
    moments = [variable for variable in optimizer.variables if "first_moment" in variable.path]
    found = {
        variable.path: weights.to_numpy(moment) / (1.0 - BETA)
        for variable, moment in zip(model.trainable_variables, moments, strict=True)
    }
    for variable in model.trainable_variables:
        variable.assign(before[variable.path])
    return Stepped(float(inference.to_host(loss)), found)
