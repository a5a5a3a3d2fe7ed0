"""Checks of the builder, the losses and saved models, on the backend of this process."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from nano import (
    FAMILIES,
    TOLERANCE,
    blueprint_of,
    call,
    changed,
    classifier_of,
    drawn,
    inputs_of,
    nano_recipe,
    preset,
    tiny_config,
)

import recipes
import zoo
from zoo.backend import Backend
from zoo.backend.asking import MARK, QUESTION
from zoo.data.catalog import vocabulary_folder
from zoo.data.dataset import stated_task
from zoo.data.tokens import load_tokenizer
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.models import heads, inference, weights
from zoo.models.blueprint import Blueprint, ModelCard, load_card
from zoo.models.builder import assemble_model, plan
from zoo.models.saved import load_model, save_model
from zoo.recipe.heads import BinaryHead, ClassifierHead, Head, MultilabelHead, RegressionHead, TokensHead
from zoo.recipe.types import Tokens
from zoo.tasks import task_of
from zoo.tasks.classification import Classification

pytestmark = pytest.mark.usefixtures("backend")


def planned(changes: dict[str, Any], tokenizer: str = "nano_uncased") -> Blueprint:
    recipe = nano_recipe(changes)
    loaded = load_tokenizer(vocabulary_folder(tokenizer))
    wanted = recipe.model.backbone
    found = preset(Path(wanted.preset), wanted.family) if wanted.preset else None
    task = stated_task(recipe)
    assert task is not None
    return plan(recipe, preset=found, tokenizer=loaded, task=task)


def rates(folder: Path | None, family: str = "bert", changes: dict[str, Any] | None = None) -> tuple[float | None, ...]:
    """Of hidden dropout, of attention dropout, before the last layer."""
    preset = {} if folder is None else {"model.backbone": {"family": family, "preset": str(folder)}}
    found = planned(preset | (changes or {}), tokenizer="nano_bpe" if family == "roberta" else "nano_uncased")
    return found.backbone.dropout, found.backbone.attention_dropout, found.head.dropout


def test_what_the_doctor_asks(backend: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    exec(QUESTION, {})  # zoo.doctor has a process of its own do it
    told = json.loads(capsys.readouterr().out.removeprefix(MARK))
    assert told == {
        "version": backend.version(),
        "device": backend.device(),
        "precisions": list(backend.precisions()),
    }


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
        assert {"token_embedding", "transformer_layer_0", "logits"} <= set(heads.layers_by_name(model))

    @pytest.mark.at_times
    def test_logits_are_float32_under_bfloat16(self) -> None:
        model = zoo.build(nano_recipe({"training.precision": "bfloat16"}))
        assert heads.layers_by_name(model)["transformer_layer_0"].compute_dtype == "bfloat16"
        inputs = {name: np.ones((2, 8), np.int32) for name in inference.input_names(model)}
        logits = call(model, inputs)
        assert logits.dtype in (np.float32, "float32") or "float32" in str(logits.dtype)
        assert {str(weights.to_numpy(v).dtype) for v in model.trainable_variables} == {"float32"}

    def test_dropout_is_the_recipes(self) -> None:
        model = zoo.build(nano_recipe({"model.backbone.dropout": 0.3, "model.head.dropout": 0.4}))
        assert heads.layers_by_name(model)["transformer_layer_0"].dropout == 0.3
        assert model.get_layer("head_dropout").rate == 0.4

    def test_smoke_recipe(self) -> None:
        model = zoo.build(recipes.load("imdb_bert", profile="smoke"))
        assert model.count_params() > 10_000

    def test_rows_longer_than_the_positions(self, references: Path) -> None:
        preset = {"family": "roberta", "preset": str(references / "roberta-gelu")}
        with pytest.raises(RecipeError, match=r"tokens\.max_length: got 33, but the backbone has 32 positions"):
            planned({"model.backbone": preset, "tokens.max_length": 33}, tokenizer="nano_bpe")

    def test_vocabulary_larger_than_the_embeddings(self, references: Path) -> None:
        preset = {"family": "bert", "preset": str(references / "bert-gelu")}
        with pytest.raises(EnvironmentFault, match="the vocabulary has 661 entries and the backbone embeds 459"):
            planned({"model.backbone": preset}, tokenizer="nano_bpe")


HEAD_CRC = 4082283250
"""Of the head's weights at seed 5, [8, 2] float32 in C order. It must never change: runs could not be repeated."""


