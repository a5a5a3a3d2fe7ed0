"""benchmarks/: the protocol of a measured process, and the peer."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recipes
from benchmarks import processes, protocol
from benchmarks.peers import hf_model
from zoo.errors import EnvironmentFault
from zoo.models.backbone import BackboneConfig
from zoo.recipe import Recipe
from zoo.runs.account import Stopwatch

NANO = BackboneConfig(
    family="bert",
    vocabulary_size=10,
    num_layers=2,
    num_heads=2,
    hidden_dim=4,
    intermediate_dim=8,
    max_positions=16,
    num_segments=2,
    activation="gelu",
    layer_norm_epsilon=1e-12,
    dropout=0.1,
    attention_dropout=0.2,
)


def quickstart(profile: str | None = None, **changes: Any) -> Recipe:
    """The quickstart recipe, at a profile's scale."""
    recipe = recipes.load("quickstart")
    return recipe.override({**(recipe.profiles[profile] if profile else {}), **changes})


def block(tokens: int, seconds: float) -> dict[str, Any]:
    return {"seconds": seconds, "steps": 3, "examples": 96, "tokens": tokens, "model_flops": 1e9}


# --- the protocol -------------------------------------------------------------------------------


class TestProtocol:
    def test_model_flops_by_hand(self) -> None:
        weights = 2 * (4 * 4 * 4 + 2 * 4 * 8)
        assert protocol.model_flops(NANO, np.array([3, 5])) == 6 * weights * 8 + 12 * 2 * 4 * (9 + 25)

    def test_blocks_have_the_mix_of_the_epoch(self) -> None:
        sizes = np.random.Generator(np.random.PCG64(0)).integers(5, 500, 120)
        means = []
        for number in range(20):
            places = protocol.block_of(sizes.tolist(), 10, number)
            assert places == sorted(set(places))
            assert len(places) == 10
            means.append(sizes[places].mean())
        assert np.std(means) < 0.4 * np.std(sizes) / np.sqrt(10)  # far less than of batches drawn at random
        assert np.mean(means) == pytest.approx(sizes.mean(), rel=0.02)

    def test_a_short_epoch_is_one_block(self) -> None:
        assert protocol.block_of([5, 1, 3], 10, 4) == [0, 1, 2]
        assert protocol.block_of([5, 1, 3], 5, 4, repeated=True) == [0, 1, 2, 0, 1, 2]

    def test_steps_of_a_block(self) -> None:
        times = (0.0, 0.1, 1.0, 60.0)
        assert [protocol.steps_of_block(seconds, protocol.ON_CPU) for seconds in times] == [10, 10, 5, 3]
        assert [protocol.steps_of_block(seconds, protocol.ON_ACCELERATOR) for seconds in times] == [2000, 20, 3, 3]

    def test_spread(self) -> None:
        assert protocol.spread([3.0]) == {"median": 3.0, "low": 3.0, "high": 3.0, "blocks": 1}
        assert protocol.spread([4.0, 1.0, 2.0, 3.0, 5.0]) == {"median": 3.0, "low": 2.0, "high": 4.0, "blocks": 5}

    def test_rates_and_utilisation(self) -> None:
        answers = {
            "train": block(1000, 2.0),
            "ceiling": {"flops_per_second": 1e9},
            "predict": {"examples": 10, "seconds": 5},
        }
        assert protocol.rates(answers) == {
            "train_examples_per_second": 48.0,
            "train_tokens_per_second": 500.0,
            "train_flops_per_second": 5e8,
            "model_flop_utilisation": 0.5,
            "ceiling_flops_per_second": 1e9,
            "predict_examples_per_second": 2.0,
        }
        assert protocol.rates({}) == {}

    def test_the_ceiling_counts_the_best_product(self) -> None:
        found = protocol.best_product([(8, 4, 2), (64, 64, 64)], lambda matrix: matrix, np.matmul, lambda _: None)
        assert found["flops_per_second"] > 0

    def test_serving(self) -> None:
        class Subject:
            ready: protocol.Answer = {"precision": "float32"}  # noqa: RUF012
            actions = {"train": lambda: block(1, 1.0)}  # noqa: RUF012

        answers = io.StringIO()
        protocol.serve(Subject(), ["train\n", "dance\n", "quit\n", "train\n"], answers)
        ready, trained, refused = map(json.loads, answers.getvalue().splitlines())
        assert ready == {"precision": "float32", "answers": ["train"]}
        assert trained == block(1, 1.0)
        assert refused == {"error": "got 'dance', expected one of train, quit"}

    def test_time_to_the_target(self) -> None:
        rows = [{"seconds": 10.0, "validation": {"accuracy": accuracy}} for accuracy in (0.7, 0.83, 0.9)]
        recipe = quickstart()
        assert protocol.seconds_to_target(recipe, rows) == 20.0
        assert protocol.seconds_to_target(recipe, rows[:1]) is None
        assert protocol.seconds_to_target(recipe.override({"expected": None}), rows) is None

    def test_a_tally_has_counts_for_f1_where_a_text_has_one_of_two_classes(self) -> None:
        rows = [{"label": label, "prediction": "good"} for label in ("bad", "good", "good")]
        assert protocol.tallied({"accuracy": 2 / 3}, rows, ("bad", "good")) == {
            "rows": 3,
            "correct": 2,
            "most_frequent": 2,
            "found": 2,
            "relevant": 3,
        }
        three = protocol.tallied({"accuracy": 2 / 3}, rows, ("bad", "fair", "good"))
        assert three == {"rows": 3, "correct": 2, "most_frequent": 2, "found": None, "relevant": None}
        assert protocol.tallied({"r2": 0.5}, [{"label": {"x": 1.0}, "prediction": {"x": 1.5}}], ("x",)) is None


