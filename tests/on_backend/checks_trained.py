"""What is trained: frozen weights, biases alone, layers that join, adapters, averages; each held to what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import Interrupting, call, few_steps, inputs_of, preset

import recipes
import zoo
from zoo.backend import Backend
from zoo.errors import RecipeError
from zoo.models import adapted, inference, weights
from zoo.models.backbone import depth
from zoo.models.blueprint import Blueprint
from zoo.models.builder import assemble_model, build_model
from zoo.models.presets import read_config
from zoo.recipe import Recipe
from zoo.recipe.heads import ClassifierHead
from zoo.recipe.optimizers import AdamW
from zoo.recipe.trained_group import Lora, Unfreeze
from zoo.recipe.training_group import Training
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer
from zoo.training.trained import Trained

pytestmark = pytest.mark.usefixtures("backend", "unpainted")

TARGETS = ("query", "key", "value", "attention_output", "feedforward_intermediate", "feedforward_output")
HUGGING_FACE = {
    **{name: f"attention.self.{name}" for name in ("query", "key", "value")},
    "attention_output": "attention.output.dense",
    "feedforward_intermediate": "intermediate.dense",
    "feedforward_output": "output.dense",
}
"""Modules of transformers by what recipes call the products."""


def recipe(keys: Mapping[str, Any] | None = None, name: str = "imdb_bert_2k") -> Recipe:
    """The smoke profile of a recipe of two layers, with these keys of `training`."""
    keys = keys or {}
    return recipes.load(name, profile="smoke", overrides={f"training.{k}": v for k, v in keys.items()})


def moved(backend: Backend, keys: dict[str, Any]) -> tuple[set[str], Any]:
    """Paths of the weights that two steps of a recipe change, and its model."""
    model = zoo.build(recipe(keys))
    before = {v.path: weights.to_numpy(v).copy() for v in model.variables}
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-2] * 2)
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32")
    # Every row of every table of embeddings is looked up, so that each has a gradient.
    random = np.random.default_rng(0)
    inputs = {name: np.ones((16, 32), np.int32) for name in inference.input_names(model)}
    inputs["token_ids"] = random.integers(5, 400, (16, 32)).astype(np.int32)
    inputs["segment_ids"] = np.tile(np.arange(32, dtype=np.int32) % 2, (16, 1))
    for _ in range(2):
        trainer.step(inputs, (np.arange(16) % 2).astype(np.int32), np.ones(16, np.float32))
    trainer.commit()
    after = {v.path: weights.to_numpy(v) for v in model.variables if v.name != weights.SEED}
    return {path for path, value in after.items() if not np.array_equal(value, before[path])}, model


def _level(path: str) -> int:
    return depth(path, 2)


class TestWhatIsTrained:
    @pytest.mark.parametrize(
        ("keys", "joins"),
        [
            ({}, lambda path: True),
            ({"freeze": {"layers": 1}}, lambda path: _level(path) > 1),
            pytest.param({"freeze": {"layers": "all"}}, lambda path: _level(path) > 2, marks=pytest.mark.at_times),
            ({"freeze": {"embeddings": False, "names": ["*/query/*"]}}, lambda path: "/query/" not in path),
            pytest.param(
                {"train": "biases"},
                lambda path: _level(path) > 2 or path.endswith(("/bias", "/beta")),
                marks=pytest.mark.at_times,
            ),
            pytest.param({"unfreeze": {"layers": 2}}, lambda path: _level(path) > 2, marks=pytest.mark.at_times),
            pytest.param(
                {"lora": {"targets": ["value"]}},
                lambda path: _level(path) > 2 or "value_adapter" in path,
                marks=pytest.mark.at_times,
            ),
            (
                {"lora": {}, "freeze": {"layers": 1}, "train": "biases"},
                lambda path: _level(path) > 2 or (_level(path) == 2 and ("_adapter/" in path or "/b" in path)),
            ),
        ],
        ids=["all", "layers", "head", "names", "biases", "unfreeze", "lora", "together"],
    )
    def test_what_two_steps_change(self, backend: Backend, keys: dict[str, Any], joins: Callable[[str], bool]) -> None:
        """All that is trained, and nothing else, to the last bit; the bias of attention's keys has no gradient."""
        changed, model = moved(backend, keys)
        expected = {v.path for v in model.variables if v.name != weights.SEED and joins(v.path)}
        assert {path for path in changed ^ expected if not path.endswith("/key/bias")} == set()
        assert {v.path for v in model.trainable_variables} == expected

    def test_a_predictor_goes_on_where_others_are_trained(self, backend: Backend) -> None:
        """As after each epoch of a run whose layers join one after the other."""
        model = zoo.build(recipe())
        predict = backend.predictor(model, precision="float32")
        names = inference.input_names(model)
        ones = {name: np.ones((4, 8), np.int32) for name in names}
        longer = {name: np.concatenate([ones[name], np.zeros((4, 4), np.int32)], axis=1) for name in names}
        before = inference.to_host(predict(ones))
        for variable in model.trainable_variables[:5]:
            variable.trainable = False
        for inputs in (ones, longer):  # of a shape that was traced before, and of one that was not
            np.testing.assert_allclose(inference.to_host(predict(inputs)), before, rtol=0, atol=1e-5)

    def test_layers_join_from_the_last_one_down(self) -> None:
        model = zoo.build(recipe({"unfreeze": {"layers": 1, "epochs": 2}}))
        parts = Trained(
            config=Training(unfreeze=Unfreeze(layers=1, epochs=2)),
            num_layers=2,
            paths=frozenset(v.path for v in model.variables if v.name != weights.SEED),
        )
        lowest, anew = [], []
        for epoch in range(8):
            anew.append(parts.mark(model, epoch))
            lowest.append(min(depth(v.path, 2) for v in model.trainable_variables))
        assert lowest == [3, 3, 2, 2, 1, 1, 0, 0]
        assert anew == [False, False, True, False, True, False, True, False]

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"training.freeze": {"layers": 3}}, r"training.freeze.layers: got 3, expected at most 2"),
            ({"training.freeze": {"names": ["*/querry/*"]}}, r"got \*/querry/\*, which no weight .* named as "),
        ],
    )
    def test_what_the_model_has_not(self, changes: dict[str, Any], match: str) -> None:
        with pytest.raises(RecipeError, match=match):
            zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides=changes))

    def test_top_layers_drawn_anew(self, references: Path) -> None:
        found = preset(references / "bert-gelu", "bert")
        config = read_config(found)
        blueprint = Blueprint(backbone=config.backbone, head=ClassifierHead(dropout=0.1, init="seed"), units=3)
        ours, theirs = (
            {
                v.path: weights.to_numpy(v)
                for v in weights.parameters(
                    build_model(blueprint, preset=found, seed=0, precision="float32", reinitialize=count)
                )
            }
            for count in (0, 1)
        )
        anew = {path for path, value in ours.items() if not np.array_equal(value, theirs[path])}
        assert {path.split("/")[0] for path in anew} == {"transformer_layer_1", "pooled_dense"}
        assert all(path in anew for path in ours if path.startswith("transformer_layer_1"))


