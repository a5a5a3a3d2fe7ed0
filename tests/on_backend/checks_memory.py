"""A step that is computed in parts, and layers that are computed again: the same step, with less memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import nano_recipe

import recipes
import zoo
from zoo.backend import Backend
from zoo.data.this_machine import step_bytes
from zoo.errors import TrainingError
from zoo.models import inference, weights
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import estimate
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer

STEPS = 4
ROWS, LENGTH = 8, 12
NO_DROPOUT = {"model.backbone.dropout": 0.0, "model.head.dropout": 0.0}

RATES = np.linspace(1e-3, 4e-3, STEPS)
"""Of the optimizer's steps: parts of one step have one rate."""

Found = tuple[list[float], np.ndarray, dict[str, np.ndarray]]
"""Losses, the last step's logits, and the weights after it."""


def steps(backend: Backend, changes: Mapping[str, Any], *, accumulate: int = 1, weighted: bool = True) -> Found:
    """A few steps on drawn texts, with rows that do not count, in parts that have unlike shares of them."""
    overrides = {"training.precision": "float32", "model.backbone.num_layers": 1, **changes}
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides=overrides))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=1, rates=RATES)
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32", accumulate=accumulate)
    random = np.random.default_rng(0)
    inputs = {name: np.ones((ROWS, LENGTH), np.int32) for name in inference.input_names(model)}
    counted = np.ones(ROWS, np.float32)
    counted[-3:] = 0.0 if weighted else 1.0
    losses = []
    for _ in range(STEPS):
        inputs["token_ids"] = random.integers(5, 400, (ROWS, LENGTH)).astype(np.int32)
        value, logits = trainer.step(inputs, (inputs["token_ids"][:, 0] % 2).astype(np.int32), counted)
        losses.append(float(inference.to_host(value)))
    trainer.commit()
    return losses, inference.to_host(logits), {v.path: weights.to_numpy(v) for v in weights.parameters(model)}


def distance(one: Found, other: Found) -> float:
    """Largest difference of any loss, logit or weight."""
    off = [np.abs(np.subtract(one[place], other[place])).max() for place in (0, 1)]
    return float(max([*off, *(np.abs(one[2][path] - other[2][path]).max() for path in one[2])]))


@pytest.fixture(scope="module")
def whole(backend: Backend) -> Found:
    return steps(backend, NO_DROPOUT)


def test_a_step_in_parts_is_the_step(backend: Backend, whole: Found) -> None:
    """Of sums and counts: means of parts of which two, two, one and no row counts would be another step."""
    assert distance(steps(backend, NO_DROPOUT, accumulate=4), whole) < 2e-6


def test_rows_that_count_after_all_would_be_seen(backend: Backend, whole: Found) -> None:
    assert distance(steps(backend, NO_DROPOUT, weighted=False), whole) > 1e-3


@pytest.mark.at_times
def test_a_layer_computed_again_is_the_layer(backend: Backend) -> None:
    """Under the same masks of dropout, though they are drawn twice."""
    kept = steps(backend, {})
    assert distance(steps(backend, {"training.remat": True}), kept) < 2e-6
    assert distance(steps(backend, {"seed": 1}), kept) > 1e-3