class TestDropout:
    BERT: ClassVar = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3}
    DISTILBERT: ClassVar = {"dropout": 0.2, "attention_dropout": 0.3, "seq_classif_dropout": 0.4}

    @pytest.mark.parametrize(
        ("source", "family", "config", "expected"),
        [
            ("bert", "bert", BERT, (0.2, 0.3, 0.2)),
            ("bert", "bert", BERT | {"classifier_dropout": 0.4}, (0.2, 0.3, 0.4)),
            ("bert", "bert", BERT | {"classifier_dropout": 0.0}, (0.2, 0.3, 0.0)),
            ("roberta", "roberta", BERT | {"classifier_dropout": 0.4}, (0.2, 0.3, 0.4)),
            ("distilbert", "distilbert", DISTILBERT, (0.2, 0.3, 0.4)),
            # Keys of the other architecture say nothing.
            ("bert", "distilbert", BERT | DISTILBERT | {"dropout": 0.6, "attention_dropout": 0.6}, (0.2, 0.3, 0.2)),
            ("distilbert", "distilbert", BERT | {"classifier_dropout": 0.6}, (0.1, 0.1, 0.2)),
        ],
    )
    def test_is_the_checkpoints(
        self, references: Path, tmp_path: Path, source: str, family: str, config: dict[str, float], expected: Any
    ) -> None:
        assert rates(changed(references / f"{source}-gelu", tmp_path, config), family) == expected

    def test_of_a_fresh_backbone(self) -> None:
        assert rates(None) == (0.1, 0.1, 0.1)

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"model.backbone.dropout": 0.0}, (0.0, 0.0, 0.2)),
            ({"model.backbone.attention_dropout": 0.0}, (0.2, 0.0, 0.2)),
            ({"model.backbone.dropout": 0.5, "model.backbone.attention_dropout": 0.6}, (0.5, 0.6, 0.2)),
            ({"model.head.dropout": 0.0}, (0.2, 0.3, 0.0)),
        ],
    )
    def test_the_recipe_comes_first(
        self, references: Path, tmp_path: Path, changes: dict[str, float], expected: Any
    ) -> None:
        assert rates(changed(references / "bert-gelu", tmp_path, self.BERT), changes=changes) == expected


class TestHeadOfACheckpoint:
    def planned(self, folder: Path, head: dict[str, Any] | None = None, family: str = "bert") -> Blueprint:
        changes = {f"model.head.{key}": value for key, value in {"init": "preset", **(head or {})}.items()}
        return planned({"model.backbone": {"family": family, "preset": str(folder)}, **changes})

    @pytest.mark.parametrize("family", FAMILIES)
    def test_classes_are_put_into_the_datas_order(self, references: Path, family: str) -> None:
        """The preset's classes are POSITIVE and NEGATIVE, the data's negative and positive."""
        folder = references / f"{family}-two"
        preset = {"family": family, "preset": str(folder)}
        model = zoo.build(nano_recipe({"model.backbone": preset, "model.head.init": "preset"}))
        reference = np.load(folder / "reference.npz")
        ours = inference.to_host(call(model, inputs_of(reference)))
        np.testing.assert_allclose(ours, reference["logits"][:, ::-1], rtol=0, atol=TOLERANCE)
        assert np.abs(ours - reference["logits"]).max() > 0.1  # they are told apart at all

    @pytest.mark.parametrize(
        ("names", "labels", "rows"),
        [
            (("Negative", "POSITIVE"), None, (0, 1)),
            (("positive", "negative"), None, (1, 0)),
            (("LABEL_0", "LABEL_1"), None, (0, 1)),
            (("LABEL_0", "LABEL_1"), ["LABEL_1", "LABEL_0"], (1, 0)),
            (("0", "1"), None, (0, 1)),
            (("good", "bad"), ["bad", "good"], (1, 0)),
            (("positive", "negative"), ["Positive", "Negative"], (0, 1)),  # as told, whatever the words
        ],
    )
    def test_order(self, references: Path, tmp_path: Path, names: Any, labels: Any, rows: Any) -> None:
        folder = changed(references / "bert-two", tmp_path, {"id2label": dict(enumerate(names))})
        assert self.planned(folder, {"preset_labels": labels}).head_rows == rows

    @pytest.mark.parametrize("names", [None, {}])
    def test_without_names(self, references: Path, tmp_path: Path, names: dict[int, str] | None) -> None:
        assert self.planned(changed(references / "bert-two", tmp_path, {"id2label": names})).head_rows == (0, 1)

    def test_the_seeds_head_has_no_order(self, references: Path) -> None:
        assert self.planned(references / "bert-five", {"init": "seed"}).head_rows is None

    @pytest.mark.parametrize(
        ("kind", "config", "head", "match"),
        [
            ("two", {"id2label": {0: "NEG", 1: "POS"}}, {}, "calls its classes NEG, POS and the data negative, posit"),
            ("two", {"id2label": {0: "LABEL_1", 1: "LABEL_0"}}, {}, "calls its classes LABEL_1, LABEL_0"),
            ("two", {"id2label": {0: "positive", 1: "Positive"}}, {}, "calls its classes positive, Positive"),
            ("two", {}, {"preset_labels": ["bad", "good"]}, "got bad, good, expected the classes of .* POSITIVE, "),
            ("two", {"id2label": {1: "a", 2: "b"}}, {}, "has an id2label that does not number its classes"),
            ("five", {}, {}, "has 5 outputs, expected 2: use init: seed"),
            ("one", {}, {}, "trained for multi_label_classification, expected single_label"),
            ("two", {}, {"type": "binary"}, r"trained for single_label_classification.*expected multi_label"),
            ("one", {"problem_type": None}, {"type": "binary"}, r"trained for regression \(1 output and no problem_t"),
            ("one", {"problem_type": "regression"}, {"type": "binary"}, "trained for regression, expected multi_label"),
            ("one", {"id2label": {0: "negative"}}, {"type": "binary"}, "classes negative and the data positive"),
            ("two", {"problem_type": "multi_label_classification"}, {}, "for multi_label_classification, expected si"),
            ("masked", {}, {}, "was written by BertForMaskedLM, expected a model ForSequenceClassification"),
        ],
    )
    def test_refused(
        self, references: Path, tmp_path: Path, kind: str, config: dict[str, Any], head: dict[str, Any], match: str
    ) -> None:
        folder = changed(references / f"bert-{kind}", tmp_path, config)
        with pytest.raises(RecipeError, match=match):
            self.planned(folder, head)

    def test_a_single_logit_is_class_one(self, references: Path, tmp_path: Path) -> None:
        assert self.planned(references / "bert-one", {"type": "binary"}).head_rows == (0,)
        named = changed(references / "bert-one", tmp_path, {"id2label": {0: "Positive"}})
        assert self.planned(named, {"type": "binary"}).head_rows == (0,)

    def test_a_head_of_another_architecture(self, references: Path) -> None:
        with pytest.raises(RecipeError, match="the head of a bert preset does not fit a distilbert backbone"):
            self.planned(references / "bert-two", family="distilbert")

    def test_labels_of_no_preset(self) -> None:
        with pytest.raises(RecipeError, match="preset_labels: got a, b, expected null with init: seed"):
            nano_recipe({"model.head.preset_labels": ["a", "b"]})


