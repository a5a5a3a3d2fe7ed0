"""Every shipped recipe, at the scale of `smoke`, from the recipe to the report."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import recipes
import zoo
from zoo.backend import Backend
from zoo.data.catalog import FOLDER, dataset_card
from zoo.evaluate import judge
from zoo.export import LIMIT
from zoo.predict import text_columns
from zoo.serve.serving import create_app
from zoo.training import session

FILES = {
    "README.md",
    "recipe.yaml",
    "run.json",
    "history.jsonl",
    "predictions.jsonl",
    "model",
    "plots",
    "report.html",
    "log.txt",
}
MODEL_FILES = {"manifest.json", "model.json", "tokenizer.json", "weights.safetensors"}


def numbers(value: Any) -> Iterator[float]:
    """All figures of a nested value; None stands for one that is not finite."""
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif value is None or isinstance(value, int | float):
        yield math.nan if value is None else value


@pytest.fixture(autouse=True)
def _one_shape(few_shapes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SHAPES", 1)


PAINTED = {
    *("amazon_bert", "goemotions_bert", "amazon_stars_bert", "ner_bert", "squad_bert", "imdb_masked", "multitask"),
    "imdb_contrastive",
}
"""Of each task one recipe, whose charts are painted, by the process of torch, which compiles nothing."""
KINDS = {"jax": "ner_bert", "tensorflow": "squad_bert"}
"""What a backend that compiles trains each time: a task of tokens, or one of spans; the others are slow there.

All three train the quickstart and several tasks of texts at once in tests/test_backends.py, which holds their figures
together, and take the first steps of every task in checks_golden.py.
"""


ALIKE = {
    *("imdb_bert_1k", "imdb_bert_2k", "imdb_long", "imdb_small_bert", "imdb_bert", "sst2_roberta_base"),
    *("imdb_adversarial", "imdb_lora", "imdb_few_shot", "distil_imdb", "imdb_adapted"),
    "imdb_contrastive",
}
"""Recipes of whose task, family and head another one is trained each time, and of whose keys other checks are."""


def marked(name: str) -> Any:
    """A recipe's name, and when it is trained."""
    if name in ALIKE:
        return pytest.param(name, marks=pytest.mark.slow)
    return name if name == KINDS.get(os.environ["KERAS_BACKEND"]) else pytest.param(name, marks=pytest.mark.at_times)


@pytest.fixture
def _painted_once(backend: Backend, request: pytest.FixtureRequest) -> None:
    if backend.name == "torch" and request.node.callspec.params["name"] in PAINTED:
        request.getfixturevalue("painted")


@pytest.mark.usefixtures("_painted_once")
@pytest.mark.parametrize("name", list(map(marked, recipes.names())))
def test_smoke(name: str, tmp_path: Path) -> None:
    whole = recipes.load(name, profile="smoke")
    run, recipe = zoo.train(whole, out=tmp_path / "run"), whole.staged()[-1]
    told = run.folder.run
    assert (told["status"], told["error"]) == ("done", None)
    assert {path.name for path in run.path.iterdir()} == FILES
    assert "could not be drawn" not in (run.path / "log.txt").read_text(encoding="utf-8")
    assert {path.name for path in (run.path / "model").iterdir()} == MODEL_FILES
    assert set(run.metrics) == {"train", "validation", "test"}
    assert all(math.isfinite(figure) for figure in numbers(run.metrics))
    assert set(told["timing"]) >= {
        f"{part}_seconds" for part in ("total", "tokenize", "build", "compile", "train", "evaluate")
    }
    assert all(math.isfinite(figure) and figure >= 0 for figure in numbers(told["timing"]))
    assert 0.0 <= told["padding_fraction"] < 1.0
    assert told["memory"]["peak_bytes"] > 0
    assert told["training"]["epochs"] == recipe.training.epochs
    if name == "quickstart":  # the tour's, which is to show something
        assert run.metrics["test"]["accuracy"] > 0.9
    assert len(run.folder.predictions) == told["dataset"]["rows"]["test"]
    if "predict" in run.task.served_by:  # what it answers instead has checks of its own
        return
    texts = ["A gem of a film, highly recommended."]
    pairs = ["My sister saw it on Sunday."] if run.takes_pairs else None
    (prediction,) = run.predict(texts, pairs)
    assert prediction.fields() == run.named(run.values(texts, pairs))[0].fields()
    if recipe.task != "classification":
        for own in [run.of_task(task) for task in recipe.tasks] or [run]:
            difference = own.export("onnx").difference
            assert difference is not None
            assert difference <= LIMIT
            rows = FOLDER / "samples" / dataset_card(own.recipe.data.dataset or "").origins[0].splits["test"]
            judged = judge(own, str(rows), text_columns(own, None), None, 32)
            told_of_test = {key: value for key, value in own.metrics["test"].items() if key != "confusion_matrix"}
            assert judged.metrics == pytest.approx(told_of_test, abs=2e-3)
        with TestClient(create_app(run, pairs=pairs is not None), base_url="http://localhost") as client:
            answer = client.post("/predict", json={"texts": texts, "pairs": pairs}).json()
        assert answer["predictions"][0].keys() == prediction.fields().keys()
