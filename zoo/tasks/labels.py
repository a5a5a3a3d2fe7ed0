"""Raw labels to class numbers.

In come the label columns of all splits and, where they are known, the class names; out come class names and
int32 class numbers. Refused, all at once: labels seen only outside train, classes without a row in train, a
single class, negative or out-of-range numbers (-100 is what some libraries write for "ignore"), fractions, halves of
characters, and text mixed with numbers. Backends ignore or crash on such labels, each in its own way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from zoo.errors import DataError
from zoo.recipe.showing import is_unicode, listed
from zoo.tasks.refused import Where, by_number

_INTEGER = re.compile(r"[+-]?\d{1,4000}")  # int() takes 4,300 digits
_NUMBER = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def number_labels(
    columns: Mapping[str, Sequence[Any]],
    names: Sequence[str] | None,
    mapping: Mapping[str, int] | None = None,
    where: Where = by_number,
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Class names, and the class numbers of each split.

    Args:
        columns: split -> raw labels, none of them missing.
        names: class names by class number, or None to take what is found in train, sorted.
        mapping: raw label -> class number, where the names are not what stands in the file.
        where: what tells where rows stand that are refused.
    """
    raw = _Raw(
        columns=columns, counts={split: Counter(map(_key, rows)) for split, rows in columns.items()}, where=where
    )
    faults: list[str] = []
    if mapping is not None:
        names = tuple(names or ())
        faults = raw.without(mapping, f"one of {_listed(mapping)}")
    elif names is not None:
        mapping, faults = _by_given(raw, names)
    else:
        names, faults = _by_found(raw)
        mapping = {name: number for number, name in enumerate(names)}
        faults = faults or raw.without(mapping, "a label that stands in train")
    if not faults:
        present = {mapping[key] for key in raw.counts["train"]}
        absent = [name for number, name in enumerate(names) if number not in present]
        if len(names) < 2:
            faults.append(
                f"label: train has {f'the one class {names[0]!r}' if names else 'no class'}, expected at least two"
            )
        elif absent:
            faults.append(
                f"label: no row of train has {_listed(absent)}; drop such a class from label_names, or add rows"
            )
    if faults:
        raise DataError(faults)
    numbers = {
        split: np.fromiter((mapping[_key(value)] for value in values), np.int32, len(values))
        for split, values in columns.items()
    }
    return tuple(names), numbers


def numbers_of(
    labels: Sequence[Any], names: Sequence[str], mapping: Mapping[str, int] | None = None, where: Where = by_number
) -> np.ndarray:
    """The class numbers of other rows, [rows] int32, once the names are known.

    Without a mapping a label may be a name or a class number, whichever the rows have. Raises DataError for others.
    """
    known = dict(mapping or {name: number for number, name in enumerate(names)})
    if mapping is None:
        known |= {str(number): number for number in range(len(names)) if str(number) not in known}
    return number_labels({"train": [*known], "rows": labels}, names, known, where)[1]["rows"]


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """Labels as they were read, by split; how often each occurs there, as text; and where rows stand."""

    columns: Mapping[str, Sequence[Any]]
    counts: Mapping[str, Counter[str]]
    where: Where

    @cached_property
    def found(self) -> Counter[str]:
        """How often each label occurs."""
        return sum(self.counts.values(), Counter())

    def faults(self, labels: Iterable[str], expected: str) -> list[str]:
        """A fault for each split that has one of these labels."""
        odd, told = set(labels), list[str]()
        if not odd:
            return told
        for split, values in self.columns.items():
            rows = [row for row, value in enumerate(values) if _key(value) in odd]
            if rows:
                got = [key for key in self.counts[split] if key in odd]
                several = "s" * (len(got) > 1)
                told.append(f"{self.where(split, rows)}: got the label{several} {_listed(got)}, expected {expected}")
        return told

    def without(self, mapping: Mapping[str, int], expected: str) -> list[str]:
        """A fault for each split that has a label without a class."""
        return self.faults((key for key in self.found if key not in mapping), expected)


def _key(value: Any) -> str:
    """The label as text: the form in which labels of all file formats are compared."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return str(value)


def _by_given(raw: _Raw, names: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Label -> class number, where each label is one of the names, or each is a class number; and the faults."""
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        return {}, [f"label: label_names has {_listed(twice)} twice, expected each name once"]
    by_name, found = {name: number for number, name in enumerate(names)}, raw.found
    if not any(key in by_name for key in found) and all(map(_INTEGER.fullmatch, found)):
        outside = [key for key in found if not 0 <= int(key) < len(names)]
        expected = f"0 to {len(names) - 1}, as label_names has {len(names)}{_ignored(outside)}"
        return {key: int(key) for key in found}, raw.faults(outside, expected)
    return by_name, raw.without(by_name, f"one of {_listed(names)} (label_names)")


def _by_found(raw: _Raw) -> tuple[tuple[str, ...], list[str]]:
    """Class names, the labels of train in order; and the faults of all labels."""
    found = raw.found
    halves = [key for key in found if not is_unicode(key)]
    numbers = [key for key in found if _NUMBER.fullmatch(key)]
    words = [key for key in found if not (_NUMBER.fullmatch(key) or key in halves)]
    faults = raw.faults(halves, "Unicode, and not half of a character (a lone surrogate): repair it")
    if words and sum(found[key] for key in words) >= sum(found[key] for key in numbers):
        faults += raw.faults(numbers, f"a name, as others have ({_listed(words)})")
        return tuple(sorted(raw.counts["train"])), faults
    fractions = [key for key in numbers if not _INTEGER.fullmatch(key)]
    negative = [key for key in numbers if _INTEGER.fullmatch(key) and int(key) < 0]
    faults += raw.faults(words, f"a number, as others have ({_listed(numbers)})")
    faults += raw.faults(fractions, "whole numbers or names: round them, or list them as text in label_names")
    faults += raw.faults(negative, f"numbers from 0{_ignored(negative)}")
    return (() if faults else tuple(sorted(raw.counts["train"], key=int))), faults


def _ignored(keys: Collection[str]) -> str:
    return " (-100 marks rows to ignore in some libraries: leave them out)" if "-100" in keys else ""


def _listed(keys: Iterable[str]) -> str:
    return listed([str(key)[:40] for key in keys])
