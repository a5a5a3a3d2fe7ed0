"""No figure has more digits than its rows carry."""

from __future__ import annotations

import pytest

from zoo.score import digits


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
