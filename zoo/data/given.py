"""Texts as people have them in Python: what they hand over in, lists of strings out.

In come lists, tuples, NumPy arrays, pandas and Polars series, Arrow arrays, for pairs also frames and lists of pairs,
and for tasks about words lists of words, none of whose packages is imported here; out come the first texts, and the
second ones of pairs. Refused, as DataError: a single string, anything else than texts, pairs where a run knows single
texts, and single texts where it knows pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from zoo.data.worded import Places, joined, odd_word, places_of
from zoo.errors import DataError
from zoo.score.ragged import Ragged

__all__ = ["Given", "Texts", "refuse_other", "rows_of"]

SINGLE = "this run was trained on single texts, and got pairs: give the first texts alone"
PAIRS = (
    "this run was trained on pairs of texts, and got single ones: give the second texts too, in Python as a second "
    "argument or as a list of pairs"
)


class _Arrow(Protocol):
    def to_pylist(self) -> list[Any]: ...


class _Series(Protocol):
    def to_list(self) -> list[Any]: ...


class _Array(Protocol):
    def tolist(self) -> Any: ...


class _Frame(Protocol):
    @property
    def columns(self) -> Any: ...
    def __getitem__(self, name: Any, /) -> Any: ...


Given = Sequence[Any] | _Arrow | _Series | _Array | _Frame
"""Texts in a container that people have: a sequence; Arrow's, pandas's, Polars's or NumPy's; a frame."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Texts, the second ones of pairs, and the places of the words of the first ones where a task is about words."""

    texts: list[str]
    pairs: list[str] | None
    words: Ragged | None

    @classmethod
    def worded(cls, given: Given) -> Texts:
        """Texts, or lists of their words; DataError for what is neither."""
        found, places = list[str](), list[Places]()
        for row, value in enumerate(_values(given, "texts")):
            if isinstance(value, list | tuple):
                if told := odd_word(value):
                    raise DataError(f"texts[{row}] has a word that is none: {told}")
                text, own = joined(value)
            else:
                _refuse_others("texts", [value], row)
                text, own = value, places_of(value)
            found.append(text)
            places.append(own)
        return cls(texts=found, pairs=None, words=Ragged.of(places, np.int32, item=(2,)))

    @classmethod
    def of(cls, texts: list[str], pairs: list[str] | None, *, worded: bool) -> Texts:
        """Texts whose words are those that `zoo.data.worded` finds."""
        found = Ragged.of(map(places_of, texts), np.int32, item=(2,)) if worded else None
        return cls(texts=texts, pairs=pairs, words=found)


def rows_of(texts: Given, pairs: Given | None, *, takes_pairs: bool | None) -> tuple[list[str], list[str] | None]:
    """The first texts and, of pairs, the second ones, equally long.

    Args:
        texts: first text of each row; where `pairs` is None also pairs of texts, or a frame of two columns.
        pairs: second text of each row.
        takes_pairs: whether the run does; None where that is not known.

    Raises:
        DataError: see the module; another number of texts than of pairs.
    """
    columns = _columns(texts, "texts")
    if pairs is not None:
        columns += _columns(pairs, "pairs")
    elif takes_pairs is not False and len(columns) == 1 and columns[0] and all(map(_is_pair, columns[0])):
        columns = [[row[0] for row in columns[0]], [row[1] for row in columns[0]]]
    if len(columns) > 2:
        raise DataError("texts and pairs: got frames with several columns, expected one of each: choose them")
    first, *second = columns
    if any(map(_is_pair, first)):
        raise DataError(SINGLE if takes_pairs is False else "some texts are pairs, and some are not: give pairs alone")
    for name, values in zip(("texts", "pairs"), columns, strict=False):
        _refuse_others(name, values)
    if first:
        refuse_other(bool(second), takes_pairs)
    if second and len(second[0]) != len(first):
        raise DataError(f"pairs: got {len(second[0])}, expected as many as texts, {len(first)}")
    return first, second[0] if second else None


def refuse_other(are_pairs: bool, takes_pairs: bool | None) -> None:
    """DataError for pairs to a run of single texts, or single texts to one of pairs."""
    if takes_pairs is not None and are_pairs != takes_pairs:
        raise DataError(SINGLE if are_pairs else PAIRS)


def _columns(given: Any, name: str) -> list[list[Any]]:
    """The values of a container, or of each column of a frame, of which there are one or two."""
    names = getattr(given, "column_names", None)  # Arrow's columns are not named, they are the columns
    names = getattr(given, "columns", None) if names is None else names
    if names is None:
        return [_values(given, name)]
    names = list(names)
    if not 1 <= len(names) <= 2:
        told = ", ".join(map(repr, names[:8]))
        raise DataError(
            f"{name}: got a {type(given).__name__} with {len(names)} columns ({told}), expected one of texts, or two "
            "of pairs: choose them, as in run.predict(frame['text'])"
        )
    return [_values(given[column], name) for column in names]


def _values(given: Any, name: str) -> list[Any]:
    """The values of a container."""
    if isinstance(given, str | bytes):
        raise DataError(
            f"{name}: got {given!r:.60}, a single text, expected a list of them: write run.predict([{given!r:.40}])"
        )
    for method in ("to_pylist", "to_list", "tolist"):
        convert = getattr(given, method, None)
        if callable(convert):
            values = convert()
            break
    else:
        values = list(given) if isinstance(given, Sequence) else None
    if not isinstance(values, list):
        raise DataError(
            f"{name}: got {given!r:.60} ({type(given).__name__}), expected a list, tuple, array or series of strings: "
            "make it a list"
        )
    return values


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def _refuse_others(name: str, values: Sequence[Any], first: int = 0) -> None:
    for row, value in enumerate(values, first):
        if not isinstance(value, str):
            kind = type(value).__name__
            raise DataError(f"{name}[{row}] is {value!r:.60} ({kind}), expected a string: leave such rows out")
