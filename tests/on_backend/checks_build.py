"""Checks of the builder, the losses and saved models, on the backend of this process."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import (
    FAMILIES,
    call,
    checkpoint,
    classifier_of,
    drawn,
    inputs_of,
    nano_recipe,
    tiny_config,
)

import recipes
import zoo
from zoo.data.catalog import vocabulary_folder
from zoo.data.tokens import load_tokenizer
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.model import heads, inference, weights
from zoo.model.builder import Blueprint, assemble_model, plan
from zoo.model.checkpoints import read_config
from zoo.model.saved import ModelCard, load_card, load_model, save_model
from zoo.recipe.types import BinaryHead, ClassifierHead, Tokens

pytestmark = pytest.mark.usefixtures("backend")


class TestBuild:
    def test_fresh_weights_are_the_seeds(self) -> None:
        """The same numbers on every backend: each is compared with NumPy's."""
        model = zoo.build(nano_recipe({"seed": 5}))
        for variable in model.trainable_variables:
            value = weights.to_numpy(variable)
            if variable.name in ("bias", "beta"):
                expected = np.zeros(variable.shape, np.float32)
            elif variable.name == "gamma":
                expected = np.ones(variable.shape, np.float32)
            else:
                expected = drawn(variable.path, tuple(variable.shape), 5)
            np.testing.assert_array_equal(value, expected, err_msg=variable.path)
        other = zoo.build(nano_recipe({"seed": 6}))
        assert np.any(
            weights.to_numpy(other.get_layer("logits").kernel) != weights.to_numpy(model.get_layer("logits").kernel)
        )

    def test_head_drawn_as_ever(self) -> None:
        kernel = weights.to_numpy(zoo.build(nano_recipe({"seed": 5})).get_layer("logits").kernel)
        assert kernel.shape == (8, 2)
        assert zlib.crc32(kernel.tobytes()) == HEAD_CRC

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize(("head", "units"), [("classifier", 2), ("binary", 1)])
    def test_inputs_and_outputs(self, family: str, head: str, units: int) -> None:
        vocabulary = "nano_bpe" if family == "roberta" else "nano_uncased"
        changes = {"model.backbone.family": family, "model.backbone.vocabulary": vocabulary, "model.head.type": head}
        model = zoo.build(nano_recipe(changes))
        names = {"token_ids", "padding_mask"} | ({"segment_ids"} if family == "bert" else set())
        assert set(inference.input_names(model)) == names
        assert model.output.shape == (None, units)
        assert model.output.dtype == "float32"
        assert {layer.name for layer in model.layers} >= {"token_embedding" if family == "bert" else "logits", "logits"}

    def test_logits_are_float32_under_bfloat16(self) -> None:
        model = zoo.build(nano_recipe({"training.precision": "bfloat16"}))
        assert model.get_layer("transformer_layer_0").compute_dtype == "bfloat16"
        inputs = {name: np.ones((2, 8), np.int32) for name in inference.input_names(model)}
        logits = call(model, inputs)
        assert logits.dtype in (np.float32, "float32") or "float32" in str(logits.dtype)
        assert {str(weights.to_numpy(v).dtype) for v in model.trainable_variables} == {"float32"}

    def test_dropout_is_the_recipes(self) -> None:
        model = zoo.build(nano_recipe({"model.backbone.dropout": 0.3, "model.head.dropout": 0.4}))
        assert model.get_layer("transformer_layer_0").dropout == 0.3
        assert model.get_layer("head_dropout").rate == 0.4

    def test_smoke_recipe(self) -> None:
        model = zoo.build(recipes.load("imdb_bert", profile="smoke"))
        assert model.count_params() > 10_000

    def planned(self, changes: dict[str, Any], classes: int = 2, tokenizer: str = "nano_uncased") -> Blueprint:
        recipe = nano_recipe(changes)
        loaded = load_tokenizer(vocabulary_folder(tokenizer))
        wanted = recipe.model.backbone
        found = checkpoint(Path(wanted.preset), wanted.family) if wanted.preset else None
        return plan(recipe, checkpoint=found, tokenizer=loaded, classes=classes)

    def test_binary_head_on_three_classes(self) -> None:
        with pytest.raises(RecipeError, match=r"model\.head\.type: got binary, but the data has 3 classes"):
            self.planned({"model.head.type": "binary"}, classes=3)

    def test_rows_longer_than_the_positions(self, references: Path) -> None:
        preset = {"family": "roberta", "preset": str(references / "roberta-gelu")}
        with pytest.raises(RecipeError, match=r"tokens\.max_length: got 33, but the backbone has 32 positions"):
            self.planned({"model.backbone": preset, "tokens.max_length": 33}, tokenizer="nano_bpe")

    def test_vocabulary_larger_than_the_embeddings(self, references: Path) -> None:
        preset = {"family": "bert", "preset": str(references / "bert-gelu")}
        with pytest.raises(EnvironmentFault, match="the vocabulary has 661 entries and the backbone embeds 459"):
            self.planned({"model.backbone": preset}, tokenizer="nano_bpe")