# --- adapters -----------------------------------------------------------------------------------


def adapted_model(references: Path, rate: float = 0.0) -> tuple[Any, Any]:
    """The checkpoint bert-gelu without dropout but of adapters, which are those of lora.npz; and lora.npz."""
    found = preset(references / "bert-gelu", "bert")
    config = read_config(found)
    blueprint = Blueprint(
        backbone=replace(config.backbone, dropout=0.0, attention_dropout=0.0),
        head=ClassifierHead(dropout=0.0, init="preset"),
        units=3,
    )
    lora = Lora(rank=4, alpha=8.0, dropout=rate, targets=TARGETS)
    model = build_model(blueprint, preset=found, seed=0, precision="float32", lora=lora)
    Trained.of(Training(lora=lora), model, 2).mark(model, 0)
    theirs = np.load(references / "lora.npz")
    for adapter, _ in adapted.adapted(model):
        number, *_, target = adapter.lora_a.path.removeprefix("transformer_layer_").split("/")[:-1]
        place = HUGGING_FACE[target.removesuffix("_adapter")]
        adapter.lora_a.assign(theirs[f"{number}.{place}.lora_A"])
        adapter.lora_b.assign(theirs[f"{number}.{place}.lora_B"])
    return model, theirs


class TestAdapters:
    @pytest.mark.at_times
    @pytest.mark.parametrize("rate", [0.0, 1e-9], ids=["in one go", "beside the products"])
    def test_as_peft(self, backend: Backend, references: Path, rate: float) -> None:
        """Logits, and the losses of steps: on the fast way, and on that of layers which drop what adapters read."""
        model, theirs = adapted_model(references, rate)
        batch = inputs_of(np.load(references / "bert-gelu" / "reference.npz"))
        np.testing.assert_allclose(inference.to_host(call(model, batch)), theirs["logits"], rtol=0, atol=1e-5)
        config = AdamW(weight_decay=0.0, clip_norm=None)
        optimizer = build_optimizer(config, model.trainable_variables, num_layers=2, rates=[1e-2] * 3)
        trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32")
        inputs = {name: batch[name] for name in inference.input_names(model)}
        ones = np.ones(4, np.float32)
        losses = [float(inference.to_host(trainer.step(inputs, theirs["labels"], ones)[0])) for _ in range(3)]
        np.testing.assert_allclose(losses, theirs["losses"], rtol=0, atol=1e-5)

    def test_merged_as_beside(self, references: Path) -> None:
        """The finished model has sums in place of adapters, and gives the same; and without them it does not."""
        model, theirs = adapted_model(references)
        values = adapted.merged(model)
        plain = assemble_model(
            Blueprint(
                backbone=read_config(preset(references / "bert-gelu", "bert")).backbone,
                head=ClassifierHead(dropout=0.0),
                units=3,
            ),
            precision="float32",
        )
        for variable in weights.parameters(plain):
            variable.assign(values.pop(variable.path))
        assert not values
        batch = inputs_of(np.load(references / "bert-gelu" / "reference.npz"))
        np.testing.assert_allclose(inference.to_host(call(plain, batch)), theirs["logits"], rtol=0, atol=1e-5)
        adapted.draw(model, 0)  # B is zero again
        unchanged = inference.to_host(call(model, batch))
        np.testing.assert_allclose(unchanged, np.load(references / "bert-gelu" / "reference.npz")["logits"], atol=1e-5)
        assert np.abs(unchanged - theirs["logits"]).max() > 0.01

    def test_what_they_read_is_dropped(self, backend: Backend, references: Path) -> None:
        model, _ = adapted_model(references, 0.5)
        batch = inputs_of(np.load(references / "bert-gelu" / "reference.npz"))
        given = {name: batch[name] for name in inference.input_names(model)}
        still, dropped = (inference.to_host(model(given, training=training)) for training in (False, True))
        assert np.abs(still - dropped).max() > 1e-3

    def test_few_weights_are_trained(self) -> None:
        model = zoo.build(recipe({"lora": {"rank": 3, "targets": list(TARGETS)}}))
        hidden, inner, classes = 32, 64, 2
        a_layer = 3 * (4 * 2 * hidden + 2 * (hidden + inner))
        head = hidden * hidden + hidden + hidden * classes + classes
        assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 2 * a_layer + head


