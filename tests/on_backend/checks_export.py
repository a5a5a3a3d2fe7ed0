"""Exports that Keras or onnxruntime reads back, on the backend of this process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import FAMILIES, blueprint_of, checkpoint, classifier_of

import zoo
from zoo.backend import Backend
from zoo.data.tokens import load_tokenizer
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.model import inference, weights
from zoo.model.saved import ModelCard, save_model
from zoo.recipe.types import BinaryHead, ClassifierHead, Tokens
from zoo.results.export import LIMIT, onnx_files
from zoo.results.export.source import Source
from zoo.results.run import Run

pytestmark = pytest.mark.usefixtures("backend")

NAMES = ("negative", "positive")


def run_of(
    folder: Path, references: Path, family: str, kind: str = "two", threshold: float | None = None, **tokens: Any
) -> Run:
    """A run whose model is a nano checkpoint of transformers', with shipped reviews as its data."""
    found = checkpoint(references / f"{family}-{kind}", family)
    head = BinaryHead(init="checkpoint") if kind == "one" else ClassifierHead(init="checkpoint")
    classes = {"gelu": 3, "gelu_new": 3}.get(kind, 2)
    card = ModelCard(
        blueprint=blueprint_of(found, head, classes),
        tokens=Tokens(**{"max_length": 24, **tokens}),
        label_names=(*NAMES, "neutral")[:classes],
        threshold=threshold,
    )
    save_model(folder / "model", classifier_of(found, head, classes), card, load_tokenizer(found.path))
    backbone = {"family": family, "preset": str(found.path)}
    recipe = {"name": "nano", "data": {"dataset": "smoke_reviews"}, "model": {"backbone": backbone}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    (folder / "run.json").write_text("{}")
    return zoo.load_run(folder)


def moved(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """Let what is written have one weight of the run's other by a twentieth."""
    arrays = dict(Source(run).arrays)
    path = "transformer_layer_0/self_attention_layer/value/kernel"
    arrays[path] = arrays[path].copy()
    arrays[path][3, 1, 5] += 0.05
    monkeypatch.setattr(Source, "arrays", arrays)


class TestOnnx:
    @pytest.mark.parametrize("kind", ["two", "one", "gelu_new"])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_gives_the_same_probabilities(self, tmp_path: Path, references: Path, family: str, kind: str) -> None:
        run = run_of(tmp_path, references, family, kind, threshold=0.5 if kind == "one" else None)
        done = run.export("onnx")
        assert done.path == tmp_path / "export" / "onnx"
        assert set(done.files) == {"model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"}
        assert (done.rows, done.rows_from, done.agreement) == (32, "test rows", 1.0)
        assert done.difference is not None
        assert 0.0 < done.difference < LIMIT  # two programs agree to many digits, not to all

    @pytest.mark.parametrize("family", FAMILIES)
    def test_one_weight_that_is_moved_is_noticed(
        self, tmp_path: Path, references: Path, monkeypatch: pytest.MonkeyPatch, family: str
    ) -> None:
        run = run_of(tmp_path, references, family)
        moved(monkeypatch, run)
        with pytest.raises(OutputError, match=r"--to onnx: onnxruntime [\d.]+ gives probabilities that are \d"):
            run.export("onnx")
        assert not (tmp_path / "export").exists()

    def test_any_batch_and_length_up_to_the_positions(self, tmp_path: Path, references: Path) -> None:
        import onnxruntime

        done = run_of(tmp_path, references, "bert").export("onnx")
        session = onnxruntime.InferenceSession(done.path / "model.onnx", providers=["CPUExecutionProvider"])
        for shape in ((1, 1), (3, 7), (2, 32)):
            ones = np.ones(shape, np.int64)
            given = {"input_ids": 7 * ones, "attention_mask": ones, "token_type_ids": 0 * ones}
            assert session.run(["logits"], given)[0].shape == (shape[0], 2)
        told = session.get_modelmeta().custom_metadata_map
        assert json.loads(told["label_names"]) == list(NAMES)
        assert told["head"] == "softmax"
        assert json.loads(told["tokens"])["max_length"] == 24

    def test_int8_gives_nearly_the_same_labels(self, tmp_path: Path, references: Path) -> None:
        run = run_of(tmp_path, references, "bert")
        done, whole = run.export("onnx_int8"), run.export("onnx")
        assert done.agreement is not None
        assert done.agreement >= 31 / 32
        assert done.difference is not None
        assert done.difference > 10 * LIMIT  # it is another model
        assert done.files["model.onnx"] < whole.files["model.onnx"]
        assert set(done.speeds) == {"int8", "float32"}
        assert min(done.speeds.values()) > 0

    def test_int8_that_gives_other_labels_is_refused(
        self, tmp_path: Path, references: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = run_of(tmp_path, references, "bert")
        arrays = Source(run).arrays
        turned = {path: -arrays[path] for path in ("logits/kernel", "logits/bias")}
        monkeypatch.setattr(Source, "arrays", arrays | turned)
        with pytest.raises(OutputError, match=r"of 32 test rows another label than the run, expected at most 2%"):
            run.export("onnx_int8")
        assert not (tmp_path / "export").exists()

    def test_without_onnxruntime(self, tmp_path: Path, references: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnx_files.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(
            EnvironmentFault, match=r"onnx and onnxruntime not installed: pip install 'text-zoo\[onnx\]'"
        ):
            run_of(tmp_path, references, "bert").export("onnx")


LOAD = """
import json, sys, numpy, keras, keras_hub
path, tokens, out = sys.argv[1:]
model = keras.saving.load_model(path)
given = {name: numpy.array(value, "int32") for name, value in json.load(open(tokens)).items()}
logits = keras.ops.convert_to_numpy(model(given, training=False))
assert not [name for name in sys.modules if name.split(".")[0] == "zoo"]
numpy.save(out, logits)
"""


class TestKeras:
    @pytest.mark.parametrize(("family", "kind"), [("bert", "two"), ("distilbert", "gelu_new"), ("roberta", "one")])
    def test_a_file(self, tmp_path: Path, references: Path, family: str, kind: str) -> None:
        done = run_of(tmp_path, references, family, kind).export("keras")
        assert set(done.files) == {"model.keras", "text_zoo.json", "tokenizer.json"}
        assert done.difference is not None
        assert done.difference < LIMIT

    def test_a_file_loads_without_the_zoo(self, tmp_path: Path, references: Path) -> None:
        run = run_of(tmp_path, references, "bert")
        done = run.export("keras", tmp_path / "file")
        reference = np.load(references / "bert-two" / "reference.npz")
        given = {name: reference[name].tolist() for name in ("token_ids", "padding_mask", "segment_ids")}
        (tmp_path / "tokens.json").write_text(json.dumps(given))
        paths = (done.path / "model.keras", tmp_path / "tokens.json", tmp_path / "logits.npy")
        subprocess.run([sys.executable, "-P", "-c", LOAD, *map(str, paths)], check=True, cwd=tmp_path)
        np.testing.assert_allclose(np.load(paths[2]), reference["logits"], rtol=0, atol=LIMIT)

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
            with pytest.raises(ValueError, match="not a subclass"):
                keras_hub.models.Backbone.from_preset(str(done.path))
            return
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

        def other(variables: list[Any], path: Path) -> None:
            load(variables, path)
            kernel = next(v for v in variables if v.path.endswith("_0/self_attention_layer/value/kernel"))
            value = weights.to_numpy(kernel).copy()
            value[3, 1, 5] += 0.05
            kernel.assign(value)

        monkeypatch.setattr(weights, "load", other)
        with pytest.raises(OutputError, match=rf"--to {to}: .* gives probabilities that are"):
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


class TestExport:
    def test_what_is_refused(self, tmp_path: Path, references: Path) -> None:
        run = run_of(tmp_path / "run", references, "bert")
        with pytest.raises(RecipeError, match=r"--to: got 'onx', expected one of hf, .*; did you mean onnx\?"):
            run.export("onx")
        held = tmp_path / "held"
        held.mkdir()
        (held / "mine.txt").write_text("kept")
        with pytest.raises(OutputError, match=r"held is not empty \(it holds mine\.txt\): choose another --out"):
            run.export("onnx", held)
        with pytest.raises(OutputError, match=r"mine\.txt is a file, expected a folder"):
            run.export("onnx", held / "mine.txt")
        assert [path.name for path in held.iterdir()] == ["mine.txt"]

    def test_without_the_data_of_the_run(self, tmp_path: Path, references: Path) -> None:
        run = run_of(tmp_path / "run", references, "bert")
        recipe = run.path / "recipe.yaml"
        recipe.write_text(recipe.read_text().replace("smoke_reviews", "sst2"))
        done = run.export("onnx")
        assert (done.rows, done.rows_from) == (8, "built-in sentences")

    def test_texts_that_are_cut(self, tmp_path: Path, references: Path) -> None:
        source = Source(run_of(tmp_path, references, "bert", max_length=12))
        cut, whole = source.rows(32), source.rows(32, whole=True)
        assert cut.table.truncated > 0
        assert whole.table.truncated == 0
        assert 0 < len(whole) < len(cut)
