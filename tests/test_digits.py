"""No figure has more digits than its rows carry."""

from __future__ import annotations

import re

import numpy as np
import pytest

from zoo.evaluate import Judged, show
from zoo.runs.screen import epoch_line
from zoo.score import digits
from zoo.tasks.classification import Classification
from zoo.tasks.regression import Regression


@pytest.mark.parametrize(
    ("rows", "share", "number"),
    [
        (3, "85%", "0.85"),
        (100, "85%", "0.85"),
        (853, "84.6%", "0.846"),
        (25_000, "84.64%", "0.8464"),
        (None, "84.6%", "0.8464"),
    ],
)
def test_digits_are_those_of_the_rows(rows: int | None, share: str, number: str) -> None:
    assert digits.percent(0.84642, rows) == share
    assert digits.number(0.84642, rows) == number


def test_the_last_digit_is_about_what_one_row_changes() -> None:
    for rows in (100, 853, 3_000, 9_999):
        assert 0.3 < 10 ** -digits.decimals(rows) / (100 / rows) < 3.2


def test_other_numbers() -> None:
    assert [digits.number(value, 853) for value in (12, 1234.5, 23.456, 1.0, 0.0, 0.00041)] == [
        *("12", "1,234", "23.5", "1.00", "0.000", "0.000"),
    ]
    assert [digits.amount(value, 853) for value in (12, 0.000412345, 2.0)] == ["12", "0.000412", "2.00"]
    assert [digits.points(value, 853) for value in (0.0264, -0.0264, 0.0001)] == ["+2.6", "\N{MINUS SIGN}2.6", "0.0"]


def test_the_terminal_has_no_more_than_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line of a run, the line of an epoch, and what zoo.evaluate prints."""
    task = Classification(names=("bad", "good"))
    truth = np.arange(100) % 2
    values = np.eye(2)[np.where(np.arange(100) < 7, 1 - truth, truth)] * 0.98 + 0.01
    figures = task.figures(values, truth)
    assert task.told(figures) == ("accuracy 93% (95% interval 86% to 97%; the largest class alone 50%), f1 93%")
    seen = {"loss": 0.31, "accuracy": 0.9123}
    row = {"epoch": 1, "train": seen, "validation": figures, "seconds": 1.0, "best": False}
    show(Judged(task=task, targets=truth, values=values))
    shown = [epoch_line(row).partition("validation")[2], capsys.readouterr().out]
    assert [number for text in shown for number in re.findall(r"\d\.\d{3,}", text)] == []
    numbers = Regression(names=("price",), mean=(0.0,), deviation=(1.0,))
    assert numbers.told({"mean_absolute_error": 1234.5678, "r2": None, "rows": 853}) == "mean_absolute_error 1,235"
