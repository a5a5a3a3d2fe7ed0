"""What a recipe's `data` says where there is little of it: few rows a class, in several draws, and changed copies.

What is refused is said by kinds.py, and here a draw that is none of them, and copies that would change all or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from zoo.recipe.kinds import Clash, Config, Count, Fraction

__all__ = ["MOST_PARTS", "Augment", "FewShot"]

MOST_PARTS = 100
"""Trainings of one recipe."""


class FewShot(Config):
    """So many rows of each class to learn from, in several draws: a training each, all judged on the same test rows."""

    rows: Count = 32
    """Rows of each class to train on. Validation has at most as many (Gao, Fisch and Chen 2021, section 3)."""
    draws: Annotated[int, Field(ge=2, le=MOST_PARTS)] = 5
    """How often rows are drawn: others each time, until all of a class have come."""
    draw: Count | None = None
    """One of the draws alone, from 1; None trains all. Who asks for the recipe's rows without training gets those of
    the first one."""

    def clashes(self) -> Iterator[Clash]:
        if self.draw is not None and self.draw > self.draws:
            yield Clash(("draw", "draws"), f"got {self.draw}, expected at most {self.draws}, the draws")


class Augment(Config):
    """Copies of the training rows in which words are changed, made once and learned beside them (after EDA, Wei and Zou
    2019). The rates are shares of a text's words: one rule at most changes a word, and one word of a copy at least is
    changed. Words are what stands between white space."""

    copies: Annotated[int, Field(ge=1, le=100)] = 1
    """Copies of a row, each changed in another way: an epoch is longer by all of them."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Share of the rows that have copies."""
    swap: Fraction = 0.0
    """Share of words that change places with the next one."""
    drop: Fraction = 0.0
    """Share of words that are left out; a text keeps one at least."""
    mask: Fraction = 0.0
    """Share of words in whose place the vocabulary's mask token stands, [MASK] or <mask>."""
    typo: Fraction = 0.0
    """Share of words that are misspelled: two neighbouring characters change places, one is left out, or one stands
    twice."""

    def clashes(self) -> Iterator[Clash]:
        rates = self.swap + self.drop + self.mask + self.typo
        if not rates:
            yield Clash(("swap",), "got none of swap, drop, mask and typo, expected one at least, or augment: null")
        elif rates > 1.0:
            yield Clash(("swap", "drop", "mask", "typo"), f"got {rates:g} with drop, mask and typo, expected at most 1")
