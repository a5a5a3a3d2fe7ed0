"""What a recipe's `data` says where there is little of it: few rows a class, in several draws.

What is refused is said by kinds.py, and here a draw that is none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from zoo.recipe.kinds import Clash, Config, Count

__all__ = ["MOST_PARTS", "FewShot"]

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
