"""Exports that Keras or onnxruntime reads back, on the backend of this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import FAMILIES, blueprint_of, classifier_of, preset, task_with

import zoo
from zoo.backend import Backend, without_tensorflow
from zoo.data.tokens import load_tokenizer
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.export import LIMIT
from zoo.finished import Run
from zoo.models import inference, weights
from zoo.models.blueprint import ModelCard
from zoo.models.saved import save_model
from zoo.recipe.heads import BinaryHead, ClassifierHead
from zoo.recipe.types import Tokens

pytestmark = pytest.mark.usefixtures("backend")

NAMES = ("negative", "positive")


@pytest.fixture(autouse=True)
def one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one length where users have six: jax compiles each of them."""
    monkeypatch.setattr(inference, "SHAPES", 1)


def run_of(
    folder: Path, references: Path, family: str, kind: str = "two", threshold: float | None = None, **tokens: Any
) -> Run:
    """A run whose model is a nano preset of transformers', with shipped reviews as its data."""
    found = preset(references / f"{family}-{kind}", family)
    head = BinaryHead(init="preset") if kind == "one" else ClassifierHead(init="preset")
    classes = {"gelu": 3, "gelu_new": 3}.get(kind, 2)
    card = ModelCard(
        blueprint=blueprint_of(found, head, classes),
        tokens=Tokens(**{"max_length": 24, **tokens}),
        task=task_with(head, (*NAMES, "neutral")[:classes], threshold),
    )
    save_model(folder / "model", classifier_of(found, head, classes), card, load_tokenizer(found.path))
    backbone = {"family": family, "preset": str(found.path)}
    recipe = {"name": "nano", "data": {"dataset": "smoke_reviews"}, "model": {"backbone": backbone}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    (folder / "run.json").write_text("{}")
    return zoo.load_run(folder)


class TestOnnx:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_gives_the_same_probabilities(self, tmp_path: Path, references: Path, family: str) -> None:
        done = run_of(tmp_path, references, family).export("onnx")
        assert (done.rows, done.rows_from, done.agreement) == (32, "test rows", 1.0)
        assert done.difference is not None
        assert 0.0 < done.difference < LIMIT  # two programs agree to many digits, not to all


class TestKeras:
    @pytest.mark.parametrize(("family", "kind"), [("bert", "two"), ("distilbert", "gelu_new"), ("roberta", "one")])
    def test_a_file(self, tmp_path: Path, references: Path, family: str, kind: str) -> None:
        done = run_of(tmp_path, references, family, kind).export("keras")
        assert set(done.files) == {"model.keras", "text_zoo.json", "tokenizer.json"}
        assert done.difference is not None
        assert done.difference < LIMIT

    @pytest.mark.parametrize(
        ("family", "kind"), [("bert", "gelu_new"), ("bert", "two"), ("distilbert", "gelu"), ("roberta", "one")]
    )
    def test_a_preset(self, tmp_path: Path, references: Path, family: str, kind: str) -> None:
        import keras_hub

        folder = references / f"{family}-{kind}"
        done = run_of(tmp_path, references, family, kind).export("keras_hub")
        assert done.difference is not None
        assert done.difference < LIMIT
        reference = np.load(folder / "reference.npz")
        plain = (family, kind) == ("bert", "two")
        assert any("Backbone.from_preset does not" in warning for warning in done.warnings) == plain
        if plain:
            with without_tensorflow(), pytest.raises(ValueError, match="not a subclass"):
                keras_hub.models.Backbone.from_preset(str(done.path))
            return
        with without_tensorflow():
            backbone = keras_hub.models.Backbone.from_preset(str(done.path))
        given = {name: reference[name] for name in inference.input_names(backbone)}
        output = backbone(given, training=False)
        found = inference.to_host(output["sequence_output"] if isinstance(output, dict) else output)
        mask = reference["padding_mask"].astype(bool)
        np.testing.assert_allclose(found[mask], reference["hidden"][mask], rtol=0, atol=LIMIT)

    def test_a_preset_that_keras_hub_cannot_compute(self, tmp_path: Path, references: Path) -> None:
        run = run_of(tmp_path, references, "roberta", "gelu_new")
        with pytest.raises(RecipeError, match=r"RobertaBackbone fixes the activation .* has gelu_tanh .* --to keras"):
            run.export("keras_hub")
        assert not (tmp_path / "export").exists()

    @pytest.mark.parametrize("to", ["keras", "keras_hub"])
    def test_a_weight_that_is_moved_is_noticed(
        self, tmp_path: Path, references: Path, monkeypatch: pytest.MonkeyPatch, to: str
    ) -> None:
        run = run_of(tmp_path, references, "roberta", "gelu")
        assert run.probabilities(["a film"]).shape == (1, 3)  # its own model is loaded as it is
        load = weights.load

        def other(variables: list[Any], path: Path, **options: Any) -> None:
            load(variables, path, **options)
            kernel = next(v for v in variables if v.path.endswith("_0/self_attention_layer/value/kernel"))
            value = weights.to_numpy(kernel).copy()
            value[3, 1, 5] += 0.05
            kernel.assign(value)

        monkeypatch.setattr(weights, "load", other)
        with pytest.raises(OutputError, match=rf"--to {to}: .* gives values that are"):
            run.export(to)
        assert not (tmp_path / "export").exists()


class TestSavedModel:
    def test_is_tensorflows(self, tmp_path: Path, references: Path, backend: Backend) -> None:
        run = run_of(tmp_path, references, "roberta", "one")
        if backend.name != "tensorflow":
            with pytest.raises(EnvironmentFault, match="run again with KERAS_BACKEND=tensorflow"):
                run.export("tf_saved_model")
            assert not (tmp_path / "export").exists()
            return
        done = run.export("tf_saved_model")
        assert {"saved_model.pb", "text_zoo.json", "tokenizer.json"} <= set(done.files)
        assert done.difference is not None
        assert done.difference < LIMIT