# --- averages and whole runs --------------------------------------------------------------------


def test_moving_average(backend: Backend) -> None:
    """It is the recurrence over the weights after each step, from the first step's on."""
    model = zoo.build(recipe())
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-2] * 4, average=0.75)
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="float32")
    random = np.random.default_rng(0)
    expected: list[np.ndarray] = []
    for _ in range(4):
        inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
        inputs["token_ids"] = random.integers(5, 400, (4, 8)).astype(np.int32)
        trainer.step(inputs, np.array([0, 1, 0, 1], np.int32), np.ones(4, np.float32))
        trainer.commit()
        now = [weights.to_numpy(v).copy() for v in model.trainable_variables]
        expected = [0.75 * a + 0.25 * b for a, b in zip(expected, now, strict=True)] if expected else now
    for variable, average, value in zip(model.trainable_variables, optimizer.averages, expected, strict=True):
        np.testing.assert_allclose(weights.to_numpy(average), value, rtol=0, atol=1e-6, err_msg=variable.path)


@pytest.mark.at_times
def test_a_run_of_all_of_them_goes_on_as_if_never_stopped(tmp_path: Path) -> None:
    """Layers that join, adapters and a moving average: the same weights, predictions and figures to the last bit."""
    keys = {
        "lora": {"rank": 2},
        "unfreeze": {"layers": 1},
        "average": {"type": "ema", "decay": 0.5},
        "optimizer.learning_rate": 1e-2,
        "epochs": 3,
        "monitor": "loss",
    }
    whole = zoo.train(recipe(keys, "quickstart"), out=tmp_path / "whole", progress=False)
    with pytest.raises(KeyboardInterrupt):
        zoo.train(recipe(keys, "quickstart"), out=tmp_path / "cut", progress=Interrupting(3))
    newest = max((tmp_path / "cut" / "checkpoints").glob("step-*"))
    assert (newest / "model.safetensors").stat().st_size < (whole.path / "model" / "weights.safetensors").stat().st_size
    again = zoo.train(recipe(keys, "quickstart"), out=tmp_path / "cut", resume=True, progress=False)
    for name in ("model/weights.safetensors", "predictions.jsonl"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes(), name
    assert again.metrics == whole.metrics
    final = weights.read_safetensors(whole.path / "model" / "weights.safetensors")
    start = {v.path: weights.to_numpy(v) for v in weights.parameters(zoo.build(recipe(name="quickstart")))}
    assert final.keys() == start.keys()
    changed = {path for path in final if not np.array_equal(final[path], start[path])}
    query, value = (f"transformer_layer_1/self_attention_layer/{name}/kernel" for name in ("query", "value"))
    assert {query, value} <= changed
    assert "transformer_layer_1/self_attention_layer/key/kernel" not in changed


@pytest.mark.at_times
def test_adapters_in_bfloat16(backend: Backend) -> None:
    """Kernels are of float32 and the states of bfloat16: the sum with an adapter has the type of products."""
    changes = {"training.lora": {"rank": 2}, "model.backbone.num_layers": 1}
    (exact, *_), (near, *_) = (
        few_steps(backend, {**changes, "training.precision": precision}) for precision in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(near, exact, rtol=0, atol=0.02)
    assert near != exact
