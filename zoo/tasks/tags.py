"""Tags of words to numbers.

In come the tags of texts' words; out come the names of all classes, and class numbers. Refused: tags that have no
number, those that stand outside of train alone among them, and a single class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zoo.errors import DataError
from zoo.recipe.showing import listed
from zoo.score.ragged import Ragged
from zoo.score.tagging import OUTSIDE, Scheme, Span, spans, tags_of
from zoo.tasks.labels import number_labels
from zoo.tasks.refused import Where

__all__ = ["Tags", "number_tags", "numbered"]

Tags = Sequence[Sequence[str]]
"""The tags of each text's words."""


def number_tags(
    labels: Mapping[str, Tags], names: Sequence[str] | None, scheme: Scheme, where: Where
) -> tuple[tuple[str, ...], dict[str, Ragged]]:
    """The names of the classes, and the class numbers of each split.

    Args:
        labels: split -> tags, in a scheme that a model learns.
        names: by class number; None takes those of train: under a scheme with entities all tags of their types.
        scheme: of the tags.
        where: what tells where rows stand that are refused.
    """
    if scheme == "plain":
        flat = {split: [tag for tags in rows for tag in tags] for split, rows in labels.items()}
        owners = {
            split: np.repeat(np.arange(len(rows)), [len(tags) for tags in rows]) for split, rows in labels.items()
        }

        def of_words(split: str, words: Sequence[int]) -> str:
            return where(split, np.unique(owners[split][list(words)]).tolist())

        names, numbers = number_labels(flat, names, where=of_words)
        return names, {
            split: Ragged.of(np.split(numbers[split], np.cumsum([len(tags) for tags in rows])[:-1]), np.int32)
            for split, rows in labels.items()
        }
    known = tuple(names or _names({span.type for tags in labels["train"] for span in spans(tags)}, scheme))
    if len(known) < 2:
        raise DataError(f"label: train has no entity, every word is {OUTSIDE}: add rows that have some")
    return known, numbered(labels, known, where)


def numbered(labels: Mapping[str, Tags], names: Sequence[str], where: Where) -> dict[str, Ragged]:
    """The class numbers of tags whose names are known; DataError for others, of all splits at once."""
    numbers = {name: number for number, name in enumerate(names)}
    faults = []
    for split, rows in labels.items():
        odd = [row for row, tags in enumerate(rows) if any(tag not in numbers for tag in tags)]
        if odd:
            got = dict.fromkeys(tag for row in odd for tag in rows[row] if tag not in numbers)
            several = "s" * (len(got) > 1)
            faults.append(
                f"{where(split, odd)}: got the tag{several} {listed(list(got))}, expected one of {listed(names)}"
            )
    if faults:
        raise DataError(faults)
    return {
        split: Ragged.of([[numbers[tag] for tag in tags] for tags in rows], np.int32) for split, rows in labels.items()
    }


def _names(kinds: set[str], scheme: Scheme) -> tuple[str, ...]:
    """All tags of these types, the one outside first."""
    every = [tag for kind in sorted(kinds) for tag in tags_of([Span(0, 3, kind), Span(3, 4, kind)], 4, scheme)]
    return (OUTSIDE, *dict.fromkeys(every))