class TestLosses:
    @pytest.mark.parametrize("head", [ClassifierHead(), BinaryHead(), MultilabelHead(), RegressionHead(), TokensHead()])
    def test_as_torch_and_blind_to_filling_rows(self, references: Path, head: Head) -> None:
        from keras import ops

        found = np.load(references / "losses.npz")
        logits, labels = found[f"{head.type}_logits"], found[f"{head.type}_labels"]
        loss = task_of(head).loss

        def value(logits: np.ndarray, labels: np.ndarray) -> float:
            total, count = loss(*map(ops.convert_to_tensor, (logits, labels, found["weights"])))
            return float(inference.to_host(total / count))

        assert value(logits, labels) == pytest.approx(float(found[f"{head.type}_loss"]), rel=1e-5)
        other, wrong = logits.copy(), labels.copy()
        other[6:], wrong[6:] = 1000.0, 1
        assert value(other, wrong) == value(logits, labels)
        other[5] += 1.0
        other[5, ..., 0] -= 2.0
        assert value(other, wrong) != value(logits, labels)


class TestSavedModel:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_round_trip(self, tmp_path: Path, references: Path, family: str) -> None:
        folder = references / f"{family}-gelu"
        found = preset(folder, family)
        head = ClassifierHead(init="preset")
        model = classifier_of(found, head)
        card = ModelCard(
            blueprint=blueprint_of(found, head),
            tokens=Tokens(max_length=16, truncation="head_tail", head=4),
            task=Classification(names=("a", "b", "ç")),
        )
        save_model(tmp_path, model, card, load_tokenizer(folder))
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "manifest.json",
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

        # One of an earlier version has no manifest.
        (tmp_path / "manifest.json").unlink()
        assert load_card(tmp_path)[0] == card
        (tmp_path / "tokenizer.json").write_text("{}")
        with pytest.raises(OutputError, match=r"tokenizer\.json is damaged"):
            load_card(tmp_path)
        (tmp_path / "weights.safetensors").write_bytes(b"")
        with pytest.raises(OutputError, match=r"weights\.safetensors does not hold the weights of the model"):
            load_model(tmp_path, card)

    @pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "tokenizer.json"])
    def test_a_flipped_bit_is_seen(self, tmp_path: Path, name: str) -> None:
        card = ModelCard(
            blueprint=Blueprint(backbone=tiny_config("bert"), head=BinaryHead(dropout=0.1), units=1),
            tokens=Tokens(max_length=16),
            task=Classification(names=("a", "b"), head="binary"),
        )
        model = assemble_model(card.blueprint, precision="float32")
        save_model(tmp_path, model, card, load_tokenizer(vocabulary_folder("nano_uncased")))
        path = tmp_path / name
        raw = bytearray(path.read_bytes())
        raw[-3] ^= 1
        path.write_bytes(raw)
        with pytest.raises(OutputError, match=rf"{re.escape(str(path))} has the SHA-256 .*: restore it or train again"):
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
            head=BinaryHead(dropout=0.1),
            units=2,
        )
        one, two = (assemble_model(blueprint, precision="float32") for _ in range(2))
        assert [v.path for v in one.trainable_variables] == [v.path for v in two.trainable_variables]
