"""What `run.predict` takes: containers of texts that people have, and what it says of everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas
import polars
import pyarrow
import pytest

from zoo.data.given import rows_of
from zoo.errors import DataError

SINGLE: tuple[Callable[[list[str]], Any], ...] = (
    list,
    tuple,
    np.array,
    lambda texts: np.array(texts, dtype=object),
    pandas.Series,
    lambda texts: pandas.Series(texts, index=range(7, 7 + len(texts)), dtype="category"),
    pandas.Index,
    polars.Series,
    pyarrow.array,
    lambda texts: pyarrow.chunked_array([texts[:1], texts[1:]]),
    lambda texts: pandas.DataFrame({"text": texts}),
    lambda texts: pyarrow.table({"text": texts}),
)
PAIRED: tuple[Callable[[list[str], list[str]], Any], ...] = (
    lambda one, two: list(zip(one, two, strict=True)),
    lambda one, two: [list(row) for row in zip(one, two, strict=True)],
    lambda one, two: np.array([one, two]).T,
    lambda one, two: pandas.DataFrame({"a": one, "b": two}),
    lambda one, two: polars.DataFrame({"a": one, "b": two}),
    lambda one, two: pyarrow.table({"a": one, "b": two}),
    lambda one, two: pyarrow.RecordBatch.from_pydict({"a": one, "b": two}),
)
ONE, TWO = ["one", "naïve", ""], ["x", "y", "z"]


@pytest.mark.parametrize("made", SINGLE)
def test_texts(made: Callable[[list[str]], Any]) -> None:
    texts, pairs = rows_of(made(ONE), None, takes_pairs=False)
    assert (texts, pairs) == (ONE, None)
    assert {type(text) for text in texts} == {str}
    assert rows_of(made(ONE), made(TWO), takes_pairs=True) == (ONE, TWO)


@pytest.mark.parametrize("made", PAIRED)
def test_pairs(made: Callable[[list[str], list[str]], Any]) -> None:
    assert rows_of(made(ONE, TWO), None, takes_pairs=True) == (ONE, TWO)
    with pytest.raises(DataError, match="trained on single texts"):
        rows_of(made(ONE, TWO), None, takes_pairs=False)


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        ("a film", r"a single text, expected a list of them: write run.predict\(\['a film'\]\)"),
        (b"a film", "a single text"),
        (np.array("a film"), "expected a list"),
        (7, r"got 7 \(int\), expected a list"),
        (None, "NoneType"),
        ({"a": "b"}, "dict"),
        ((text for text in "ab"), "generator"),
        (["a", None], r"texts\[1\] is None"),
        (np.array([b"a"]), r"texts\[0\] is b'a'"),
        (pandas.Series(["a", None]), r"texts\[1\] is nan \(float\), expected a string"),
        (pandas.Series(["a", pandas.NA], dtype=object), r"texts\[1\] is <NA>"),
        (polars.Series([1, 2]), r"texts\[0\] is 1 \(int\)"),
        (pandas.DataFrame({"a": ["x"], "b": ["y"], "c": ["z"]}), "DataFrame with 3 columns"),
        (["a", ("b", "c")], "single texts"),
        ([["a"]], r"texts\[0\] is \['a'\]"),
    ],
)
def test_everything_else(texts: Any, match: str) -> None:
    with pytest.raises(DataError, match=match):
        rows_of(texts, None, takes_pairs=False)


def test_single_texts_to_a_run_of_pairs_and_halves_of_them() -> None:
    with pytest.raises(DataError, match="trained on pairs of texts"):
        rows_of(["a"], None, takes_pairs=True)
    with pytest.raises(DataError, match="trained on single texts"):
        rows_of(["a"], ["b"], takes_pairs=False)
    with pytest.raises(DataError, match="pairs: got 1, expected as many as texts, 2"):
        rows_of(["a", "b"], ["c"], takes_pairs=True)
    assert rows_of(["a"], ["b"], takes_pairs=None) == (["a"], ["b"])
