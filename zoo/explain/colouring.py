"""A text in pieces, each with its score, ready to be coloured.

In come a text and scores of words; out come its characters, in order, each piece with its score from -1 to 1, or
None where there is no word or one that the model does not see. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from zoo.explain.attribution import Word

__all__ = ["behind", "pieces"]

STRONGEST = 0.75
"""Opacity behind the word of the largest score: letters can be read on it, dark and light."""


def pieces(
    text: str, words: Sequence[Word], of: Literal["text", "pair"] = "text"
) -> list[tuple[str, float | None, float | None]]:
    """Characters, share of the largest score of all the words (-1 to 1), and the score itself.

    Args:
        text: the text, or the second one.
        words: of both texts.
        of: which of the two it is.
    """
    largest = max((abs(word.score) for word in words), default=0.0) or 1.0
    found, place = list[tuple[str, float | None, float | None]](), 0
    for word in sorted((word for word in words if word.of == of), key=lambda word: word.start):
        if word.start > place:
            found.append((text[place : word.start], None, None))
        found.append((text[word.start : word.end], word.score / largest, word.score))
        place = word.end
    if place < len(text):
        found.append((text[place:], None, None))
    return found


def behind(share: float) -> str:
    """The colour behind a word, as CSS has it."""
    red, green, blue = (0, 114, 178) if share > 0 else (213, 94, 0)
    return f"rgba({red}, {green}, {blue}, {abs(share) * STRONGEST:.3f})"
