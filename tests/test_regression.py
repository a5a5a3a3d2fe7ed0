"""Numbers of a text: how they are read, scaled and answered, and what a recipe may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.data.against_catalog import disagreements
from zoo.data.dataset import Dataset, load_dataset, read_labelled
from zoo.errors import DataError, RecipeError
from zoo.recipe import Recipe, recipe_from
from zoo.score.pairing import compare_rows
from zoo.tasks import dump_task, task_of, task_of_run
from zoo.tasks.material import Stated
from zoo.tasks.regression import Regression

STARS = Regression(names=("stars",), ordinal=True, levels=(1, 5), mean=(3.0,), deviation=(2.0,))
PRICES = Regression(names=("price", "weight"), mean=(1000.0, 1.0), deviation=(500.0, 0.5))


def recipe(data: dict[str, Any], head: dict[str, Any] | None = None) -> Recipe:
    backbone = {"family": "bert", "num_layers": 1, "num_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}
    return recipe_from(
        {
            "name": "own",
            "task": "regression",
            "data": data,
            "model": {"backbone": {**backbone, "vocabulary": "nano_uncased"}, **({"head": head} if head else {})},
            "training": {"batch_size": 4},
        }
    )


def load(folder: Path, rows: list[str], head: dict[str, Any] | None = None, **files: Any) -> Dataset:
    path = folder / "rows.csv"
    names = files.get("label", "label")
    path.write_text("\n".join([",".join(["text", *([names] if isinstance(names, str) else names)]), *rows]) + "\n")
    return load_dataset(recipe({"files": {"train": str(path), **files}}, head))


def test_one_number_and_several(tmp_path: Path) -> None:
    one = load(tmp_path, [f"text {n},{n / 4}" for n in range(40)])
    assert one.task.names == ("label",)
    assert {text: row.tolist() for text, row in zip(one.test.texts, one.test.labels, strict=True)} == {
        text: [int(text.split()[1]) / 4] for text in one.test.texts
    }
    two = load(tmp_path, [f"text {n},{1000 + n},{n % 7 - 0.5}" for n in range(40)], label=["price", "weight"])
    assert two.task.names == ("price", "weight")
    assert two.train.labels.shape == (len(two.train), 2)
    numbers = np.concatenate([two.train.labels, two.validation.labels, two.test.labels])
    assert isinstance(two.task, Regression)
    np.testing.assert_allclose(two.task.mean, two.train.labels.mean(axis=0), err_msg="of the rows to train on alone")
    scaled = two.task.scaled(two.train.labels)
    np.testing.assert_allclose((scaled.mean(axis=0), scaled.std(axis=0)), ([0, 0], [1, 1]), atol=1e-12)
    np.testing.assert_allclose(two.task.values(scaled), two.train.labels)
    np.testing.assert_allclose(two.task.unscaled().values(numbers), numbers)


def test_splits_are_drawn_from_all_of_the_range(tmp_path: Path) -> None:
    data = load(tmp_path, [f"text {n},{n}" for n in range(200)])
    tenths = np.bincount((data.test.labels[:, 0] // 20).astype(int), minlength=10)
    assert tenths.tolist() == [2] * 10


def test_classes_of_the_catalog_stand_for_numbers() -> None:
    data = load_dataset(recipe({"dataset": "smoke_stars"}, {"ordinal": True}))
    assert (data.task.names, data.task.listed_names) == (("stars",), "numbers: stars, 1 to 5")
    assert set(np.unique(data.test.labels)) == {1.0, 2.0, 3.0, 4.0, 5.0}
    counts = data.task.account({"test": data.test.labels})["label_counts"]["test"]
    assert sum(counts) == len(data.test)
    (clash,) = disagreements(recipe({"dataset": "smoke_reviews"}))
    assert "got regression, expected a head for classes: the data has negative, positive" in clash.message


@pytest.mark.parametrize(
    ("rows", "head", "fault"),
    [
        (["a,1", "b,two", "c,", "d,nan"], {}, "1 row without label"),
        (
            ["a,1", "b,two", "c,inf", "d,4"],
            {},
            "rows.csv: train: lines 3, 4: got 'two', 'inf', expected finite numbers",
        ),
        (["a,3", "b,3", "c,3", "d,3"], {}, "all rows of train have the same label, 3: there is nothing to learn"),
        (
            ["a,1", "b,2.5", "c,3", "d,4"],
            {"ordinal": True},
            "rows.csv: train: line 3: got 2.5, expected whole levels from 1 to 4",
        ),
        (["a,1", "b,2", "c,7", "d,4"], {"ordinal": True, "levels": [1, 5]}, "line 4: got 7, expected whole levels"),
        (["a,1", "b,2", "c,5000", "d,4"], {"ordinal": True}, "1 to 5000 are more than 1,000 levels"),
        ([f"{c},{n}e200" for n, c in enumerate("abcdefgh")], {}, "expected numbers of a size that a model can give"),
    ],
)
def test_numbers_that_cannot_be_used(tmp_path: Path, rows: list[str], head: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, rows, head)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("files", "head", "fault"),
    [
        ({"label_names": ["a", "b"]}, {}, "data.files.label_names: got a, b, expected null"),
        ({"label_delimiter": ";"}, {}, "data.files.label_delimiter: got ;, expected null"),
        ({"label": ["a", "b"]}, {"ordinal": True}, "data.files.label: got 2 columns, expected one"),
        ({}, {"levels": [1, 5]}, "model.head.levels: got 1 to 5, expected null with ordinal: false"),
        ({}, {"ordinal": True, "levels": [5, 1]}, "model.head.levels: got 5 and 1"),
    ],
)
def test_recipes_that_contradict_themselves(files: dict[str, Any], head: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe({"files": {"train": "a.csv", **files}}, head)
    assert fault in str(caught.value)


def test_figures_of_another_task_are_not_expected() -> None:
    own = recipe({"files": {"train": "a.csv"}}, {"ordinal": True})
    own.override({"expected": {"accuracy": 0.5, "source": "us"}})
    with pytest.raises(RecipeError, match=r"expected\.f1: got 0\.5, expected null: regression has none"):
        own.override({"expected": {"f1": 0.5, "source": "us"}})


def test_a_figure_of_another_task_picks_no_epoch() -> None:
    with pytest.raises(
        RecipeError, match=r"training\.monitor: got accuracy, expected one of loss, mean_absolute_error"
    ):
        recipe({"files": {"train": "a.csv"}}).override({"training.monitor": "accuracy"})


def test_other_rows_are_read_with_the_same_names(tmp_path: Path) -> None:
    data = load(tmp_path, [f"text {n},{n}" for n in range(20)])
    own = recipe({"files": {"train": "rows.csv"}})
    assert read_labelled(tmp_path / "rows.csv", own, data.task)[0].labels[:3].tolist() == [[0.0], [1.0], [2.0]]


def test_label_columns_of_other_rows(tmp_path: Path) -> None:
    rows = [f"text {n},{1000 + n},{n % 7 - 0.5}" for n in range(40)]
    data = load(tmp_path, rows, label=["price", "weight"])
    own, path = recipe({"files": {"train": "rows.csv", "label": ["price", "weight"]}}), tmp_path / "rows.csv"
    swapped, _ = read_labelled(path, own, data.task, label=["weight", "price"])
    assert swapped.labels[:2].tolist() == [[1000.0, -0.5], [1001.0, 0.5]], "told apart by their names"
    with pytest.raises(RecipeError, match=r"--label-column: got price, expected 2 of them"):
        read_labelled(path, own, data.task, label=["price"])


def test_numbers_that_could_be_class_numbers_are_not_guessed() -> None:
    stated = Stated(
        columns=("label",), names=("1 star", "2 stars", "3 stars"), values=(1.0, 2.0, 3.0), quantity="stars"
    )
    task = Regression(names=("stars",), ordinal=True, levels=(1, 3))
    assert task.targets(["3", "1"], stated).tolist() == [[3.0], [1.0]]
    assert task.targets(["0", "1"], stated).tolist() == [[1.0], [2.0]]
    assert task.targets(["1 star", "3 stars"], stated).tolist() == [[1.0], [3.0]]
    with pytest.raises(DataError, match="1, 2 may be class numbers, from 0, or stars themselves"):
        task.targets(["1", "2"], stated)


def test_limits_hold_however_many_tenths_there_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"text {n},{n}\n" for n in range(200)))
    data = load_dataset(recipe({"files": {"train": str(path)}, "limit": {"train": 30, "test": 5}}))
    assert (len(data.train) + len(data.validation), len(data.test)) == (30, 5)


def test_a_head_of_a_preset_gives_the_numbers_themselves() -> None:
    head = recipe({"files": {"train": "a.csv"}}).model.head.model_copy(update={"init": "preset"})
    task, found = task_of(head).learned({"train": ["1", "5"]}, Stated(columns=("x",)))
    assert task.scale is None
    np.testing.assert_array_equal(task.fitted(found["train"]).scaled(found["train"]), [[1.0], [5.0]])


def test_what_is_answered() -> None:
    first, second = STARS.predictions(STARS.values(np.array([[0.3], [9.0]])))
    assert first.fields() == {"levels": {"stars": 4}, "values": {"stars": 3.6}}
    assert second.told() == ("5", "(21)")
    (prices,) = PRICES.predictions(PRICES.values(np.array([[1.0, -1.0]])))
    assert prices.fields() == {"values": {"price": 1500.0, "weight": 0.5}}
    assert prices.cells() == [("price", 1500.0), ("weight", 0.5)]
    assert prices.told()[0] == "price 1,500  weight 0.5"
    assert first.cells() == [("stars_level", 4), ("stars", 3.6)]


@pytest.mark.parametrize("task", [STARS, PRICES])
def test_rows_and_the_task_are_read_back(task: Regression) -> None:
    random = np.random.default_rng(0)
    targets = random.integers(1, 6, (4, len(task.names))).astype(np.float64)
    values = targets + random.normal(size=targets.shape).round(6)
    rows = json.loads(json.dumps(list(task.rows("abcd", targets, values))))
    for found, expected in zip(task.of_rows(rows), (targets, values), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-8)
    assert rows[0].keys() == {"id", "label", "prediction", *(["values"] if task.ordinal else [])}
    assert task_of_run(json.loads(json.dumps({"task": dump_task(task)}))) == task
    figures = task.figures(values, targets)
    off = np.abs(values - targets)
    assert figures["mean_absolute_error"] == pytest.approx(off.mean())
    assert figures["loss"] == pytest.approx(np.square(off / task.deviation).mean())
    assert task.mistakes(targets, values, most=1).worst[0].row == int((off / task.deviation).mean(axis=1).argmax())
    assert sorted(task.showcase(values)) == [0, 1, 2, 3]


def test_levels_are_right_or_wrong_and_numbers_are_not() -> None:
    targets, values = np.array([[1.0], [2.0]]), np.array([[1.2], [4.0]])
    rows = list(STARS.rows(["a", "b"], targets, values))
    assert compare_rows(rows, rows)["both_right"] == 1
    numbers = list(PRICES.rows(["a"], [[1.0, 2.0]], [[1.0, 2.0]]))
    for pair in ((numbers, numbers), (list(STARS.rows(["a"], [[1.0]], [[1.0]])), numbers)):
        with pytest.raises(DataError):
            compare_rows(*pair)


def test_small_differences_are_the_same() -> None:
    exact = np.array([[1000.0, 1.0]])
    near, far = exact + np.array([4.0, 0.004]), exact + np.array([6.0, 0.0])
    assert PRICES.same(near, exact).tolist() == [True]
    assert PRICES.same(far, exact).tolist() == [False]
    assert PRICES.difference(far, exact) == pytest.approx(0.006)
