"""Figures of a task, told: in a line for people, and the one by which it is averaged with other tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["LARGE", "merit", "told"]

LARGE = 0.6
"""Share of the rows from which on the largest class makes accuracy say little."""


def told(
    figures: Mapping[str, Any], shown: Mapping[str, str], headline: Sequence[str], *, commonest: str, averaged: bool
) -> str:
    """The figures of the test split that matter most, in a line.

    Args:
        figures: of the split.
        shown: those of them that are defined, for people.
        headline: names of those that matter.
        commonest: what `majority_share` is the share of.
        averaged: whether F1 is the mean over the classes.
    """
    parts = []
    for name in headline:
        if name not in shown:
            continue
        beside = []
        if f"{name}_low" in shown:
            beside.append(f"95% interval {shown[f'{name}_low']} to {shown[f'{name}_high']}")
        largest = figures.get("majority_share", 0.0) if name == "accuracy" else 0.0
        if largest:
            beside.append(f"{commonest} alone {shown['majority_share']}")
        parts.append(f"{name} {shown[name]}" + (f" ({'; '.join(beside)})" if beside else ""))
        if largest > LARGE and not averaged and "macro_f1" in shown:
            parts.append(f"macro f1 {shown['macro_f1']}")
    return ", ".join(parts)


def merit(figures: Mapping[str, float], headline: Sequence[str], shares: Collection[str]) -> tuple[str, float | None]:
    """By which figure a task is averaged with others, and what that is, None where it is not defined: the first share
    that matters to it, or R² of numbers that have none.

    Args:
        figures: of a split.
        headline: names of those that matter.
        shares: names of those that are shares of 1.
    """
    name = next((name for name in headline if name in shares and name in figures), "r2")
    return name, figures.get(name)
