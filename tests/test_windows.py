"""Texts seen through windows: nothing is left out, a text counts once, and its outputs are pooled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.batches import batches, evaluation_order
from zoo.data.catalog import vocabulary_folder
from zoo.data.cutting import LEAST, cuts
from zoo.data.given import Texts
from zoo.data.tokens import Tokenizer, cut_told, load_tokenizer
from zoo.errors import DataError
from zoo.models.inference import by_text, logits
from zoo.recipe.types import Tokens
from zoo.score.ragged import Ragged
from zoo.tasks.classification import Classification

TASK = Classification(names=("bad", "good"))


def nano() -> Tokenizer:
    return load_tokenizer(vocabulary_folder("nano_uncased"))


def windows(**keys: Any) -> Tokens:
    return Tokens(long="window", **keys)


@given(
    first=st.integers(0, 40),
    second=st.none() | st.integers(0, 60),
    room=st.integers(LEAST + 41, 64) | st.integers(2, 30),
    stride=st.none() | st.integers(1, 30),
)
@settings(max_examples=300, deadline=None)
def test_every_token_is_in_a_window(first: int, second: int | None, room: int, stride: int | None) -> None:
    rows = cuts(first, second, room, Tokens(long="window", max_length=room + 2, stride=min(stride or 1, room)))
    width = room if second is None else room - first
    if second is not None and width < min(LEAST, second):
        assert rows is None
        return
    assert rows is not None
    whole = list(range(first if second is None else second))
    seen = [[n for part in (cut if second is not None else of_first) for n in whole[part]] for of_first, cut in rows]
    assert sorted({n for row in seen for n in row}) == whole
    assert all(len(row) == width for row in seen) if len(whole) > width else seen == [whole]
    starts = [row[0] for row in seen if row]
    assert starts == sorted(set(starts)), "windows go on through the text"
    if second is not None:
        assert all(of_first == (slice(first),) for of_first, _ in rows)


def test_the_rows_of_a_table() -> None:
    tokenizer, texts = nano(), ["a b c d e f g h i j", "k", "a b c d e f"]
    table = tokenizer.encode(texts, None, windows(max_length=6, stride=3), spans=True)
    found = [
        tokenizer.pieces(table.ids[start:end]) for start, end in zip(table.offsets, table.offsets[1:], strict=False)
    ]
    assert [" ".join(row[1:-1]) for row in found] == ["a b c d", "d e f g", "g h i j", "k", "a b c d", "c d e f"]
    assert (table.owners.tolist(), table.windows.tolist()) == ([0, 0, 0, 1, 2, 2], [3, 1, 2])
    assert (table.full.tolist(), table.windowed, table.truncated) == ([12, 3, 8], True, 0)
    assert table.spans is not None
    for row, owner in enumerate(table.owners):
        for place in range(table.offsets[row], table.offsets[row + 1]):
            start, end = table.spans[place]
            piece = tokenizer.pieces([table.ids[place]])[0]
            assert (piece in ("[CLS]", "[SEP]")) == (start < 0)
            assert start < 0 or texts[owner][start:end] == piece
    assert cut_told({"train": table}, windows(max_length=6))[1] == ("windows of at most 6 tokens: 3 train texts in 6")


def test_of_a_pair_the_second_text_has_windows() -> None:
    tokenizer, words = nano(), "a b c d e f g h i j k l m n o p"
    table = tokenizer.encode(["who"], [words], windows(max_length=14, stride=10), spans=True)
    found = [
        tokenizer.pieces(table.ids[start:end]) for start, end in zip(table.offsets, table.offsets[1:], strict=False)
    ]
    assert all(row[:3] == found[0][:3] and row[0] == "[CLS]" for row in found)
    assert table.spans is not None
    inside = table.spans[table.spans[:, 0] >= 0]
    assert {words[start:end] for start, end in inside} == set(words.split()), "places are those of the second text"
    with pytest.raises(DataError, match="the first one leaves windows on the second of less than 8"):
        tokenizer.encode(["a b c d e f g"], [words], windows(max_length=14))


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=9),
    pool=st.sampled_from(["mean", "max"]),
)
@settings(max_examples=50, deadline=None)
def test_outputs_of_windows_are_pooled_by_text(counts: list[int], pool: Any) -> None:
    texts = [" ".join("ab"[n % 2] for n in range(2 + 2 * (count - 1))) for count in counts]
    table = nano().encode(texts, None, windows(max_length=4, stride=2))
    assert table.windows.tolist() == counts
    random = np.random.default_rng(0)
    outputs = random.standard_normal((len(table), 2)).astype(np.float32)
    found = by_text(outputs, TASK, table, Texts(texts=texts, pairs=None, words=None), pool=pool)
    parts = np.split(outputs, np.cumsum(counts)[:-1])
    expected = [part.mean(axis=0) if pool == "mean" else part.max(axis=0) for part in parts]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_targets_of_tokens_in_batches() -> None:
    table = nano().encode(["a b c d e f", "a", "b c"], None, windows(max_length=6, stride=2))
    targets = np.arange(100, 100 + len(table.ids), dtype=np.int32)
    order = evaluation_order(table.lengths, batch_size=3)
    seen: list[int] = []
    given_batches = batches(table, targets, order, batch_size=3, lengths=(4, 8), names=("token_ids",), each="token")
    for batch in given_batches:
        assert batch.labels.shape == batch.inputs["token_ids"].shape
        for place, row in enumerate(batch.rows):
            size = table.lengths[row]
            assert batch.labels[place, :size].tolist() == targets[table.offsets[row] : table.offsets[row + 1]].tolist()
            assert (batch.labels[place, size:] == -1).all()
            seen.append(int(row))
        assert (batch.labels[len(batch.rows) :] == -1).all(), "a row that fills up has no target"
    assert sorted(seen) == list(range(len(table)))


def test_outputs_of_tokens_come_in_the_order_of_the_table() -> None:
    table = nano().encode(["a b c d e f", "a", "b c"], None, Tokens(max_length=16))
    found = logits(
        lambda inputs: np.stack([inputs["token_ids"], inputs["padding_mask"]], axis=2).astype(np.float32),
        table,
        names=("token_ids", "padding_mask"),
        batch_size=2,
    )
    assert found.shape == (len(table.ids), 2)
    assert found[:, 0].tolist() == table.ids.tolist()
    assert (found[:, 1] == 1.0).all()


@given(rows=st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6), draw=st.data())
@settings(max_examples=100, deadline=None)
def test_ragged_rows(rows: list[list[int]], draw: st.DataObject) -> None:
    ragged = Ragged.of(rows, np.int32)
    assert [row.tolist() for row in ragged] == rows
    assert (len(ragged), ragged.lengths.tolist()) == (len(rows), [len(row) for row in rows])
    assert ragged.owners.tolist() == [number for number, row in enumerate(rows) for _ in row]
    chosen = draw.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6)) if rows else []
    assert [row.tolist() for row in ragged[np.array(chosen, np.int64)]] == [rows[n] for n in chosen]
    mask = np.array([n % 2 == 0 for n in range(len(rows))], bool)
    assert [row.tolist() for row in ragged[mask]] == rows[::2]
    assert (Ragged.of(rows, np.int32).tobytes() == Ragged.of([*rows, []], np.int32).tobytes()) is False