HEAD_CRC = 4082283250
"""Of the head's weights at seed 5, [8, 2] float32 in C order. It must never change: runs could not be repeated."""


class TestLosses:
    @pytest.mark.parametrize("head", [ClassifierHead(), BinaryHead()])
    def test_as_torch_and_blind_to_filling_rows(self, references: Path, head: ClassifierHead | BinaryHead) -> None:
        from keras import ops

        found = np.load(references / "losses.npz")
        logits, labels = found[f"{head.type}_logits"], found[f"{head.type}_labels"]
        loss = heads.loss(head)

        def value(logits: np.ndarray, labels: np.ndarray) -> float:
            return float(inference.to_host(loss(*map(ops.convert_to_tensor, (logits, labels, found["weights"])))))

        assert value(logits, labels) == pytest.approx(float(found[f"{head.type}_loss"]), rel=1e-5)
        other, wrong = logits.copy(), labels.copy()
        other[6:], wrong[6:] = 1000.0, 1
        assert value(other, wrong) == value(logits, labels)
        other[5] += 1.0
        other[5, 0] -= 2.0
        assert value(other, wrong) != value(logits, labels)


class TestSavedModel:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_round_trip(self, tmp_path: Path, references: Path, family: str) -> None:
        folder = references / f"{family}-gelu"
        found = checkpoint(folder, family)
        head = ClassifierHead(init="checkpoint")
        model = classifier_of(found, head)
        card = ModelCard(
            blueprint=Blueprint(backbone=read_config(found, dropout=None), head=head, classes=3),
            tokens=Tokens(max_length=16, truncation="head_tail", head=4),
            label_names=("a", "b", "ç"),
            threshold=None,
        )
        save_model(tmp_path, model, card, load_tokenizer(folder))
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "model.json",
            "tokenizer.json",
            "weights.safetensors",
        ]
        again, tokenizer = load_card(tmp_path)
        assert again == card
        assert tokenizer.to_json() == load_tokenizer(folder).to_json()
        reference = np.load(folder / "reference.npz")
        np.testing.assert_array_equal(
            inference.to_host(call(load_model(tmp_path, again), inputs_of(reference))),
            inference.to_host(call(model, inputs_of(reference))),
        )

        (tmp_path / "tokenizer.json").write_text("{}")
        with pytest.raises(OutputError, match=r"tokenizer\.json is damaged"):
            load_card(tmp_path)

    def test_damaged(self, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="no finished model there"):
            load_card(tmp_path)
        (tmp_path / "model.json").write_text('{"blueprint": ')
        (tmp_path / "tokenizer.json").write_text("{}")
        with pytest.raises(OutputError, match=r"model\.json is damaged"):
            load_card(tmp_path)

    def test_weights_of_another_model(self, tmp_path: Path) -> None:
        model = zoo.build(nano_recipe())
        weights.save(model.trainable_variables[:-1], tmp_path / "weights.safetensors")
        with pytest.raises(EnvironmentFault, match="no weights for logits/bias: the file is of another model"):
            weights.load(model.trainable_variables, tmp_path / "weights.safetensors")

    def test_blueprint_assembles_to_the_same_names(self) -> None:
        """Weights are found by path, so a second model of a process must not be numbered."""
        blueprint = Blueprint(
            backbone=tiny_config("roberta"),
            head=BinaryHead(),
            classes=2,
        )
        one, two = (assemble_model(blueprint, precision="float32") for _ in range(2))
        assert [v.path for v in one.trainable_variables] == [v.path for v in two.trainable_variables]
