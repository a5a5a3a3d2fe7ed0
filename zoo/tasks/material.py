"""What a task is given: what is known of labels before a row is read, texts, and their tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from zoo.score.ragged import Ragged
from zoo.score.tagging import Scheme

__all__ = ["Rows", "Stated", "Tagging", "Tokenized", "no_label"]


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What the recipe or the catalog says of the labels, before a row is read.

    columns: where they stand, none for a task without labels. names: by number, None where the rows tell. numbers:
    label as it stands in the file -> number of its class, None where the file has names or numbers. delimiter: between
    the labels of a text. values: the number that each class stands for, for regression, and quantity what that number
    is called.
    """

    columns: tuple[str, ...]
    names: tuple[str, ...] | None = None
    numbers: Mapping[str, int] | None = None
    delimiter: str | None = None
    values: tuple[float, ...] | None = None
    quantity: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tagging:
    """How the tags of words are read.

    asked: their scheme in files, None is told by the tags. learned: the scheme of the tags that the model knows, None
    before the rows are read. repair: whether what has no place in its scheme is mended, or refused.
    """

    asked: Scheme | None
    learned: Scheme | None
    repair: bool


class Tokenized(Protocol):
    """Texts as a model takes them: what a task needs of `zoo.data.tokens.TokenTable`, where it is described."""

    @property
    def ids(self) -> np.ndarray: ...
    @property
    def offsets(self) -> np.ndarray: ...
    @property
    def owners(self) -> np.ndarray: ...
    @property
    def second(self) -> np.ndarray: ...
    @property
    def spans(self) -> np.ndarray | None: ...


class Rows(Protocol):
    """Texts as people have them: the first texts, the second ones of pairs, and the places of words, [words, 2]."""

    @property
    def texts(self) -> Sequence[str]: ...
    @property
    def pairs(self) -> Sequence[str] | None: ...
    @property
    def words(self) -> Ragged | None: ...


def no_label(value: Any) -> bool:
    """None, not a number, or a string in which nothing is to be seen: white space, and signs of no width."""
    if isinstance(value, str):
        return not value[:1].isalnum() and all(map(_unseen, value))
    return value is None or value != value


def _unseen(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Cf")
