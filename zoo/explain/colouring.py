"""A text in pieces, each with its score, ready to be coloured.

In come a text and scores of words; out come its characters, in order, each piece with its score from -1 to 1, or
None between words. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from zoo.explain.attribution import Word

__all__ = ["pieces"]


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
