"""Labels to class numbers: what is found, what is given, and what cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.errors import DataError
from zoo.tasks.labels import number_labels


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([3, 1, 2, 10], ("1", "2", "3", "10")),
        (["pos", " neg ", "neg", "pos"], ("neg", "pos")),
        ([True, False, True, False], ("false", "true")),
    ],
)
def test_names_are_found(labels: list[Any], names: tuple[str, ...]) -> None:
    found, numbers = number_labels({"train": labels}, None)
    assert found == names
    wanted = [str(v).strip().lower() if isinstance(v, bool) else str(v).strip() for v in labels]
    assert [found[number] for number in numbers["train"]] == wanted


@pytest.mark.parametrize("names", [None, ("a", "b")])
@pytest.mark.parametrize("label", ["9" * 5000, "-" + "9" * 5000, "\ud800", "a\udfff"])
def test_labels_that_no_file_can_mean(label: str, names: tuple[str, ...] | None) -> None:
    with pytest.raises(DataError) as caught:
        number_labels({"train": ["0", "1", label]}, names)
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 300


def test_names_are_given() -> None:
    assert number_labels({"train": ["b", "a"]}, ("b", "a"))[1]["train"].tolist() == [0, 1]
    assert number_labels({"train": [1, 0]}, ("b", "a"))[1]["train"].tolist() == [1, 0], "class numbers"
    assert number_labels({"train": ["2", "1"]}, ("2", "1"))[1]["train"].tolist() == [0, 1], "names that are numbers"
    assert number_labels({"train": [0.5, 1.0]}, ("1.0", "0.5"))[1]["train"].tolist() == [1, 0], "fractions, by name"


@pytest.mark.parametrize(
    ("columns", "names", "why"),
    [
        ({"train": [1, 1]}, None, "the one class '1', expected at least two"),
        (
            {"train": [0, 1], "test": [0, 2]},
            None,
            "test: rows 1, counted from 0: got the label 2, expected a label that stands in train",
        ),
        (
            {"train": [0, 1, -100]},
            None,
            "train: rows 2, counted from 0: got the label -100, expected numbers from 0 (-100 marks rows to ignore",
        ),
        ({"train": [0, 1, -1]}, None, "got the label -1, expected numbers from 0"),
        ({"train": [0, 1], "test": [-1]}, None, "test: rows 0, counted from 0: got the label -1"),
        ({"train": [0.0, 1.0]}, None, "got the labels 0.0, 1.0, expected whole numbers or names"),
        ({"train": ["0.5", "nan"]}, None, "got the labels 0.5, nan, expected whole numbers"),
        (
            {"train": ["pos", "1"]},
            None,
            "rows 1, counted from 0: got the label 1, expected a name, as others have (pos)",
        ),
        ({"train": ["pos", 1, 2]}, None, "rows 0, counted from 0: got the label pos, expected a number, as others"),
        ({"train": [0, 1, 2]}, ("a", "b"), "got the label 2, expected 0 to 1, as label_names has 2"),
        ({"train": [0, -100]}, ("a", "b"), "-100"),
        ({"train": ["a", "c"]}, ("a", "b"), "got the label c, expected one of a, b (label_names)"),
        ({"train": ["c", "d"]}, ("a", "b"), "got the labels c, d, expected one of a, b"),
        ({"train": [0, 0]}, ("a", "b"), "no row of train has b"),
        ({"train": ["a", "a"], "test": ["b"]}, ("a", "b"), "no row of train has b"),
        ({"train": ["a", "b"]}, ("a", "a", "b"), "label_names has a twice"),
    ],
)
def test_labels_that_cannot_be_meant(columns: dict[str, list[Any]], names: tuple[str, ...] | None, why: str) -> None:
    with pytest.raises(DataError) as caught:
        number_labels(columns, names)
    assert why in str(caught.value)


def test_label_faults_come_together() -> None:
    with pytest.raises(DataError) as caught:
        number_labels({"train": ["pos", -1, 0.5], "test": ["-3"]}, None)
    assert len(caught.value.faults) == 4


def test_a_mapping_is_the_only_way_in() -> None:
    names, numbers = number_labels({"train": [1, 5, 1]}, ("low", "high"), {"1": 0, "5": 1})
    assert names == ("low", "high")
    assert numbers["train"].tolist() == [0, 1, 0]
    with pytest.raises(DataError, match="got the label 3, expected one of 1, 5"):
        number_labels({"train": [1, 5, 3]}, ("low", "high"), {"1": 0, "5": 1})
