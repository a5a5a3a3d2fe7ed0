"""What of a long text stays: how texts of so many tokens are cut to rows, or seen through windows.

In come numbers of tokens and the recipe's `tokens`; out come, for each row, slices of the texts' tokens. Refused: a
pair of which one text has to give way that would vanish.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

from zoo.recipe.types import Tokens

Cut = tuple[slice, ...]
"""What stays of a text's tokens, in order."""
Item = TypeVar("Item")

LEAST = 8
"""Tokens of the second text that a window has at least: with fewer a long text would have a row for each word."""


def cuts(first: int, second: int | None, room: int, config: Tokens) -> list[tuple[Cut, Cut]] | None:
    """What each row has of a text, or of both texts of a pair; None where one of them would vanish.

    Args:
        first: tokens of the first text.
        second: tokens of the second one; None where there is none.
        room: tokens of both in a row.
        config: how they are cut.
    """
    if config.long == "window":
        width = room if second is None else room - first
        if second is None:
            return [(cut, ()) for cut in _windows(first, width, config.stride)]
        if width < min(LEAST, second):
            return None
        return [((slice(first),), cut) for cut in _windows(second, width, config.stride)]
    strategy = config.pair_truncation if second is not None else "longest_first"
    kept = _budgets(first, second or 0, room, strategy)
    return None if kept is None else [(_cut(first, kept[0], config), _cut(second or 0, kept[1], config))]


def taken(values: Sequence[Item], cut: Cut) -> Sequence[Item]:
    """The items that stay."""
    return values[cut[0]] if len(cut) == 1 else [value for part in cut for value in values[part]]


def too_long(place: str, first: int, second: int, room: int, config: Tokens) -> str:
    """The fault of a pair for which `cuts` has no rows."""
    if config.long == "window":
        return (
            f"{place}: its texts have {first} and {second} tokens, and the first one leaves windows on the second of "
            f"less than {LEAST}; expected first texts of at most {room - LEAST} tokens: shorten it, or set "
            f"tokens.max_length to {config.max_length - room + first + LEAST} or more"
        )
    cut, kept, count = (
        ("first", "second", second) if config.pair_truncation == "only_first" else ("second", "first", first)
    )
    return (
        f"{place}: its texts have {first} and {second} tokens, and the {kept} one alone leaves no room for the {cut} "
        f"one, which tokens.pair_truncation: {config.pair_truncation} cuts; expected {kept} texts of less than {room} "
        f"tokens: set tokens.max_length to {config.max_length - room + count + 1} or more, or "
        "tokens.pair_truncation=longest_first"
    )


def _windows(count: int, width: int, stride: int | None) -> list[Cut]:
    """Windows of at most `width` tokens that hold all of a text; the last one ends with it, as long as the others."""
    if count <= width:
        return [(slice(count),)]
    step = min(stride or max(1, width // 2), width)
    return [(slice(start, start + width),) for start in (*range(0, count - width, step), count - width)]


def _budgets(
    a: int, b: int, room: int, strategy: Literal["longest_first", "only_first", "only_second"]
) -> tuple[int, int] | None:
    """Tokens that each text of a row may keep, None where the one to be cut would vanish; as transformers decides."""
    if a + b <= room:
        return a, b
    if strategy == "only_first":
        return (room - b, b) if b < room else None
    if strategy == "only_second":
        return (a, room - a) if a < room else None
    shorter = min(a, b, room // 2)
    return (room - shorter, shorter) if a > b else (shorter, room - shorter)


def _cut(count: int, budget: int, config: Tokens) -> Cut:
    if count <= budget:
        return (slice(count),)
    if config.truncation == "head":
        return (slice(budget),)
    if config.truncation == "tail":
        return (slice(count - budget, count),)
    head = min(config.head if config.head is not None else config.max_length // 4, budget)
    return slice(head), slice(count - (budget - head), count)
