"""What a notebook shows, `run.plot`, and `zoo.load_data`: figures and HTML from plain files, without a backend."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from pages_read import Page, size

import zoo
from zoo.errors import DataError, OutputError
from zoo.runs.run_folder import create_run
from zoo.tasks import Predictions
from zoo.tasks.classification import Classification
from zoo.tasks.regression import Regression

BAD, GOOD = "<script>alert(1)</script>", "$\\frac{"
PASSED = {"seconds": 1.0, "tokens": 9}
RECIPE = """
name: mine
data: {files: {train: train.jsonl}}
model: {backbone: {family: bert, preset: minilm_l6_en_uncased}, head: {type: classifier}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> zoo.Recipe:
    """Of 60 rows, every third of which is bad; texts and classes are hostile."""
    rows = [{"text": f"{BAD} number {n}", "label": GOOD if n % 3 else BAD} for n in range(60)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(RECIPE, encoding="utf-8")
    return zoo.load_recipe(tmp_path / "mine.yaml")


@pytest.fixture
def run(tmp_path: Path) -> zoo.Run:
    """A run of three test rows, one of them wrong, with the pictures of its report."""
    with create_run(tmp_path / BAD.replace("/", "") / "run", RECIPE) as folder:
        task = Classification(names=(BAD, GOOD))
        folder.append_history({"kind": "step", "step": 1, "epoch": 1, "loss": 0.5, "learning_rate": 1e-5, **PASSED})
        folder.write_predictions(task.rows(["7", "8", "9"], [0, 1, 0], [[0.1, 0.9], [0.4, 0.6], [0.8, 0.2]]))
        folder.update_run(
            {"metrics": {"test": {"accuracy": 2 / 3, "rows": 3}}, "dataset": {"label_names": [BAD, GOOD]}}
        )
        for name in ("curves", "confusion_matrix", "labels", "time"):
            folder.write_bytes(f"plots/{name}.png", b"a picture")
    return zoo.load_run(folder.path)


def read(thing: Any) -> Page:
    """What a notebook gets."""
    page = Page(thing._repr_html_())
    assert page.scripts == 0
    assert all(address.startswith("data:image/png;base64,") for address in page.loaded)
    return page


def test_data_are_loaded_and_shown(recipe: zoo.Recipe) -> None:
    data = zoo.load_data(recipe)
    assert data.rows == {"train": 49, "validation": 5, "test": 6}
    assert data.label_counts["test"] == {GOOD: 4, BAD: 2}
    assert sum(data.label_counts["train"].values()) == 49
    first = data.sample("test", 2)
    assert first == data.sample("test", 2)
    place = data.test.ids.index(first[1].id)
    assert (first[1].text, first[1].pair) == (data.test.texts[place], None)
    assert first[1].label == data.task.names[data.test.labels[place]]
    assert len(data.sample(count=1_000)) == 49
    assert repr(data).startswith("Dataset(49 train, 5 validation, 6 test rows; classes: ")
    page = read(data)
    assert all(part in page.shown for part in ("60 rows", BAD, GOOD, "49", data.sample()[0].text))
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.notes = ()  # type: ignore[misc]


def test_bad_data_are_refused(recipe: zoo.Recipe, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("no json", encoding="utf-8")
    with pytest.raises(DataError):
        zoo.load_data(recipe)


def test_a_recipe_shows_itself(recipe: zoo.Recipe) -> None:
    shown = read(recipe).shown
    assert all(part in shown for part in ("mine", "minilm_l6_en_uncased", "max_length: 128"))


def test_a_run_shows_itself(run: zoo.Run) -> None:
    page = read(run)
    assert all(part in page.shown for part in (str(run.path), BAD, "67%"))
    assert len(page.loaded) == 2


def test_the_charts_of_a_run_are_figures(run: zoo.Run) -> None:
    for name in ("curves", "confusion_matrix", "reliability", "precision_recall", "roc"):
        figure = getattr(run.plot, name)()
        assert isinstance(figure, Figure), name
        assert figure.get_suptitle()
    assert min(size(run.plot.confusion_matrix()._repr_png_())) > 300
    for name in ("time", "lengths", "predicted"):
        with pytest.raises(OutputError, match=f"no chart '{name}', expected one of what it has: curves, "):
            getattr(run.plot, name)()


def test_metrics_have_the_confusion_matrix(run: zoo.Run) -> None:
    assert run.metrics["test"] == {"accuracy": 2 / 3, "rows": 3, "confusion_matrix": [[1, 1], [0, 1]]}
    assert run.folder.run["metrics"]["test"] == {"accuracy": 2 / 3, "rows": 3}
    on_a_scale = Regression(names=("stars",), ordinal=True, levels=(1, 3))
    got = on_a_scale.confusion(np.array([[1.0], [3.0]]), np.array([[1.2], [1.8]]))
    assert got is not None
    assert got.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert Regression(names=("stars",)).confusion(np.zeros((1, 1)), np.zeros((1, 1))) is None


def test_predictions_show_themselves() -> None:
    task = Classification(names=(BAD, *(f"class {number}" for number in range(30))))
    predictions = Predictions(task.predictions(np.full((25, 31), 1 / 31)))
    assert predictions == task.predictions(np.full((25, 31), 1 / 31))
    assert all(part in read(predictions).shown for part in (BAD, "and 5 more"))
    assert all(part in read(predictions[0]).shown for part in (BAD, "3.2%", "and 11 others"))
    numbers = Regression(names=(BAD,)).predictions(np.array([[2.5]]))
    assert "2.5" in read(numbers[0]).shown
