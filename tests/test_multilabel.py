"""Several classes a text: how labels are read, what a recipe may say, and what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from zoo.data.dataset import Dataset, load_dataset, read_labelled
from zoo.errors import DataError, RecipeError, ZooError
from zoo.recipe import Recipe, recipe_from
from zoo.report.plots import label_distribution
from zoo.tasks import task_of, task_of_run
from zoo.tasks.material import Stated
from zoo.tasks.multilabel import Multilabel

NAMES = ("joy", "fear", "anger")
LISTS = [["joy"], ["fear", "joy"], [], ["anger"], ["fear"], ["anger", "fear"]] * 8
FOUND = [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]] * 8
TASK = Multilabel(names=NAMES, threshold=(0.5, 0.3, 0.5))
SHARES = np.array([[0.9, 0.1, 0.2], [0.2, 0.4, 0.6], [0.1, 0.2, 0.3]])


def recipe(files: dict[str, Any], head: dict[str, Any] | None = None) -> Recipe:
    backbone = {"family": "bert", "num_layers": 1, "num_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}
    return recipe_from(
        {
            "name": "own",
            "task": "multilabel",
            "data": {"files": files},
            "model": {"backbone": {**backbone, "vocabulary": "nano_uncased"}, **({"head": head} if head else {})},
            "training": {"batch_size": 4},
        }
    )


def rows_of(data: Dataset) -> dict[str, list[int]]:
    """Targets by text, of all splits."""
    return {
        text: row.tolist()
        for split in (data.train, data.validation, data.test)
        for text, row in zip(split.texts, split.labels, strict=True)
    }


def written(folder: Path, kind: str) -> dict[str, Any]:
    """The same rows in each of the forms that labels come in, and the keys of `data.files` for them."""
    texts = [f"text {number}" for number in range(len(LISTS))]
    path = folder / f"rows.{ {'delimited': 'csv', 'columns': 'tsv', 'list': 'jsonl', 'numbers': 'parquet'}[kind] }"
    files: dict[str, Any] = {"train": str(path), "label_names": list(NAMES)}
    if kind == "delimited":
        path.write_text("text,label\n" + "".join(f"{t},{' | '.join(x)}\n" for t, x in zip(texts, LISTS, strict=True)))
        files["label_delimiter"] = "|"
    elif kind == "columns":
        lines = ("\t".join([text, *map(str, row)]) + "\n" for text, row in zip(texts, FOUND, strict=True))
        path.write_text("text\ta\tb\tc\n" + "".join(lines))
        files["label"] = ["a", "b", "c"]
    elif kind == "list":
        path.write_text("".join(json.dumps({"text": t, "label": x}) + "\n" for t, x in zip(texts, LISTS, strict=True)))
    else:
        numbers = [[NAMES.index(name) for name in row] for row in LISTS]
        pyarrow.parquet.write_table(pyarrow.table({"text": texts, "label": numbers}), path)
    return files


@pytest.mark.parametrize("kind", ["delimited", "columns", "list", "numbers"])
def test_labels_are_read_in_each_form(tmp_path: Path, kind: str) -> None:
    own = recipe(written(tmp_path, kind))
    data = load_dataset(own)
    assert data.task.names == NAMES
    assert data.task.threshold == (0.5, 0.5, 0.5)
    assert rows_of(data) == {f"text {number}": row for number, row in enumerate(FOUND)}
    again, _ = read_labelled(own.data.files.train, own, data.task)  # type: ignore[union-attr]
    assert again.labels.tolist() == FOUND
    counts = data.task.account({"all": again.labels})
    assert counts == {"label_names": [*NAMES], "label_counts": {"all": np.sum(FOUND, axis=0).tolist()}}


def test_shares_of_classes_are_of_texts() -> None:
    account = {"label_counts": {"train": [3, 2, 1]}, "rows": {"train": 4}}
    chart = TASK.occurrences(account)
    assert chart is not None
    (axes,) = label_distribution(*chart.arguments).figure().axes
    assert [bar.get_width() for bar in axes.patches] == [0.75, 0.5, 0.25]
    assert axes.get_legend_handles_labels()[1] == ["train (4)"]


def test_names_are_found_in_the_rows(tmp_path: Path) -> None:
    files = written(tmp_path, "delimited")
    del files["label_names"]
    assert load_dataset(recipe(files)).task.names == tuple(sorted(NAMES))


def test_splits_keep_the_sets_in_proportion(tmp_path: Path) -> None:
    data = load_dataset(recipe(written(tmp_path, "list")))
    sets = {tuple(row) for row in data.test.labels.tolist()}
    assert (len(data.test), len(sets)) == (5, 5), "of 48 rows with 6 sets in equal numbers"
    few = np.array([[1, 0, 0]] * 5 + [[0, 1, 0], [0, 0, 1]])
    assert TASK.strata(few).tolist() == [1] * 5 + [0, 0], "rare sets are drawn together"


@pytest.mark.parametrize(
    ("kind", "old", "new", "fault"),
    [
        (
            "delimited",
            "text 1,fear | joy",
            "text 1,fear | rage",
            ".csv: train: line 3: got the label rage, expected one of joy, fear, anger",
        ),
        (
            "columns",
            "text 1\t1\t1\t0",
            "text 1\t1\t2\t0",
            ".tsv: train: line 3: got '2' in b, expected 1 where",
        ),
        ("columns", "text 1\t1\t1\t0", "text 1\t1\t\t0", "1 row without label"),
        ("list", '["fear", "joy"]', "null", "1 row without label"),
        ("list", '["fear", "joy"]', '["fear", ["joy"]]', ": train: line 2: got ['joy'] among the labels of a text"),
        ("list", '["fear", "joy"]', '["fear", ""]', ": train: line 2: got '' among the labels of a text"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, kind: str, old: str, new: str, fault: str) -> None:
    files = written(tmp_path, kind)
    path = Path(files["train"])
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError) as caught:
        load_dataset(recipe(files))
    assert fault in str(caught.value)


def test_a_class_that_no_row_has(tmp_path: Path) -> None:
    files = written(tmp_path, "columns")
    path = Path(files["train"])
    path.write_text(
        "".join(line[:-2] + "0\n" if line[-2:] == "1\n" else line for line in path.read_text().splitlines(True))
    )
    with pytest.raises(DataError, match="no row of train has anger"):
        load_dataset(recipe(files))
    path.write_text("text,label\na,\nb,\n")
    with pytest.raises(DataError, match="train has no class"):
        Multilabel().learned({"train": ["", ""]}, Stated(columns=("label",), delimiter=";"))


@pytest.mark.parametrize(
    ("files", "head", "fault"),
    [
        (
            {"label": ["a", "b"], "label_names": ["x", "y", "z"]},
            {},
            "data.files.label_names: got 3 names, expected",
        ),
        ({"label": ["a", "b"], "label_delimiter": ";"}, {}, "data.files.label_delimiter: got ;, expected null"),
        ({"label": ["a", "a"]}, {}, "data.files.label: got a, a, expected each column once"),
        ({"label": ["a", "text"]}, {}, "data.files.label: got text, the text column"),
        (
            {},
            {"type": "classifier"},
            "model.head.type: got classifier, a head for classification",
        ),
        ({}, {"threshold": 1.5}, "model.head.threshold: got 1.5, expected a number above 0 and below 1"),
        ({}, {"threshold": {"joy": 2}}, "model.head.threshold.joy: got 2, expected a number above 0 and below 1"),
        ({}, {"treshold": 0.5}, "did you mean threshold?"),
    ],
)
def test_recipes_that_contradict_themselves(files: dict[str, Any], head: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe({"train": "a.csv", **files}, head)
    assert fault in str(caught.value)


def test_classes_of_one_label_want_no_list() -> None:
    for files, fault in (
        ({"label": ["a", "b"]}, "data.files.label: got 2 columns, expected one"),
        ({"label_delimiter": ";"}, "data.files.label_delimiter: got ;, expected null"),
    ):
        with pytest.raises(RecipeError) as caught:
            recipe({"train": "a.csv", **files}).override({"task": "classification", "model.head": {}})
        assert fault in str(caught.value)


def test_thresholds_are_asked_or_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = Stated(columns=("label",), names=NAMES)
    by_name = task_of(recipe({"train": "a.csv"}, {"threshold": {"fear": 0.3}}).model.head).stated(stated)
    assert by_name is not None
    assert by_name.threshold == (0.5, 0.3, 0.5)
    with pytest.raises(RecipeError, match=r'model\.head\.threshold: got "rage"'):
        task_of(recipe({"train": "a.csv"}, {"threshold": {"rage": 0.3}}).model.head).stated(stated)
    tuned = task_of(recipe({"train": "a.csv"}, {"threshold": "tune"}).model.head).stated(stated)
    assert tuned is not None
    flags = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 0]])
    few = tuned.tuned(SHARES, flags)
    assert (few.threshold, few.asked) == ((0.5,) * 3, 0.5)
    assert "tuned" not in few.limits[0]
    assert "joy, fear, anger stays at 0.5" in str(tuned.untuned(flags))
    monkeypatch.setattr("zoo.tasks.thresholds.FEWEST", 1)
    assert tuned.untuned(flags) is None
    assert tuned.tuned(SHARES, flags).threshold == pytest.approx((0.55, 0.3, 0.15), abs=0.06)
    # A class that no row has keeps its own, while the others are tuned.
    assert tuned.tuned(SHARES, flags * [1, 0, 1]).threshold[1] == 0.5
    assert "the threshold of fear stays" in str(tuned.untuned(flags * [1, 0, 1]))
    assert by_name.tuned(SHARES, np.zeros((3, 3), int)) is by_name
    assert by_name.untuned(np.zeros((3, 3), int)) is None


def test_what_is_answered() -> None:
    first, second, third = TASK.predictions(SHARES)
    assert first.fields() == {"labels": ["joy"], "probabilities": {"joy": 0.9, "fear": 0.1, "anger": 0.2}}
    assert second.cells() == [
        ("labels", ["fear", "anger"]),
        ("joy", 0.2),
        ("fear", 0.4),
        ("anger", 0.6),
    ]
    assert second.told() == ("fear, anger", "40% 60%")
    assert third.told()[0] == "none"


def test_rows_are_read_back() -> None:
    targets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    rows = list(TASK.rows(["a", "b", "c"], targets, SHARES))
    assert rows[1] == {
        "id": "b",
        "label": ["joy", "fear"],
        "prediction": ["fear", "anger"],
        "probabilities": [0.2, 0.4, 0.6],
    }
    again, shares = TASK.of_rows(json.loads(json.dumps(rows)))
    np.testing.assert_array_equal(again, targets)
    np.testing.assert_array_equal(shares, SHARES)
    (worst,) = TASK.mistakes(targets, SHARES, most=5).worst
    assert (worst.row, worst.label, worst.prediction) == (1, "joy, fear", "fear, anger")


def test_the_task_is_kept_in_run_json() -> None:
    kept = json.loads(json.dumps({"task": {"type": "multilabel", "names": NAMES, "threshold": TASK.threshold}}))
    assert task_of_run(kept) == TASK


def test_logits_of_another_shape_are_refused() -> None:
    assert TASK.values(np.array([[0.0, 800.0, -800.0]])).tolist() == [[0.5, 1.0, 0.0]]
    with pytest.raises(ZooError, match=r"\[1, 2\], expected \[rows, 3\]"):
        TASK.values(np.zeros((1, 2)))
