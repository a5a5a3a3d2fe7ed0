"""Packing: every text once and whole, no row too long, hardly any padding, few shapes, and the order is the seed's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_batches import table_of

from zoo.data.batches import MULTIPLE, Batch
from zoo.data.packing import balanced_order, fill_rows, packed_batches, row_width

NAMES = ("token_ids", "padding_mask", "segment_ids", "positions", "first")
SIZES = st.lists(st.integers(2, 60), min_size=1, max_size=60)


def batches_of(sizes: list[int], batch_size: int, *, epoch: int = 0) -> list[Batch]:
    table = table_of(sizes)
    order = balanced_order(table.lengths, batch_size=batch_size, seed=3, epoch=epoch)
    labels = np.arange(len(sizes), dtype=np.int32)
    width = row_width(table.lengths)
    return list(packed_batches(table, labels, order, batch_size=batch_size, width=width, names=NAMES))


def sentence_lengths(texts: int) -> np.ndarray:
    """Lengths as of rotten_tomatoes: a mean of 27 tokens, at most 64."""
    return np.clip(np.random.default_rng(0).normal(27, 11, texts), 4, 64).astype(int)


class TestOrder:
    @given(sizes=SIZES, batch_size=st.integers(1, 9))
    @settings(max_examples=80, deadline=None)
    def test_every_text_once_in_batches_of_like_size(self, sizes: list[int], batch_size: int) -> None:
        order = balanced_order(np.array(sizes), batch_size=batch_size, seed=0, epoch=0)
        assert sorted(np.concatenate(order).tolist()) == list(range(len(sizes)))
        counts = [len(batch) for batch in order]
        assert len(order) == -(-len(sizes) // batch_size)
        assert max(counts) <= batch_size
        assert max(counts) - min(counts) <= 1

    def test_drawn_from_seed_and_epoch(self) -> None:
        sizes = sentence_lengths(300)
        drawn = {
            (seed, epoch): np.concatenate(balanced_order(sizes, batch_size=32, seed=seed, epoch=epoch)).tolist()
            for seed in (0, 1)
            for epoch in (0, 1)
        }
        assert len({tuple(order) for order in drawn.values()}) == 4
        again = balanced_order(sizes, batch_size=32, seed=0, epoch=0)
        assert np.concatenate(again).tolist() == drawn[0, 0]

    def test_batches_have_alike_many_tokens(self) -> None:
        sizes = sentence_lengths(3000)
        totals = [int(sizes[batch].sum()) for batch in balanced_order(sizes, batch_size=32, seed=0, epoch=0)]
        random = np.random.default_rng(0).permutation(3000)[:2976].reshape(-1, 32)
        assert np.std(totals) / np.mean(totals) < 0.25 * np.std(sizes[random].sum(1)) / np.mean(totals)


class TestRows:
    @given(sizes=SIZES)
    @settings(max_examples=100, deadline=None)
    def test_every_text_once_and_no_row_too_long(self, sizes: list[int]) -> None:
        rows = fill_rows(sizes, 60)
        assert sorted(text for row in rows for text in row) == list(range(len(sizes)))
        assert all(sum(sizes[text] for text in row) <= 60 for row in rows)
        # First fit from the longest is never above 11/9 of the best and 2/3 of a row (Dosa 2007).
        assert len(rows) <= 11 / 9 * -(-sum(sizes) // 60) * 2 + 1

    def test_texts_that_fit_together_do(self) -> None:
        assert fill_rows([3, 5, 5, 7], 10) == [[3, 0], [1, 2]]


class TestBatches:
    @given(sizes=SIZES, batch_size=st.integers(1, 9))
    @settings(max_examples=60, deadline=None)
    def test_what_is_packed_can_be_unpacked(self, sizes: list[int], batch_size: int) -> None:
        table = table_of(sizes)
        for batch in batches_of(sizes, batch_size):
            width = batch.shape[1]
            assert width == -(-max(sizes) // MULTIPLE) * MULTIPLE
            flat = {name: batch.inputs[name].ravel() for name in NAMES[:4]}
            for place, text in enumerate(batch.rows):
                begin = batch.inputs["first"][place]
                cells = slice(begin, begin + sizes[text])
                assert begin // width == (begin + sizes[text] - 1) // width  # within one row
                np.testing.assert_array_equal(flat["token_ids"][cells], 1000 * text + np.arange(sizes[text]) + 1)
                np.testing.assert_array_equal(flat["positions"][cells], np.arange(sizes[text]))
                np.testing.assert_array_equal(flat["segment_ids"][cells], np.arange(sizes[text]) >= table.second[text])
                numbers = batch.inputs["padding_mask"][begin // width]
                assert (numbers == flat["padding_mask"][begin]).sum() == sizes[text]  # a number of its own
            assert (flat["padding_mask"] > 0).sum() == batch.tokens == sum(sizes[text] for text in batch.rows)
            np.testing.assert_array_equal(batch.labels[: len(batch.rows)], batch.rows)
            np.testing.assert_array_equal(batch.weights, np.arange(batch_size) < len(batch.rows))

    @pytest.mark.parametrize("batch_size", [32, 64, 128])
    def test_hardly_any_padding_and_few_shapes(self, batch_size: int) -> None:
        sizes = sentence_lengths(2000).tolist()
        found = [batch for epoch in range(3) for batch in batches_of(sizes, batch_size, epoch=epoch)]
        cells = sum(batch.inputs["token_ids"].size for batch in found)
        assert 1.0 - sum(batch.tokens for batch in found) / cells < 0.08
        assert len({batch.shape for batch in found}) <= 8
