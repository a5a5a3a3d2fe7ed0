"""Exports that transformers and onnxruntime read back: run on torch alone, which transformers needs in any case."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from checks_export import NAMES, run_of
from nano import FAMILIES, blueprint_of, classifier_of, preset

from zoo.data.manifest import write_manifest
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.export import LIMIT, hugging_face, keras_formats, onnx_files
from zoo.export.by_transformers import answer
from zoo.export.source import Rows, Source
from zoo.finished import Run
from zoo.models import weights
from zoo.models.presets import read_config
from zoo.recipe.heads import BinaryHead, ClassifierHead

pytestmark = pytest.mark.usefixtures("backend")

KINDS = ("two", "gelu_new", "one")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline runs here, where transformers is imported already; the process of its own is in test_export.py."""

    def ask(source: Source, folder: Path, rows: Rows) -> list[dict[str, float]]:
        return answer(**hugging_face.question(source, folder, rows))

    monkeypatch.setattr(hugging_face, "ask", ask)


def moved(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    """Let what is written have one weight of the run's other by a twentieth."""
    arrays = dict(Source(run).arrays)
    path = "transformer_layer_0/self_attention_layer/value/kernel"
    arrays[path] = arrays[path].copy()
    arrays[path][3, 1, 5] += 0.05
    monkeypatch.setattr(Source, "arrays", arrays)


def pipeline_scores(folder: Path, texts: list[str]) -> np.ndarray:
    """The score of each label, by number, as a user of transformers gets it."""
    classify = transformers.pipeline("text-classification", model=str(folder), top_k=None)
    config = transformers.AutoConfig.from_pretrained(folder)
    found = [{score["label"]: score["score"] for score in row} for row in classify(texts, truncation=True)]
    return np.array([[row[config.id2label[number]] for number in range(config.num_labels)] for row in found])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
class TestEachFamilyAndHead:
    def test_gives_the_pipelines_probabilities(self, tmp_path: Path, references: Path, family: str, kind: str) -> None:
        run = run_of(tmp_path, references, family, kind, threshold=0.5 if kind == "one" else None)
        done = run.export("hf")
        assert set(done.files) == {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"}
        assert (done.rows, done.agreement, done.warnings) == (32, 1.0, ())
        assert done.difference is not None
        assert 0.0 < done.difference < LIMIT
        texts = ["Café naïve, a truly GREAT film!", "", "long " * 100]
        expected = run.probabilities(texts)
        found = pipeline_scores(done.path, texts)
        np.testing.assert_allclose(found, expected[:, 1:] if kind == "one" else expected, rtol=0, atol=LIMIT)

    def test_one_weight_that_is_moved_is_noticed(
        self, tmp_path: Path, references: Path, monkeypatch: pytest.MonkeyPatch, family: str, kind: str
    ) -> None:
        run = run_of(tmp_path, references, family, kind)
        moved(monkeypatch, run)
        with pytest.raises(OutputError, match=r"--to hf: transformers [\d.]+ gives values that are \d"):
            run.export("hf")
        assert not (tmp_path / "export").exists()

    def test_can_be_trained_there(self, tmp_path: Path, references: Path, family: str, kind: str) -> None:
        folder = run_of(tmp_path, references, family, kind).export("hf").path
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        given = transformers.AutoTokenizer.from_pretrained(folder)(
            ["a great film", "a dull one"], padding=True, return_tensors="pt"
        )
        labels = torch.tensor([[1.0], [0.0]]) if kind == "one" else torch.tensor([1, 0])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        losses = []
        for _ in range(2):
            loss = model(**given, labels=labels).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        assert losses[1] < losses[0]

    def test_reads_back_as_a_preset(self, tmp_path: Path, references: Path, family: str, kind: str) -> None:
        """The same weights to the last bit, by the reader that the zoo has for Hugging Face's presets."""
        run = run_of(tmp_path, references, family, kind)
        found = preset(run.export("hf").path, family)
        head = BinaryHead(init="preset") if kind == "one" else ClassifierHead(init="preset")
        config = read_config(found)
        assert config.backbone == run.card.blueprint.backbone
        assert config.head_dropout == run.card.blueprint.head.dropout
        assert config.head is not None
        assert config.head.label_names == run.task.unit_names
        classes = len(run.task.names)
        assert blueprint_of(found, head, classes).backbone == run.card.blueprint.backbone
        again = classifier_of(found, head, classes)
        for ours, theirs in zip(run.model.trainable_variables, again.trainable_variables, strict=True):
            np.testing.assert_array_equal(weights.to_numpy(ours), weights.to_numpy(theirs), err_msg=ours.path)


def test_the_end_of_a_text_that_is_too_long(tmp_path: Path, references: Path) -> None:
    run = run_of(tmp_path, references, "bert", max_length=12, truncation="tail")
    done = run.export("hf")
    assert done.warnings == ()
    text = "one " * 30 + "a truly great film"
    np.testing.assert_allclose(pipeline_scores(done.path, [text]), run.probabilities([text]), rtol=0, atol=LIMIT)


def test_what_transformers_cannot_be_told_is_said(tmp_path: Path, references: Path) -> None:
    run = run_of(tmp_path, references, "roberta", "one", threshold=0.375, max_length=12, truncation="head_tail", head=4)
    done = run.export("hf")
    cut, threshold = done.warnings
    assert cut.startswith("transformers cannot cut texts by truncation: head_tail: it keeps the head of a text of more")
    assert "the run calls a text positive from 0.375 up" in threshold
    told = json.loads((done.path / "config.json").read_text())["text_zoo"]
    assert told["threshold"] == 0.375
    assert told["tokens"]["truncation"] == "head_tail"
    assert transformers.AutoConfig.from_pretrained(done.path).text_zoo == told


def test_an_epsilon_that_transformers_does_not_know(tmp_path: Path, references: Path) -> None:
    run = run_of(tmp_path, references, "distilbert")
    path = run.path / "model" / "model.json"
    path.write_text(path.read_text().replace('"layer_norm_epsilon": 1e-12', '"layer_norm_epsilon": 1e-05'))
    write_manifest(path.parent)
    with pytest.raises(RecipeError, match=r"have the epsilon 1e-05, and those of transformers' have 1e-12"):
        Run(run.folder).export("hf")
    done = Run(run.folder).export("onnx")
    assert done.agreement == 1.0


def test_pairs(tmp_path: Path, references: Path) -> None:
    run = run_of(tmp_path, references, "bert", max_length=20, pair_truncation="only_second")
    lines = [f"is this {number},a {'long ' * (number % 20)}one,{number % 2}" for number in range(80)]
    (tmp_path / "pairs.csv").write_text("\n".join(["one,two,label", *lines]))
    recipe = json.loads((tmp_path / "recipe.yaml").read_text())
    recipe["data"] = {"files": {"train": "pairs.csv", "text": ["one", "two"]}, "test": {"fraction": 0.2}}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    done = run.export("hf")
    assert (done.rows, done.rows_from, done.agreement) == (16, "test rows", 1.0)


def test_without_transformers(tmp_path: Path, references: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find: Callable[[str], object] = hugging_face.importlib.util.find_spec
    monkeypatch.setattr(
        hugging_face.importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name)
    )
    done = run_of(tmp_path, references, "bert").export("hf")
    assert done.warnings == ("not checked: pip install transformers, and export again",)
    assert (done.checked_by, done.rows, done.difference) == (None, 0, None)
    assert (done.path / "model.safetensors").is_file()


class TestOnnx:
    @pytest.mark.parametrize("kind", ["one", "gelu_new"])
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
        with pytest.raises(OutputError, match=r"--to onnx: onnxruntime [\d.]+ gives values that are \d"):
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
        assert done.sizes == {"int8": done.files["model.onnx"], "float32": whole.files["model.onnx"]}
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
            EnvironmentFault, match=r"onnx and onnxruntime are not installed: pip install 'text-zoo\[onnx\]'"
        ):
            run_of(tmp_path, references, "bert").export("onnx")


def test_tokens_that_differ_are_told(tmp_path: Path, references: Path) -> None:
    """keras-hub's tokenizer is compared too: two entries of the vocabulary that it reads change places."""
    run = run_of(tmp_path, references, "bert", "gelu_new")
    folder, source = run.export("keras_hub").path, Source(run)
    rows = source.rows(32)
    assert keras_formats.tokens_that_differ(source, folder, rows) == []
    path = folder / "assets" / "tokenizer" / "vocabulary.txt"
    entries = path.read_text().split("\n")
    one, other = (int(number) for number in rows.table.ids[1:3])
    entries[one], entries[other] = entries[other], entries[one]
    path.write_text("\n".join(entries))
    (warning,) = keras_formats.tokens_that_differ(source, folder, rows)
    assert warning.startswith("keras-hub's tokenizer makes other tokens than the run's of ")


LOAD = """
import json, sys
sys.modules['tensorflow'] = None  # it takes seconds, and is not needed
import numpy, keras, keras_hub
path, tokens, out = sys.argv[1:]
model = keras.saving.load_model(path)
given = {name: numpy.array(value, "int32") for name, value in json.load(open(tokens)).items()}
logits = keras.ops.convert_to_numpy(model(given, training=False))
assert not [name for name in sys.modules if name.split(".")[0] == "zoo"]
numpy.save(out, logits)
"""


@pytest.mark.slow
def test_a_file_loads_without_the_zoo(tmp_path: Path, references: Path) -> None:
    run = run_of(tmp_path, references, "bert")
    done = run.export("keras", tmp_path / "file")
    reference = np.load(references / "bert-two" / "reference.npz")
    given = {name: reference[name].tolist() for name in ("token_ids", "padding_mask", "segment_ids")}
    (tmp_path / "tokens.json").write_text(json.dumps(given))
    paths = (done.path / "model.keras", tmp_path / "tokens.json", tmp_path / "logits.npy")
    subprocess.run([sys.executable, "-P", "-c", LOAD, *map(str, paths)], check=True, cwd=tmp_path)
    np.testing.assert_allclose(np.load(paths[2]), reference["logits"], rtol=0, atol=LIMIT)


class TestExport:
    def test_what_is_refused(self, tmp_path: Path, references: Path) -> None:
        run = run_of(tmp_path / "run", references, "bert")
        with pytest.raises(RecipeError, match=r'--to: got "onx", expected one of hf, .* \(did you mean onnx\?\)'):
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
