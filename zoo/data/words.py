"""Where the words of a text stand, the same for every vocabulary.

In comes a text; out come the places of its words, as people read them. A word is a run of letters, digits and marks,
with single apostrophes and hyphens inside it unless asked otherwise; a run of punctuation or symbols is one, and so is
each Chinese character.
A script that puts no space between words (Thai) has long ones. Nothing is refused.
"""

from __future__ import annotations

import itertools
import unicodedata

JOINING = "'\N{RIGHT SINGLE QUOTATION MARK}-"
"""Signs that join two halves of a word."""

SPACE, SIGN, LETTER, IDEOGRAPH = "space", "sign", "letter", "ideograph"


def words(text: str, *, joined: bool = True) -> list[tuple[int, int]]:
    """First and one past the last character of each word, in order; nothing but white space lies between them.

    Args:
        text: any.
        joined: whether single apostrophes and hyphens belong to the word around them; else they are words themselves.
    """
    kinds = [_kind(character) for character in text]
    for place in range(1, len(text) - 1 if joined else 0):
        if text[place] in JOINING and kinds[place - 1] == kinds[place + 1] == LETTER:
            kinds[place] = LETTER
    found, start = list[tuple[int, int]](), 0
    for kind, run in itertools.groupby(kinds):
        end = start + len(list(run))
        if kind == IDEOGRAPH:
            found += [(place, place + 1) for place in range(start, end)]
        elif kind != SPACE:
            found.append((start, end))
        start = end
    return found


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if character.isspace() or category == "Cc":
        return SPACE
    if unicodedata.name(character, "").startswith("CJK"):
        return IDEOGRAPH
    return SIGN if category[0] in "PS" else LETTER
