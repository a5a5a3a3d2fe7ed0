"""Whether scores are faithful: words are taken out by them, and the class's probability is watched.

In come a text and orders of its words; out come the probability after each share of the words, and the area under it.
Scores that tell what the model goes by make it fall at once, far below the same with words in random order (the
deletion curve of Petsiuk et al. 2018, section 3.3, on words). Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zoo.explain.subject import Subject

__all__ = ["Curve", "Deletion", "deletion"]

POINTS = 10
"""Shares after none, at most: each is a pass of the model, for each order."""
ORDERS = 5
"""Random orders that are compared with."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The class's probability, [points], after each share of the words is taken out."""

    shares: np.ndarray
    probabilities: np.ndarray

    @property
    def area(self) -> float:
        """Under the curve, 0 to 1; less is more faithful."""
        return float(np.trapezoid(self.probabilities, self.shares))


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """Curves by method, and those of random orders."""

    curves: dict[str, Curve]
    random: tuple[Curve, ...]

    @property
    def random_area(self) -> float:
        """The mean over the random orders."""
        return float(np.mean([curve.area for curve in self.random]))


def deletion(subject: Subject, orders: Mapping[str, np.ndarray]) -> Deletion:
    """The curves of these orders and of random ones, which are the same each time.

    Args:
        subject: the text and the class.
        orders: by method, numbers of the words, the first to go first, [words].
    """
    count = len(subject.spans)
    taken = np.unique(np.linspace(0, count, min(count, POINTS) + 1).round().astype(int))
    random = np.random.default_rng(0)
    drawn = [random.permutation(count) for _ in range(ORDERS)]
    kept = [_without(subject, order[:some]) for order in (*orders.values(), *drawn) for some in taken]
    found = subject.probability(kept).reshape(-1, len(taken))
    curves = [Curve(shares=taken / count, probabilities=row) for row in found]
    named = dict(zip(orders, curves, strict=False))
    return Deletion(curves=named, random=tuple(curves[len(orders) :]))


def _without(subject: Subject, gone: np.ndarray) -> np.ndarray:
    """Which tokens are left, [length] bool, without the words of these numbers."""
    found: np.ndarray = ~(subject.parts[gone] > 0).any(axis=0)
    return found