FEW = {"data.limit": {"train": 20, "test": 20}, "tokens.max_length": 16, "training.batch_size": 4}
"""Few tokens: a processor that has no bfloat16 takes fifty times as long for them, and a trial asks it four times."""


# --- the peer -----------------------------------------------------------------------------------


class TestPeer:
    def test_what_it_cannot_do(self) -> None:
        assert "fresh" in str(hf_model.why_not(quickstart("smoke")))
        assert "binary" in str(hf_model.why_not(quickstart(**{"model.head.type": "binary"})))
        assert "not in the cache" in str(hf_model.why_not(quickstart(**{"model.backbone.preset": "bert_base_en"})))
        with pytest.raises(EnvironmentFault, match="leave out --peers"):
            hf_model.load_material(quickstart("smoke"), Stopwatch())

    def test_a_keras_preset_has_its_like(
        self, real_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its weights in transformers' own layout, if the catalog knows where and they are here."""
        from zoo.data import backbones
        from zoo.data.catalog import backbone_card

        monkeypatch.setenv("ZOO_CACHE", str(real_cache))
        recipe = quickstart("cpu", **{"data.limit": {"train": 80, "test": 20}})
        real = backbones.locate_backbone(recipe.model.backbone)
        assert real is not None
        monkeypatch.setattr(hf_model, "locate_backbone", lambda _: replace(real, layout="keras"))
        assert "a Keras preset, which transformers does not read" in str(hf_model.why_not(recipe))

        card = backbone_card("minilm_l6_en_uncased")
        there = tmp_path / "theirs"
        cards = {card.name: card.model_copy(update={"hugging_face": "hf://org/theirs"})}
        monkeypatch.setattr(backbones, "backbone_card", lambda name: cards[name])
        assert str(hf_model.why_not(recipe)).endswith(
            "run python -m zoo.fetch quickstart --set model.backbone.preset=hf://org/theirs"
        )

        there.symlink_to(real.path)
        cards[card.name] = card.model_copy(update={"hugging_face": str(there)})
        assert hf_model.why_not(recipe) is None
        plan = hf_model.plan
        monkeypatch.setattr(
            hf_model, "plan", lambda recipe, preset, **named: plan(recipe, preset=replace(preset, layout="hf"), **named)
        )
        material = hf_model.load_material(recipe, Stopwatch())
        assert (material.preset.path, material.weights_from) == (there, str(there))
        assert hf_model.build(material, hf_model.SETTINGS["tuned"]).config.hidden_size == card.hidden_dim

    def test_depth_as_the_zoo_counts_it(self) -> None:
        names = {
            "bert.embeddings.word_embeddings.weight": 0,
            "bert.encoder.layer.0.output.dense.weight": 1,
            "distilbert.transformer.layer.5.ffn.lin1.bias": 6,
            "bert.pooler.dense.weight": 7,
            "classifier.weight": 7,
        }
        assert {name: hf_model.depth(name, 6) for name in names} == names

    def test_padding_of_the_settings(self) -> None:
        rows = hf_model.Rows(ids=[[5, 6], [7, 8, 9]], segments=None, labels=np.array([1, 0]))
        tuned = hf_model.padded(rows, [0, 1], hf_model.SETTINGS["tuned"], pad=4)
        assert tuned["input_ids"].tolist() == [[5, 6, 4], [7, 8, 9]]
        assert tuned["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
        assert tuned["labels"].tolist() == [1, 0]
        notebook = hf_model.padded(rows, [1], hf_model.SETTINGS["notebook"], pad=4)
        assert notebook["input_ids"].shape == (1, 128)

    def test_pairs_keep_their_segments(self) -> None:
        rows = hf_model.Rows(ids=[[5, 6, 7]], segments=[[0, 0, 1]], labels=np.array([1]))
        assert rows.features() == [{"input_ids": [5, 6, 7], "labels": 1, "token_type_ids": [0, 0, 1]}]
        batch = hf_model.padded(rows, [0], hf_model.SETTINGS["notebook"], pad=0)
        assert batch["token_type_ids"][0, :4].tolist() == [0, 0, 1, 0]

    def test_two_steps_on_the_weights_of_the_zoo(self, real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Same tokens, same head, groups and rates; and a whole run by Trainer."""
        from benchmarks.peers import hf_trainer
        from zoo.data.backbones import locate_vocabulary
        from zoo.data.token_cache import encode_splits
        from zoo.data.tokens import load_tokenizer
        from zoo.models.weights import draw

        monkeypatch.setenv("ZOO_CACHE", str(real_cache))
        recipe = quickstart(
            "cpu", **FEW, **{"training.epochs": None, "training.steps": 2, "model.backbone.dropout": 0.2}
        )
        material = hf_model.load_material(recipe, Stopwatch())
        table = encode_splits(load_tokenizer(locate_vocabulary(recipe.model.backbone)), material.dataset, recipe.tokens)
        assert np.concatenate(material.rows["test"].ids).tolist() == table["test"].ids.tolist()

        model = hf_model.build(material, hf_model.SETTINGS["tuned"])
        assert (model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob) == (0.2, 0.2)

        class Kernel:
            name, path, shape = "kernel", "logits/kernel", (384, 2)

            def assign(self, value: np.ndarray) -> None:
                self.value = value

        kernel = Kernel()
        draw([kernel], recipe.seed)
        np.testing.assert_array_equal(model.classifier.weight.detach().numpy(), kernel.value.T)
        optimizer, _ = hf_model.optimizer_of(material, model)
        assert sorted((group["weight_decay"], len(group["params"])) for group in optimizer.param_groups) == [
            (0.0, 64),
            (0.01, 41),
        ]
        found = hf_trainer.whole_run(recipe, hf_model.SETTINGS["tuned"], Stopwatch())
        assert found["test"]["rows"] == 20
        assert found["test"]["accuracy_low"] < found["test"]["accuracy"] < found["test"]["accuracy_high"]
        assert found["timing"]["train_seconds"] > 0
        assert found["loop"] == "transformers.Trainer"
        counts = found["tally"]
        assert counts["correct"] / counts["rows"] == found["test"]["accuracy"]
        assert 2 * counts["found"] / (counts["found"] + counts["relevant"]) == pytest.approx(found["test"]["f1"])

    def test_blocks(self, real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from benchmarks.peers import hf_speed

        monkeypatch.setenv("ZOO_CACHE", str(real_cache))
        monkeypatch.setattr(hf_speed, "PIPELINE_BATCHES", (8,))
        monkeypatch.setattr(protocol, "PREDICT_ROWS", 8)
        material = hf_model.load_material(quickstart("cpu", **FEW), Stopwatch())
        setting = replace(hf_model.SETTINGS["tuned"], precision="float32")
        training = hf_speed.Training(material, setting, Stopwatch())
        assert training.ready["compile_seconds"].keys() == {"4x16", "2x16"}
        assert training.ready["shapes"] == 2
        block = training.actions["train"]()
        assert block["examples"] == 18
        assert block["tokens"] == material.rows["train"].lengths.sum()
        assert hf_speed.choose_precision(training._model, material, hf_model.SETTINGS["tuned"]) in (
            "float32",
            "bfloat16",
        )

        self._refuses_and_tries_tf32(training._model, material, monkeypatch)

        pipeline = hf_speed.Pipeline(material, setting, Stopwatch())
        assert pipeline.ready["tried"].keys() == {"float32 8"}
        assert len(pipeline.ready["labels"]) == pipeline.actions["predict"]()["examples"] == 8
        assert pipeline.actions["memory"]()["peak_bytes"] > 1e8

    def _refuses_and_tries_tf32(self, model: Any, material: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a CPU, and on one that says that it has it: forward, backward and the ceiling are multiplied so."""
        import torch

        from benchmarks.peers import hf_speed

        with pytest.raises(EnvironmentFault, match="--precision: got tf32, expected float32 or bfloat16"):
            hf_model.precisions(replace(hf_model.SETTINGS["tuned"], precision="tf32"))
        said: list[str] = []
        backward = torch.Tensor.backward

        def noted(tensor: Any) -> None:
            said.append(torch.backends.cuda.matmul.fp32_precision)
            backward(tensor)

        with monkeypatch.context() as patch:
            patch.setattr(hf_model, "precisions", lambda setting: ("float32", "tf32", "bfloat16"))
            patch.setattr(torch.Tensor, "backward", noted)
            assert hf_speed.choose_precision(model, material, hf_model.SETTINGS["tuned"]) in hf_model.precisions(None)
        assert said[:3] == ["ieee", "tf32", "ieee"]
        assert hf_speed.torch_ceiling(material, 8, "tf32")["flops_per_second"] > 0

    def test_a_pipeline_does_not_train(self) -> None:
        done = subprocess.run(
            [sys.executable, str(processes.SCRIPTS["hf"]), "quickstart", "--setting", "pipeline"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "expected notebook or tuned" in done.stderr
