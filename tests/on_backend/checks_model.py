"""Models against transformers, weights from every kind of source, and what is drawn from the seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import (
    FAMILIES,
    KINDS,
    TOLERANCE,
    assert_hidden_states,
    assert_logits,
    backbone_of,
    blueprint_of,
    call,
    changed,
    classifier_of,
    drawn,
    hidden_states,
    inputs_of,
    nano_recipe,
    preset,
    tiny_config,
)
from safetensors.numpy import load_file, save_file

import zoo
from zoo.audit.looking import audit
from zoo.backend import Backend, without_tensorflow
from zoo.data.backbones import locate_backbone, locate_vocabulary
from zoo.data.dataset import load_dataset
from zoo.data.tokens import load_tokenizer
from zoo.errors import EnvironmentFault, RecipeError
from zoo.models import inference, weights
from zoo.models.builder import build_model
from zoo.models.encoder import assemble
from zoo.models.features import features
from zoo.models.presets import read_config
from zoo.recipe import dump_recipe, load_recipe
from zoo.recipe.heads import BinaryHead, ClassifierHead, TokensHead
from zoo.recipe.types import Tokens
from zoo.runs.run_folder import create_run
from zoo.runs.screen import Screen
from zoo.tasks import dump_task

pytestmark = pytest.mark.usefixtures("backend")


class TestAgainstTransformers:
    @pytest.mark.parametrize(("family", "activation"), KINDS)
    def test_hidden_states(self, references: Path, family: str, activation: str) -> None:
        folder = references / f"{family}-{activation}"
        assert_hidden_states(backbone_of(preset(folder, family)), np.load(folder / "reference.npz"))

    @pytest.mark.parametrize("kind", ["gelu", "masked"])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_hidden_states_can_fail(self, references: Path, family: str, kind: str) -> None:
        """One weight of hundreds of thousands, moved by a hundredth."""
        folder = references / f"{family}-{kind}"
        backbone = backbone_of(preset(folder, family))
        kernel = next(
            v for v in backbone.variables if v.path == "transformer_layer_0/self_attention_layer/value/kernel"
        )
        value = weights.to_numpy(kernel).copy()
        value[3, 1, 5] += 1e-2
        kernel.assign(value)
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            assert_hidden_states(backbone, np.load(folder / "reference.npz"))

    @pytest.mark.parametrize("kind", ["bare", "masked"])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_checkpoints_without_a_head(self, references: Path, tmp_path: Path, family: str, kind: str) -> None:
        """As transformers' encoders and masked language models write them, and with less said beside them.

        RoBERTa's bare encoder has two token types, and the masked ones an epsilon of 1e-3.
        """
        whole = changed(references / f"{family}-{kind}", tmp_path / "whole", {"architectures": None})
        silent = {"do_lower_case": None, "tokenizer_class": None}
        folder = changed(whole, tmp_path / "silent", silent, file="tokenizer_config.json")
        recipe = nano_recipe({"model.backbone": {"family": family, "preset": str(folder)}})
        found = locate_backbone(recipe.model.backbone)
        assert found is not None
        assert_hidden_states(backbone_of(found), np.load(folder / "reference.npz"))
        tokenizer = load_tokenizer(locate_vocabulary(recipe.model.backbone))
        upper, lower = (tokenizer.encode([text], None, Tokens(max_length=32)).ids for text in ("A Film", "a film"))
        assert (list(upper) == list(lower)) == (family != "roberta")
        assert zoo.build(recipe).output.shape == (None, 2)

    @pytest.mark.parametrize("family", ["bert", "roberta"])
    def test_the_epsilon_matters(self, references: Path, tmp_path: Path, family: str) -> None:
        folder = changed(references / f"{family}-masked", tmp_path, {"layer_norm_eps": 1e-5})
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            assert_hidden_states(backbone_of(preset(folder, family)), np.load(folder / "reference.npz"))

    def test_the_kind_of_gelu_matters(self, references: Path) -> None:
        backbone = backbone_of(preset(references / "bert-gelu_new", "bert"))
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            assert_hidden_states(backbone, np.load(references / "bert-gelu" / "reference.npz"))

    @pytest.mark.parametrize(("family", "activation"), KINDS)
    def test_logits_of_a_classification_preset(self, references: Path, family: str, activation: str) -> None:
        found = preset(references / f"{family}-{activation}", family)
        assert_logits(found, ClassifierHead(init="preset"))

    @pytest.mark.parametrize("family", FAMILIES)
    def test_logits_of_other_numbers_of_classes(self, references: Path, family: str) -> None:
        for kind, classes in (("two", 2), ("five", 5)):
            found = preset(references / f"{family}-{kind}", family)
            assert_logits(found, ClassifierHead(init="preset"), classes)
        assert_logits(preset(references / f"{family}-one", family), BinaryHead(init="preset"), classes=2)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_logits_of_every_token(self, references: Path, family: str) -> None:
        """As transformers' models for token classification; and a bias that is moved is seen."""
        found = preset(references / f"{family}-tokens", family)
        reference = np.load(found.path / "reference.npz")
        real = reference["padding_mask"].astype(bool)
        model = classifier_of(found, TokensHead(init="preset"), 5)
        ours = inference.to_host(call(model, inputs_of(reference)))
        np.testing.assert_allclose(ours[real], reference["logits"][real], rtol=0, atol=TOLERANCE)
        alone = inference.to_host(call(model, inputs_of(reference, slice(1, 2), 9)))
        np.testing.assert_allclose(alone[0], reference["logits"][1, :9], rtol=0, atol=TOLERANCE)
        bias = model.get_layer("logits").bias
        bias.assign(weights.to_numpy(bias) + np.float32([0.0, 0.01, 0.0, 0.0, 0.0]))
        moved = inference.to_host(call(model, inputs_of(reference)))
        assert np.abs(moved - reference["logits"])[real].max() == pytest.approx(0.01, rel=0.1)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_logits_can_fail(self, references: Path, family: str) -> None:
        folder = references / f"{family}-gelu"
        reference = np.load(folder / "reference.npz")
        model = classifier_of(preset(folder, family), ClassifierHead(init="preset"))
        bias = model.get_layer("logits").bias
        bias.assign(weights.to_numpy(bias) + np.float32([0.0, 0.01, 0.0]))
        ours = inference.to_host(call(model, inputs_of(reference)))
        assert np.abs(ours - reference["logits"]).max() == pytest.approx(0.01, rel=0.1)

    def test_predictor_gives_the_same(self, references: Path, backend: Backend) -> None:
        folder = references / "bert-gelu"
        reference = np.load(folder / "reference.npz")
        model = classifier_of(preset(folder, "bert"), ClassifierHead(init="preset"))
        ours = inference.to_host(backend.predictor(model, precision="float32")(inputs_of(reference)))
        np.testing.assert_allclose(ours, reference["logits"], rtol=0, atol=TOLERANCE)


