"""task: masked: texts without labels, figures of hidden tokens, and what the recipe refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recipes
from zoo.data.dataset import load_dataset, read_labelled
from zoo.errors import RecipeError
from zoo.recipe import recipe_from
from zoo.tasks.masked import Masked

BACKBONE = {"family": "bert", "preset": "hf://google-bert/bert-base-uncased"}


def recipe_of(files: dict[str, Any], **more: Any) -> Any:
    return recipe_from(
        {"name": "mine", "task": "masked", "data": {"files": files}, "model": {"backbone": BACKBONE}, **more},
        overrides={"training.batch_size": 2},
    )


def test_texts_without_labels(tmp_path: Path) -> None:
    """A line each, of a file of lines, or the column of a file whose labels are not read."""
    lines = tmp_path / "texts.txt"
    lines.write_text("".join(f"this is text {number}\n" for number in range(40)))
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"this is text {number},\n" for number in range(40)))
    found = [
        load_dataset(recipe_of({"train": str(path), **label}))
        for path, label in ((lines, {"label": None}), (lines, {}), (rows, {}))
    ]
    assert {data.sha256 for data in found} == {found[0].sha256}
    assert found[0].rows == {"train": 32, "validation": 4, "test": 4}
    assert found[0].label_counts == {}
    assert found[0].sample()[0].label == ""
    recipe = recipe_of({"train": str(lines)})
    split, _ = read_labelled(lines, recipe, Masked())
    assert (len(split), set(split.labels.tolist())) == (40, {0})
    with pytest.raises(RecipeError, match="expected 0"):
        read_labelled(rows, recipe, Masked(), label=["label"])


def test_texts_of_a_data_set() -> None:
    data = load_dataset(recipes.load("imdb_masked", profile="smoke"))
    assert isinstance(data.task, Masked)
    assert not data.train.labels.any()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"task": "classification"}, "data.files.label"),
        ({"training": {"packing": True}}, "training.packing"),
        ({"model": {"backbone": BACKBONE, "head": {"dropout": 0.1}}}, "model.head.dropout"),
        ({"model": {"backbone": BACKBONE, "head": {"masked": 1.0}}}, "model.head.masked"),
        ({"expected": {"f1": 0.9, "source": "me"}}, "expected.f1"),
    ],
)
def test_recipe_refuses(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_of({"train": "a.txt", "label": None}, **changes)
    assert any(key in fault for fault in caught.value.faults), caught.value.faults


def test_figures() -> None:
    """Over tokens, not over texts; and none of texts without tokens."""
    task, values = Masked(), np.array([[2.0, 1.0, 1.0], [7.0, 8.0, 3.0], [0.0, 0.0, 0.0]])
    figures = task.figures(values, np.zeros(3))
    assert figures == {
        "accuracy": pytest.approx(4 / 9),
        "loss": pytest.approx(1.0),
        "perplexity": pytest.approx(math.e),
        "rows": 3,
        "places": 9,
    }
    assert "loss" not in task.figures(values[2:], np.zeros(1))
    targets, again = task.of_rows(list(task.rows(["a", "b", "c"], np.zeros(3), values)))
    np.testing.assert_allclose(again, values)
    assert len(targets) == 3
    assert [mistake.row for mistake in task.mistakes(targets, values, most=2).worst] == [0, 1]
    assert task.showcase(values)[-1] == 0
    assert set(task.pictures(targets, values, [])) == {"surprise"}


@pytest.mark.parametrize("verb", ["predict", "explain", "serve"])
def test_verbs_that_do_not_serve_it(verb: str) -> None:
    with pytest.raises(RecipeError, match=r"zoo\.fill"):
        Masked().refuse(verb)
