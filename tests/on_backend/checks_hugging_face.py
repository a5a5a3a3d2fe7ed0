"""Exports that transformers reads back: run on torch alone, which transformers needs in any case."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from checks_export import NAMES, moved, run_of
from nano import FAMILIES, blueprint_of, checkpoint, classifier_of

from zoo.errors import OutputError, RecipeError
from zoo.model import weights
from zoo.model.checkpoints import read_config
from zoo.recipe.types import BinaryHead, ClassifierHead
from zoo.results.export import LIMIT, hugging_face
from zoo.results.export.by_transformers import answer
from zoo.results.export.source import Rows, Source
from zoo.results.run import Run

pytestmark = pytest.mark.usefixtures("backend")

KINDS = ("two", "gelu_new", "one")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline runs here, where transformers is imported already; the process of its own is in test_export.py."""

    def ask(source: Source, folder: Path, rows: Rows) -> list[dict[str, float]]:
        return answer(**hugging_face.question(source, folder, rows))

    monkeypatch.setattr(hugging_face, "ask", ask)


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
        with pytest.raises(OutputError, match=r"--to hf: transformers [\d.]+ gives probabilities that are \d"):
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

    def test_reads_back_as_a_checkpoint(self, tmp_path: Path, references: Path, family: str, kind: str) -> None:
        """The same weights to the last bit, by the reader that the zoo has for Hugging Face's checkpoints."""
        run = run_of(tmp_path, references, family, kind)
        found = checkpoint(run.export("hf").path, family)
        head = BinaryHead(init="checkpoint") if kind == "one" else ClassifierHead(init="checkpoint")
        config = read_config(found)
        assert config.backbone == run.card.blueprint.backbone
        assert config.head_dropout == run.card.blueprint.head.dropout
        assert config.head is not None
        assert config.head.label_names == (NAMES[1:] if kind == "one" else run.card.label_names)
        classes = run.card.blueprint.classes
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
    with pytest.raises(RecipeError, match=r"have the epsilon 1e-05, and those of transformers' have 1e-12"):
        Run(run.folder).export("hf")
    done = Run(run.folder).export("onnx")
    assert done.agreement == 1.0


def test_pairs(tmp_path: Path, references: Path) -> None:
    run = run_of(tmp_path, references, "bert", max_length=20, pair_truncation="only_second")
    lines = [f"is this {number},a {'long ' * number}one,{number % 2}" for number in range(40)]
    (tmp_path / "pairs.csv").write_text("\n".join(["one,two,label", *lines]))
    recipe = json.loads((tmp_path / "recipe.yaml").read_text())
    recipe["data"] = {"files": {"train": "pairs.csv", "text": ["one", "two"]}, "test": {"fraction": 0.25}}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    done = run.export("hf")
    assert (done.rows, done.rows_from, done.agreement) == (10, "test rows", 1.0)


def test_without_transformers(
    tmp_path: Path, references: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    find: Callable[[str], object] = hugging_face.importlib.util.find_spec
    monkeypatch.setattr(
        hugging_face.importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name)
    )
    done = run_of(tmp_path, references, "bert").export("hf")
    assert done.warnings == ("not checked: pip install transformers, and export again",)
    assert (done.checked_by, done.rows, done.difference) == (None, 0, None)
    assert (done.path / "model.safetensors").is_file()