class TestBertAsDistilBert:
    def test_nano(self, references: Path) -> None:
        folder = references / "bert-gelu"
        reference = np.load(folder / "reference.npz")
        inputs = inputs_of(reference) | {"segment_ids": np.zeros_like(reference["segment_ids"])}
        as_bert = hidden_states(backbone_of(preset(folder, "bert")), inputs)
        backbone = backbone_of(preset(folder, "distilbert"))
        assert "segment_ids" not in inference.input_names(backbone)
        mask = inputs["padding_mask"].astype(bool)
        np.testing.assert_allclose(hidden_states(backbone, inputs)[mask], as_bert[mask], rtol=0, atol=1e-5)
        # The check can fail: another segment is another state.
        other = hidden_states(backbone_of(preset(folder, "bert")), inputs_of(reference))
        assert np.abs(other - as_bert)[mask].max() > 1e-2

    @pytest.mark.at_times
    def test_minilm(self, real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ZOO_CACHE", str(real_cache))
        states = []
        for family, name in (("bert", "minilm_l6_en_uncased"), ("distilbert", "minilm_l6_distilbert")):
            wanted = nano_recipe({"model.backbone": {"family": family, "preset": name}}).model.backbone
            found = locate_backbone(wanted)
            assert found is not None
            tokenizer, tokens = load_tokenizer(locate_vocabulary(wanted)), Tokens(max_length=32)
            texts = ["A truly great film.", "Not for me: dull, and far too long."]
            table = tokenizer.encode(texts, None, tokens)
            inputs = {
                "token_ids": np.zeros((2, 16), np.int32),
                "padding_mask": (np.arange(16) < table.lengths[:, None]).astype(np.int32),
                "segment_ids": np.zeros((2, 16), np.int32),
            }
            inputs["token_ids"][inputs["padding_mask"].astype(bool)] = table.ids
            whole = hidden_states(backbone_of(found), inputs)
            states.append(whole[inputs["padding_mask"].astype(bool)])
            # What zoo.audit takes of a text is the mean of these, of length 1.
            means = features(blueprint_of(found, ClassifierHead()), found, tokenizer, texts, tokens, batch_size=2)
            expected = np.stack([row[:length].mean(axis=0) for row, length in zip(whole, table.lengths, strict=True)])
            expected /= np.linalg.norm(expected, axis=1, keepdims=True)
            np.testing.assert_allclose(means, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(states[0], states[1], rtol=0, atol=1e-5)
        assert np.abs(states[0]).max() > 1.0

    @pytest.mark.at_times
    def test_an_audit_asks_it(
        self, real_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Of pairs, of which the words say nothing."""
        monkeypatch.setenv("ZOO_CACHE", str(real_cache))
        lines = [f"the number {n},{('a joy', 'dull')[n % 2]} {n},{('good', 'bad')[n % 2]}" for n in range(40)]
        (tmp_path / "rows.csv").write_text("\n".join(["first,second,label", *lines]))
        data = {"files": {"train": "rows.csv", "text": ["first", "second"], "label": "label"}}
        model = {"backbone": {"family": "bert", "preset": "minilm_l6_en_uncased"}}
        (tmp_path / "own.yaml").write_text(json.dumps({"name": "own", "data": data, "model": model}))
        recipe = load_recipe(tmp_path / "own.yaml")
        with create_run(tmp_path / "run", dump_recipe(recipe)) as folder:
            folder.update_run({"task": dump_task(load_dataset(recipe).task)})
        found = audit(folder, Screen(quiet=True))
        assert "minilm_l6_en_uncased, as it came" in str(found.source)
        assert (found.judged, found.label_errors) == (40, ())


class TestHuggingFaceFolders:
    def rewritten(self, source: Path, target: Path, rename: dict[str, str], drop: str = "\0") -> Path:
        """A copy of a preset with parts of its tensors' names replaced."""
        tensors = {}
        for name, value in load_file(source / "model.safetensors").items():
            if name.startswith(drop):
                continue
            for old, new in rename.items():
                name = name.replace(old, new)
            tensors[name] = value
        target.mkdir(exist_ok=True)
        save_file(tensors, target / "model.safetensors")
        (target / "config.json").write_bytes((source / "config.json").read_bytes())
        return target

    @pytest.mark.parametrize("family", FAMILIES)
    def test_bare_models(self, references: Path, tmp_path: Path, family: str) -> None:
        source = references / f"{family}-gelu"
        folder = self.rewritten(source, tmp_path, {f"{family}.": ""}, drop="classifier")
        assert_hidden_states(backbone_of(preset(folder, family)), np.load(source / "reference.npz"))

    def test_oldest_names(self, references: Path, tmp_path: Path) -> None:
        source = references / "bert-gelu"
        rename = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        folder = self.rewritten(source, tmp_path, rename)
        assert_hidden_states(backbone_of(preset(folder, "bert")), np.load(source / "reference.npz"))

    def test_shards(self, references: Path, tmp_path: Path) -> None:
        source = references / "bert-gelu"
        tensors = sorted(load_file(source / "model.safetensors").items())
        parts = {"model-1.safetensors": dict(tensors[::2]), "model-2.safetensors": dict(tensors[1::2])}
        for name, part in parts.items():
            save_file(part, tmp_path / name)
        index = {"weight_map": {key: name for name, part in parts.items() for key in part}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
        assert_hidden_states(backbone_of(preset(tmp_path, "bert")), np.load(source / "reference.npz"))

    def test_half_precision(self, references: Path, tmp_path: Path) -> None:
        source = references / "bert-gelu"
        folder = self.rewritten(source, tmp_path, {})
        half = {name: value.astype(np.float16) for name, value in load_file(folder / "model.safetensors").items()}
        save_file(half, folder / "model.safetensors")
        backbone = backbone_of(preset(folder, "bert"))
        assert {weights.to_numpy(v).dtype for v in backbone.variables if "seed" not in v.path} == {np.dtype("float32")}
        assert_hidden_states(backbone, np.load(source / "reference.npz"), tolerance=2e-2)

    def test_pooler_and_head_are_drawn_where_there_are_none(self, references: Path, tmp_path: Path) -> None:
        folder = self.rewritten(references / "bert-gelu", tmp_path, {"bert.pooler": "other"}, drop="classifier")
        model = classifier_of(preset(folder, "bert"), ClassifierHead())
        for path, shape in (("pooled_dense/kernel", (32, 32)), ("logits/kernel", (32, 3))):
            value = next(weights.to_numpy(v) for v in model.variables if v.path == path)
            np.testing.assert_array_equal(value, drawn(path, shape, 0))

    def test_no_head_to_take(self, references: Path, tmp_path: Path) -> None:
        for family in FAMILIES:
            target = tmp_path / family
            folder = self.rewritten(references / f"{family}-gelu", target, {"pre_classifier": "x"}, drop="classifier")
            with pytest.raises(EnvironmentFault, match="no weights for the head of a model ForSequenceClassification"):
                classifier_of(preset(folder, family), ClassifierHead(init="preset"))

    def test_a_head_of_other_classes(self, references: Path) -> None:
        with pytest.raises(EnvironmentFault, match=r"logits/kernel is \[32, 3\] there, expected \[32, 5\]"):
            classifier_of(preset(references / "bert-gelu", "bert"), ClassifierHead(init="preset"), classes=5)

    def test_a_tensor_is_missing(self, references: Path, tmp_path: Path) -> None:
        folder = self.rewritten(references / "bert-gelu", tmp_path, {"layer.1.intermediate": "layer.1.other"})
        match = "no weights for transformer_layer_1/feedforward_intermediate_dense/kernel"
        with pytest.raises(EnvironmentFault, match=match):
            backbone_of(preset(folder, "bert"))

    @pytest.mark.parametrize(
        ("key", "value", "match"),
        [
            ("vocab_size", 460, r"\[459, 32\] there, expected \[460, 32\]"),
            ("max_position_embeddings", 64, r"\[32, 32\] there, expected \[64, 32\]"),
            (
                "intermediate_size",
                48,
                r"feedforward_intermediate_dense/kernel is \[32, 64\] there, expected \[32, 48\]",
            ),
        ],
    )
    def test_wrong_shapes(self, references: Path, tmp_path: Path, key: str, value: int, match: str) -> None:
        folder = self.rewritten(references / "bert-gelu", tmp_path, {})
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {key: value}))
        with pytest.raises(EnvironmentFault, match=match):
            backbone_of(preset(folder, "bert"))

    @pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
    def test_damaged(self, references: Path, tmp_path: Path, content: bytes | None) -> None:
        folder = self.rewritten(references / "bert-gelu", tmp_path, {})
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
        with pytest.raises(
            EnvironmentFault, match=r"model\.safetensors: cannot be read as safetensors .*fetch it again"
        ):
            backbone_of(preset(folder, "bert"))

    def test_only_pickled_weights(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
        (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
        recipe = nano_recipe({"model.backbone": {"family": "bert", "preset": str(tmp_path)}})
        with pytest.raises(EnvironmentFault, match="the weights are pickled, which can run code"):
            zoo.build(recipe)

    @pytest.mark.parametrize(
        ("change", "error", "match"),
        [
            ({"hidden_act": "swish"}, EnvironmentFault, "activation is 'swish', expected one of gelu"),
            ({"position_embedding_type": "relative_key"}, EnvironmentFault, "its positions are relative_key"),
            ({"is_decoder": True}, EnvironmentFault, "it is a decoder"),
            ({"model_type": "roberta"}, RecipeError, "got bert, but .* is a roberta preset"),
            ({"vocab_size": None}, EnvironmentFault, "'vocab_size' is missing"),
        ],
    )
    def test_configs_refused(
        self, references: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], match: str
    ) -> None:
        folder = changed(references / "bert-gelu", tmp_path, change)
        with pytest.raises(error, match=match):
            read_config(preset(folder, "bert"))

    def test_roberta_with_another_padding_id(self, references: Path, tmp_path: Path) -> None:
        folder = changed(references / "roberta-gelu", tmp_path, {"pad_token_id": 3})
        with pytest.raises(EnvironmentFault, match="its positions are counted from the padding id 3, expected 1"):
            read_config(preset(folder, "roberta"))


class TestKerasPreset:
    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.at_times
    def test_as_keras_hub_saves_it(self, tmp_path: Path, family: str) -> None:
        with without_tensorflow():
            import keras_hub
        name = {"bert": "BertBackbone", "distilbert": "DistilBertBackbone", "roberta": "RobertaBackbone"}[family]
        theirs = getattr(keras_hub.models, name)(
            vocabulary_size=459,
            num_layers=2,
            num_heads=2,
            hidden_dim=32,
            intermediate_dim=64,
            max_sequence_length=32,
            dropout=0.2,
        )
        random = np.random.default_rng(0)
        for variable in theirs.trainable_variables:
            variable.assign(weights.to_numpy(variable) + 0.1 * random.normal(size=variable.shape).astype(np.float32))
        theirs.save_to_preset(str(tmp_path))
        found = preset(tmp_path, family, layout="keras")
        config = read_config(found).backbone
        assert (config.dropout, config.attention_dropout) == (0.2, 0.2)
        assert (config.max_positions, config.num_segments) == (32, 2 if family == "bert" else None)
        blueprint = blueprint_of(found, ClassifierHead(), classes=2)
        model = build_model(blueprint, preset=found, seed=0, precision="float32")
        ours = {v.path: weights.to_numpy(v) for v in model.trainable_variables}
        for variable in theirs.trainable_variables:
            np.testing.assert_array_equal(ours[variable.path], weights.to_numpy(variable), err_msg=variable.path)
        np.testing.assert_array_equal(ours["logits/kernel"], drawn("logits/kernel", (32, 2), 0))
        # And it computes what keras-hub computes with them, in another order: sums of float32 are rounded otherwise.
        backbone = assemble(config, dtype="float32")
        weights.load_keras_preset(backbone, config, tmp_path)
        mask = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], np.int32)
        inputs = {"token_ids": mask * 7, "padding_mask": mask, "segment_ids": mask * 0}
        real = mask.astype(bool)
        np.testing.assert_allclose(
            hidden_states(backbone, inputs)[real], hidden_states(theirs, inputs)[real], rtol=0, atol=1e-5
        )

    def test_weights_of_another_model(self, tmp_path: Path) -> None:
        (tmp_path / "model.weights.h5").write_bytes(b"no HDF5")
        config = tiny_config("bert")
        with pytest.raises(EnvironmentFault, match=r"model\.weights\.h5: cannot be read as HDF5 .*: fetch it again"):
            weights.load_keras_preset(assemble(config, dtype="float32"), config, tmp_path)