@pytest.mark.at_times
def test_both_take_less_memory(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what the backward pass keeps, as the framework tells it."""
    if backend.name == "torch":
        held = {name: kept_by_torch(backend, *given) for name, given in WAYS.items()}
    elif backend.name == "jax":
        held = {name: kept_by_jax(WAYS[name][0]) for name in ("plain", "remat")}
        compiled = {name: compiled_by_jax(backend, *WAYS[name]) for name in ("plain", "parts")}
        held["parts"] = held["plain"] * compiled["parts"] // compiled["plain"]
    else:  # it tells nothing: a layer's function is traced once more for its gradient
        calls = {name: traces(backend, monkeypatch, *given) for name, given in WAYS.items()}
        assert calls["remat"] > calls["plain"]
        return
    assert held["remat"] < 0.6 * held["plain"]
    assert held["parts"] < 0.6 * held["plain"]


WAYS: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({}, 1),
    "remat": ({"training.remat": True}, 1),
    "parts": ({}, 4),
}


def prepared(backend: Backend, changes: Mapping[str, Any], accumulate: int) -> tuple[Any, Any]:
    """A trainer, and a batch whose activations outweigh the weights."""
    wide = {"model.backbone.num_layers": 4, "training.precision": "float32", **changes}
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides=wide))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=4, rates=[1e-3])
    inputs = {name: np.ones((32, 32), np.int32) for name in inference.input_names(model)}
    batch = inputs, np.zeros(32, np.int32), np.ones(32, np.float32)
    return backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32", accumulate=accumulate), batch


def kept_by_torch(backend: Backend, changes: Mapping[str, Any], accumulate: int) -> int:
    """Bytes of what one forward pass saves for its backward pass."""
    import torch

    trainer, batch = prepared(backend, changes, accumulate)
    trainer.step(*batch)
    largest = total = 0

    def pack(tensor: Any) -> Any:
        nonlocal total, largest
        total += tensor.nbytes
        largest = max(largest, total)
        return tensor

    def unpack(tensor: Any) -> Any:
        nonlocal total
        total -= tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        trainer.step(*batch)
    return largest


def kept_by_jax(changes: Mapping[str, Any]) -> int:
    """Bytes that a forward pass hands to its backward pass; what XLA makes of it on a CPU is the same either way."""
    import jax

    wide = {"model.backbone.num_layers": 4, "training.precision": "float32", **changes}
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides=wide))
    inputs = {name: np.ones((32, 32), np.int32) for name in inference.input_names(model)}
    others = [variable.value for variable in model.non_trainable_variables]

    def logits(trainable: list[Any]) -> Any:
        return model.stateless_call(trainable, others, inputs, training=True)[0]

    def backward(trainable: list[Any]) -> Any:
        return jax.vjp(logits, trainable)[1]

    # Shapes alone: to compute them would compile every operation by itself.
    pull = jax.eval_shape(backward, [variable.value for variable in model.trainable_variables])
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(pull))


def compiled_by_jax(backend: Backend, changes: Mapping[str, Any], accumulate: int) -> int:
    """Bytes of temporaries of the compiled step."""
    trainer, batch = prepared(backend, changes, accumulate)
    state = tuple([variable.value for variable in group] for group in trainer._groups)
    return int(trainer._step.lower(state, *batch).compile().memory_analysis().temp_size_in_bytes)


def traces(backend: Backend, patch: pytest.MonkeyPatch, changes: Mapping[str, Any], accumulate: int) -> int:
    """How often the layers were traced for a step."""
    from zoo.backend import transformer

    count = 0
    layer = transformer.Kernels.layer

    def counted(*given: Any) -> Any:
        nonlocal count
        count += 1
        return layer(*given)

    patch.setattr(transformer.Kernels, "layer", counted)
    trainer, batch = prepared(backend, changes, accumulate)
    count = 0
    trainer.step(*batch)
    patch.undo()
    return count


class TestAuto:
    """`accumulate: auto` takes the fewest parts that fit."""

    @pytest.mark.at_times
    def test_by_trial(self, backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """On a device that takes half a batch at once: the run is that of the number it finds, to the last bit."""
        wanted = trained(tmp_path / "two", {"training.accumulate": 2})
        whole, tried = type(backend).trainer, list[int]()

        class Failing:
            def __init__(self, trainer: Any) -> None:
                self.trainer = trainer

            def step(self, *batch: Any) -> Any:
                self.trainer.step(*batch)  # which changes variables, or hands their memory on
                self.trainer.commit()
                raise MemoryError

        def trainer(self: Backend, *given: Any, accumulate: int, **ways: Any) -> Any:
            tried.append(accumulate)
            found = whole(self, *given, accumulate=accumulate, **ways)
            return Failing(found) if accumulate < 2 else found

        monkeypatch.setattr(type(backend), "trainer", trainer)
        monkeypatch.setattr("zoo.training.fewest_parts.kills", lambda backend: False)
        found = trained(tmp_path / "auto", {"training.accumulate": "auto"})
        assert tried == [1, 2, 2]
        for path, value in wanted.items():
            np.testing.assert_array_equal(found[path], value)
        told = (tmp_path / "auto/log.txt").read_text()
        assert "2 parts of 16 rows, the fewest that fit in memory by trial" in told

    @pytest.mark.at_times
    def test_by_estimate(self, backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        size = Dimensions(
            num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=16, vocabulary_size=1000, max_positions=512
        )
        free = step_bytes(estimate(nano_recipe({"training.accumulate": 4}), size, None), "float32", backend.name)
        monkeypatch.setattr("zoo.training.fewest_parts.free_bytes", lambda: free)
        trained(tmp_path, {"training.accumulate": "auto"})
        assert "in 4 parts of 8 rows" in (tmp_path / "log.txt").read_text()

    def test_not_even_a_row(self, backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("zoo.training.fewest_parts.free_bytes", lambda: 1000)
        with pytest.raises(TrainingError, match=r"training\.accumulate: auto .* 32 parts of one row"):
            trained(tmp_path, {"training.accumulate": "auto"})


def trained(folder: Path, changes: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The weights of a short run."""
    fixed = {"training.epochs": 1, "data.limit": {"train": 64, "test": 16}}
    zoo.train(nano_recipe({**fixed, **changes}), out=folder)
    return weights.read_safetensors(folder / "model/weights.safetensors")
