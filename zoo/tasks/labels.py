"""Raw labels to class numbers.

In come the label columns of all splits and, where they are known, the class names; out come class names and
int32 class numbers. Refused, all at once: labels seen only outside train, classes without a row in train, a
single class, negative or out-of-range numbers (-100 is what some libraries write for "ignore"), fractions, and
text mixed with numbers. Backends ignore or crash on such labels, each in its own way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.errors import DataError
from zoo.recipe.showing import is_unicode, listed

_INTEGER = re.compile(r"[+-]?\d{1,4000}")  # int() takes 4,300 digits
_FRACTION = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def number_labels(
    columns: Mapping[str, Sequence[Any]], names: Sequence[str] | None, mapping: Mapping[str, int] | None = None
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Class names, and the class numbers of each split.

    Args:
        columns: split -> raw labels, none of them missing.
        names: class names by class number, or None to take what is found in train, sorted.
        mapping: raw label -> class number, where the names are not what stands in the file.
    """
    counts = {split: Counter(map(_key, values)) for split, values in columns.items()}
    found: Counter[str] = sum(counts.values(), Counter())
    broken = [key for key in found if not is_unicode(key)]
    if broken:
        told = listed([f"{key!r:.40}" for key in broken])
        raise DataError(
            f"label: {told} holds half of a character (a lone surrogate), expected Unicode: repair the rows"
        )
    faults: list[str] = []
    if mapping is not None:
        names = tuple(names or ())
        faults = _outside(counts, mapping, f"one of {_listed(mapping)}")
    elif names is not None:
        mapping, faults = _by_given(found, names)
    else:
        names, faults = _by_found(found, counts["train"])
        mapping = {name: number for number, name in enumerate(names)}
        faults = faults or _outside(counts, mapping, "a label that stands in train")
    if not faults:
        present = {mapping[key] for key in counts["train"]}
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


def numbers_of(labels: Sequence[Any], names: Sequence[str], mapping: Mapping[str, int] | None = None) -> np.ndarray:
    """The class numbers of other rows, [rows] int32, once the names are known.

    Without a mapping a label may be a name or a class number, whichever the rows have. Raises DataError for others.
    """
    known = dict(mapping or {name: number for number, name in enumerate(names)})
    if mapping is None:
        known |= {str(number): number for number in range(len(names)) if str(number) not in known}
    return number_labels({"train": [*known], "rows": labels}, names, known)[1]["rows"]


def _key(value: Any) -> str:
    """The label as text: the form in which labels of all file formats are compared."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return str(value)


def _by_given(found: Counter[str], names: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    """Label -> class number, where each label is one of the names, or each is a class number; and the faults."""
    if len(set(names)) < len(names):
        twice = [name for name, count in Counter(names).items() if count > 1]
        return {}, [f"label: label_names has {_listed(twice)} twice, expected each name once"]
    by_name = {name: number for number, name in enumerate(names)}
    strange = [key for key in found if key not in by_name]
    if len(strange) == len(found) and all(map(_INTEGER.fullmatch, found)):
        outside = [key for key in found if not 0 <= int(key) < len(names)]
        if not outside:
            return {key: int(key) for key in found}, []
        expected = f"0 to {len(names) - 1}, as label_names has {len(names)}"
        return {}, [f"label: {_rows(outside, found)}, expected {expected}{_ignored(outside)}"]
    if strange:
        return {}, [f"label: {_rows(strange, found)}, expected one of {_listed(names)} (label_names)"]
    return by_name, []


def _by_found(found: Counter[str], train: Counter[str]) -> tuple[tuple[str, ...], list[str]]:
    """Class names, the labels of train in order; and the faults of all labels."""
    whole = [key for key in found if _INTEGER.fullmatch(key)]
    fractions = [key for key in found if key not in whole and _FRACTION.fullmatch(key)]
    words = [key for key in found if key not in whole and key not in fractions]
    negative = [key for key in whole if int(key) < 0]
    faults = []
    if fractions:
        faults.append(
            f"label: {_rows(fractions, found)}, expected whole numbers or names; "
            "round them in the file, or list them as text in label_names"
        )
    if words and len(words) < len(found):
        rest = [key for key in found if key not in words]
        faults.append(f"label: names ({_listed(words)}) are mixed with numbers ({_listed(rest)}), expected one kind")
    if negative:
        faults.append(f"label: {_rows(negative, found)}, expected numbers from 0{_ignored(negative)}")
    if faults:
        return (), faults
    return tuple(sorted(train) if words else sorted(train, key=int)), []


def _ignored(keys: Sequence[str]) -> str:
    return " (-100 marks rows to ignore in some libraries: leave them out)" if "-100" in keys else ""


def _outside(counts: Mapping[str, Counter[str]], mapping: Mapping[str, int], expected: str) -> list[str]:
    """A fault for each split with labels that have no class."""
    faults = []
    for split, labels in counts.items():
        odd = [key for key in labels if key not in mapping]
        if odd:
            faults.append(f"label: in {split}, {_rows(odd, labels)}, expected {expected}")
    return faults


def _rows(keys: Sequence[str], counts: Mapping[str, int]) -> str:
    """The labels and how many rows have them."""
    total = sum(counts[key] for key in keys)
    return f"{total} row{'s have' if total != 1 else ' has'} {_listed(keys)}"


def _listed(keys: Any) -> str:
    return listed([str(key)[:40] for key in keys])
