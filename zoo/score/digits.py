"""How many digits a figure has: no more than the rows that it is of can carry.

In come a figure and its rows; out comes a text for people. The last digit of a share is about what one row more or
less would change: 853 rows have one decimal of a percentage, 25,000 have two. Other figures have as many digits as a
share of those rows. Nothing is refused.
"""

from __future__ import annotations

import math

__all__ = ["MINUS", "amount", "decimals", "number", "percent", "points", "signed"]

MOST = 2
"""Decimals of a percentage, however many the rows."""
MINUS = "\N{MINUS SIGN}"
EXACT = 4
"""Significant digits of a number that is of no rows."""


def decimals(rows: int | None) -> int:
    """Of a percentage of so many rows; None: it is of no rows, or of an unknown number."""
    return 1 if rows is None else min(MOST, max(0, round(math.log10(max(rows, 1))) - 2))


def percent(share: float, rows: int | None) -> str:
    """A share of 1 of so many rows, in percent."""
    return f"{share:.{decimals(rows)}%}"


def points(difference: float, rows: int | None) -> str:
    """The difference of two such shares, in percentage points, with its sign."""
    return signed(100 * difference, f".{decimals(rows)}f")


def signed(value: float, form: str) -> str:
    """A number in a format of Python's, with + or a minus before it, and nothing before what is shown as 0."""
    told = f"{abs(value):{form}}"
    sign = "" if not float(told.replace(",", "")) else "+" if value > 0 else MINUS
    return sign + told


def number(value: float, rows: int | None) -> str:
    """Another figure of so many rows, of which 1 is much; a count, or what is of no rows, has thousands marks or four
    digits."""
    if isinstance(value, int) or rows is None or abs(value) >= 1:
        return amount(value, rows)
    return f"{value:z.{decimals(rows) + 2}f}"


def amount(value: float, rows: int | None) -> str:
    """A figure in a unit of its own, of which 1 may be little or much."""
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    if rows is None:
        return f"{value:.{EXACT}g}"
    places = decimals(rows) + 2
    return f"{value:z.{places}g}" if abs(value) < 1 else f"{value:.{max(0, places - len(str(int(abs(value)))))}f}"
