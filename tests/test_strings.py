"""Packed strings give back what went in, and tell which rows are the same as sets and dictionaries would."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest

from zoo.data.carving import duplicates
from zoo.data.identity import hashed, identities, numbered, standing_in
from zoo.data.split import Split
from zoo.data.strings import BLOCK, Column, Strings

WORDS = ("", "a", "ä", "日本", "\0", "a\n", "é", "e\u0301", "🙂", "long " * 300)


def drawn(count: int, seed: int = 0) -> list[str]:
    random_ = random.Random(seed)
    return [random_.choice(WORDS) for _ in range(count)]


@pytest.mark.parametrize("count", [0, 1, BLOCK, 2 * BLOCK + 1])
def test_strings_are_a_sequence_of_what_went_in(count: int) -> None:
    texts = drawn(count)
    packed = Strings.of(iter(texts))
    assert list(packed) == texts
    assert packed == texts
    assert Strings.of(packed) is packed
    assert len(packed) == count
    assert packed[count // 2 :] == texts[count // 2 :]
    rows = np.random.default_rng(0).permutation(count)
    assert list(packed.take(rows)) == [texts[row] for row in rows]
    assert list(Strings.joined([packed.take(rows[1:]), packed])) == [*(texts[row] for row in rows[1:]), *texts]
    digest, naive = hashlib.sha256(), hashlib.sha256()
    packed.hash_into(digest)
    for text in texts:
        naive.update(len(text.encode()).to_bytes(8, "little") + text.encode())
    assert digest.digest() == naive.digest()
    if count:
        assert (packed[0], packed[-1], packed[np.int64(0)]) == (texts[0], texts[-1], texts[0])
        assert packed != texts[1:]
        assert packed != [*texts[:-1], "other"]
        with pytest.raises(IndexError):
            packed[count]


def test_ids_are_numbered() -> None:
    assert Strings.numbered("train/", np.array([0, 12, 3])) == ["train/0", "train/12", "train/3"]


@pytest.mark.parametrize("odd", [1, b"bytes", "half \ud800", 0.5, ["a"]])
@pytest.mark.parametrize("at", [0, 2 * BLOCK])
def test_a_column_of_other_things_stays_a_list(odd: object, at: int) -> None:
    values: list[object] = ["a", None] * BLOCK
    values.insert(at, odd)
    column = Column()
    for start in range(0, len(values), 1000):
        column.extend(values[start : start + 1000])
    found = column.done()
    assert isinstance(found, list)
    assert found == values


def test_missing_strings_come_back() -> None:
    column = Column()
    column.extend(["a", None, ""])
    found = column.done()
    assert isinstance(found, Strings)
    assert list(found) == ["a", None, ""]


def split(texts: list[str], pairs: list[str] | None, labels: np.ndarray) -> Split:
    return Split(
        texts=Strings.of(texts),
        pairs=None if pairs is None else Strings.of(pairs),
        labels=labels,
        ids=Strings.numbered("train/", np.arange(len(texts))),
        path=None,
        lines=None,
    )


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("columns", [0, 2])
def test_the_same_rows_as_by_dictionaries(paired: bool, columns: int) -> None:
    """Which rows are dropped, and how many texts have two labels; -0.0 and 0.0 are two, as they are written."""
    count = 400
    texts, pairs = drawn(count, 1), drawn(count, 2) if paired else None
    random_ = np.random.default_rng(0)
    labels = random_.choice([0.0, -0.0, 1.0], (count, columns)) if columns else random_.integers(0, 2, count)
    whole = split(texts, pairs, labels)
    keys = [*zip(texts, pairs or texts, strict=True)]
    seen, kept = dict[object, set[bytes]](), list[int]()
    for row, key in enumerate(keys):
        label = labels[row].tobytes()
        if label not in seen.setdefault(key, set()):
            kept.append(row)
        seen[key].add(label)
    splits, notes = {"train": whole}, list[str]()
    (fault,) = duplicates(splits, True, notes)
    assert list(splits["train"].ids) == [f"train/{row}" for row in kept]
    assert notes == [f"train: {count - len(kept)} exact duplicates were dropped"]
    assert fault.startswith(f"train: {sum(len(each) > 1 for each in seen.values())} texts stand there with two")
    numbers = numbered(identities(whole))
    assert len({*numbers}) == len({*zip(numbers.tolist(), keys, strict=True)}) == len({*keys})
    assert {*numbers.tolist()} == {*range(len({*keys}))}
    some, others = whole.take(np.arange(100)), [whole.take(np.arange(100, 120)), whole.take(np.arange(120, 140))]
    assert standing_in(some, others).tolist() == [key in keys[100:140] for key in keys[:100]]


def test_what_texts_share_between_them_is_told_apart() -> None:
    both = split(["ab", "a", ""], ["c", "bc", "abc"], np.zeros(3))
    assert len({*numbered(identities(both)).tolist()}) == 3
    assert numbered(hashed([])).tolist() == []
