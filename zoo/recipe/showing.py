"""How a person is shown what came from outside: labels, texts, names of files.

In comes any text; out comes one that cannot steer a terminal, and lists that stay short. What programs read is never
escaped so: of JSON, here is how it goes to a stdout that is not UTF-8, and of CSV, which spreadsheets open, how a cell
is kept from being a formula. Nothing is refused.
"""

from __future__ import annotations

import json
import math
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any, TextIO

__all__ = ["as_cell", "as_json", "cells_for", "hanging", "is_unicode", "listed", "shown"]

LISTED = 8
"""Names of a list, unless the caller says otherwise."""
COMMAND = "python -m "
"""What a command begins with."""
# They turn the direction of what follows them, so that a line can read as another one (CVE-2021-42574).
TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNSHOWN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of controls (escape sequences begin with one), lone surrogates, and breaks of a line."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What makes a formula of a cell for some spreadsheet (OWASP, CSV injection): the signs, and their wide forms."""


def shown(text: object, *, lines: bool = False) -> str:
    r"""The text with escapes such as `\x1b` for what would steer a terminal; `lines` leaves new lines and tabs.

    Who reads it may take a backslash in the text itself for an escape: it is for people, and cannot be read back.
    """
    return "".join(
        _escaped(character) if _steers(character) and not (lines and character in "\n\t") else character
        for character in str(text)
    )


def listed(names: Collection[object], most: int = LISTED) -> str:
    """The first names, each as `shown`, and how many more there are."""
    more = len(names) - most
    return ", ".join(map(shown, islice(names, most))) + (f" and {more:,} more" if more > 0 else "")


def hanging(text: str, width: int, indent: int) -> str:
    """Lines of at most so many columns, all but the first one so far in; a long path stays whole, and so does a text
    with a command, to be copied."""
    if COMMAND in text:
        return text
    lines = textwrap.wrap(text, max(20, width - indent), break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * indent).join(lines)


def is_unicode(text: str) -> bool:
    """Whether text is whole characters: JSON may name half of one, a lone surrogate, and such stand for bytes of the
    command line that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_json(value: Any, *, indent: int | None = None, stream: TextIO | None = None) -> str:
    r"""JSON for a stream (None is stdout): as it is where that takes all of Unicode, else with escapes (`\u00e9`)."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "utf-8"  # a StringIO's is None, some have none
    return json.dumps(value, indent=indent, ensure_ascii=not encoding.lower().startswith("utf"))


def as_cell(text: str) -> str:
    """The text for a cell of CSV, with an apostrophe before what would begin a formula; a number stays one."""
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def cells_for(stream: TextIO) -> Callable[[str], str]:
    """`as_cell` for a stream; on a screen no cell steers it."""
    return (lambda text: as_cell(shown(text))) if stream.isatty() else as_cell


def _is_number(text: str) -> bool:
    try:
        return text.strip() == text and math.isfinite(float(text))
    except ValueError:
        return False


def _steers(character: str) -> bool:
    return unicodedata.category(character) in UNSHOWN or character in TURNING


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
