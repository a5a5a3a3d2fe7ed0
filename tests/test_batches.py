"""Batches: the lengths chosen are the best there are, every row comes once, and the order is the seed's."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data import mixup
from zoo.data.batches import (
    MULTIPLE,
    Batch,
    batches,
    choose_lengths,
    evaluation_order,
    few_lengths,
    training_order,
)
from zoo.data.tokens import TokenTable

NAMES = ("token_ids", "padding_mask", "segment_ids")
LENGTHS = st.lists(st.integers(2, 60), min_size=1, max_size=40)


def table_of(lengths: list[int]) -> TokenTable:
    """Rows of these lengths: token t of row r is 1000 r + t + 1; segment 1 begins in the middle."""
    rows = [1000 * row + np.arange(length) + 1 for row, length in enumerate(lengths)]
    return TokenTable(
        ids=np.concatenate(rows).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        second=np.asarray(lengths, np.int32) // 2,
        full=np.asarray(lengths, np.int32),
        owners=np.arange(len(lengths), dtype=np.int32),
        pad=0,
    )


def padded(lengths: list[int], chosen: tuple[int, ...]) -> int:
    return sum(min(c for c in chosen if c >= length) for length in lengths)


def review_lengths(rows: int) -> np.ndarray:
    """Lengths as of film reviews: log-normal with a median of 230 tokens, cut at 512."""
    random = np.random.default_rng(0)
    return np.minimum(512, np.exp(random.normal(np.log(230), 0.6, rows)).astype(int) + 2)


class TestChosenLengths:
    @given(lengths=LENGTHS, shapes=st.integers(1, 4), saving=st.sampled_from([0, 1, 9, 10**9]))
    @settings(max_examples=150, deadline=None)
    def test_no_choice_pads_less(self, lengths: list[int], shapes: int, saving: int) -> None:
        """What each length has to save counted as padding."""
        chosen = choose_lengths(np.array(lengths), shapes=shapes, saving=saving)
        top = -(-max(lengths) // MULTIPLE) * MULTIPLE
        candidates = range(MULTIPLE, top, MULTIPLE)
        least = min(
            padded(lengths, (*some, top)) + saving * count
            for count in range(shapes)
            for some in combinations(candidates, count)
        )
        assert padded(lengths, chosen) + saving * (len(chosen) - 1) == least

    @given(lengths=LENGTHS, saving=st.sampled_from([0, 1, 9, 50, 10**9]))
    @settings(max_examples=100, deadline=None)
    def test_no_choice_of_given_ones_pads_less(self, lengths: list[int], saving: int) -> None:
        among = few_lengths(max(lengths))
        chosen = choose_lengths(np.array(lengths), saving=saving, among=among)
        top = next(length for length in among if length >= max(lengths))
        candidates = [length for length in among if length < top]
        least = min(
            padded(lengths, (*some, top)) + saving * count
            for count in range(len(among))
            for some in combinations(candidates, count)
        )
        assert set(chosen) <= set(among)
        assert padded(lengths, chosen) + saving * (len(chosen) - 1) == least

    @given(lengths=LENGTHS, shapes=st.integers(1, 9))
    @settings(max_examples=50, deadline=None)
    def test_few_rising_multiples_that_hold_all(self, lengths: list[int], shapes: int) -> None:
        chosen = choose_lengths(np.array(lengths), shapes=shapes)
        assert 1 <= len(chosen) <= shapes
        assert list(chosen) == sorted(set(chosen))
        assert all(length % MULTIPLE == 0 for length in chosen)
        assert max(lengths) <= chosen[-1] < max(lengths) + MULTIPLE


class TestTrainingOrder:
    lengths = review_lengths(333)

    def order(self, **changes: int) -> list[list[int]]:
        given_ = {"batch_size": 4, "seed": 7, "epoch": 0, **changes}
        return [rows.tolist() for rows in training_order(self.lengths, lengths=(128, 256, 512), **given_)]

    def test_every_row_once(self) -> None:
        assert sorted(row for rows in self.order() for row in rows) == list(range(333))

    def test_one_batch_is_left_over(self) -> None:
        assert sorted(map(len, self.order())) == [1] + [4] * 83

    def test_same_seed_same_order(self) -> None:
        assert self.order() == self.order()

    @pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 8}])
    def test_another_epoch_or_seed_another_order(self, change: dict[str, int]) -> None:
        one, other = self.order(), self.order(**change)
        assert one != other
        assert {frozenset(rows) for rows in one} != {frozenset(rows) for rows in other}

    def test_lengths_do_not_rise_over_the_epoch(self) -> None:
        longest = [self.lengths[rows].max() for rows in self.order(seed=0)]
        assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3

    def test_first_rows_are_drawn_as_ever(self) -> None:
        """The order is part of a run's meaning: it must not change under a recipe."""
        lengths = np.array([5, 9, 2, 7, 3, 8])
        order = training_order(lengths, lengths=(4, 8, 12), batch_size=2, seed=1, epoch=2)
        assert [rows.tolist() for rows in order] == [[5, 0], [4, 2], [3, 1]]

    def test_rows_stay_at_their_length_but_for_a_batch_of_each(self) -> None:
        lengths = np.array((128, 256, 512))
        own = np.searchsorted(lengths, self.lengths)
        moved = [row for rows in self.order() for row in rows if own[row] < own[rows].max()]
        assert 0 < len(moved) < 4 * 2


def test_evaluation_order_is_longest_first() -> None:
    order = evaluation_order(np.array([3, 9, 5, 9, 2]), batch_size=2)
    assert [rows.tolist() for rows in order] == [[1, 3], [2, 0], [4]]


class TestBatches:
    def made(self, lengths: list[int], **changes: object) -> list[Batch]:
        table = table_of(lengths)
        order = evaluation_order(table.lengths, batch_size=4)
        labels = np.arange(len(lengths), dtype=np.int32) + 10
        given_ = {"batch_size": 4, "lengths": (8, 16, 24), "names": NAMES, **changes}
        return list(batches(table, labels, order, **given_))  # type: ignore[arg-type]

    def test_by_hand(self) -> None:
        first, last = self.made([3, 9, 5, 2, 4])
        assert first.rows.tolist() == [1, 2, 4, 0]
        assert first.shape == (4, 16)
        assert last.rows.tolist() == [3]
        assert last.inputs["token_ids"].tolist() == [[3001, 3002, 0, 0, 0, 0, 0, 0]] + [[1, *[0] * 7]] * 3
        assert last.inputs["padding_mask"].tolist() == [[1, 1, *[0] * 6]] + [[1, *[0] * 7]] * 3
        assert last.inputs["segment_ids"].tolist() == [[0, 1, *[0] * 6]] + [[0] * 8] * 3
        assert last.labels.tolist() == [13, 0, 0, 0]
        assert last.weights.tolist() == [1.0, 0.0, 0.0, 0.0]
        assert (first.tokens, last.tokens) == (21, 2)

    @given(lengths=st.lists(st.integers(2, 24), min_size=1, max_size=30))
    @settings(max_examples=50, deadline=None)
    def test_every_token_of_every_row(self, lengths: list[int]) -> None:
        table, seen = table_of(lengths), []
        for batch in self.made(lengths):
            rows, length = batch.shape
            assert rows == 4
            assert length in (8, 16, 24)
            assert {value.shape for value in batch.inputs.values()} == {(4, length)}
            assert {value.dtype for value in batch.inputs.values()} == {np.dtype(np.int32)}
            assert (batch.labels.dtype, batch.weights.dtype) == (np.int32, np.float32)
            mask = batch.inputs["padding_mask"].astype(bool)
            assert mask[:, 0].all()
            assert not batch.inputs["token_ids"][~mask].any()
            assert not batch.inputs["segment_ids"][~mask].any()
            assert batch.weights.tolist() == [1.0] * len(batch.rows) + [0.0] * (4 - len(batch.rows))
            assert batch.tokens == mask[: len(batch.rows)].sum()
            for place, row in enumerate(batch.rows):
                start, end = table.offsets[row : row + 2]
                assert batch.inputs["token_ids"][place][mask[place]].tolist() == table.ids[start:end].tolist()
                assert batch.inputs["segment_ids"][place].sum() == lengths[row] - lengths[row] // 2
                assert batch.labels[place] == row + 10
            seen += batch.rows.tolist()
        assert sorted(seen) == list(range(len(lengths)))

    def test_only_the_inputs_asked_for(self) -> None:
        (batch,) = self.made([3], names=NAMES[:2])
        assert tuple(batch.inputs) == NAMES[:2]

    def test_without_labels(self) -> None:
        table = table_of([3, 4])
        order = evaluation_order(table.lengths, batch_size=2)
        (batch,) = batches(table, None, order, batch_size=2, lengths=(8,), names=NAMES)
        assert batch.labels.tolist() == [0, 0]
        assert batch.weights.tolist() == [1.0, 1.0]


def shares(lengths: np.ndarray, batch_size: int) -> tuple[float, float]:
    """Share of padding in an epoch's batches, and the least there can be with these lengths of batches."""
    table = table_of(lengths.tolist())
    chosen = choose_lengths(table.lengths, shapes=4)
    order = training_order(table.lengths, lengths=chosen, batch_size=batch_size, seed=0, epoch=0)
    made = list(batches(table, None, order, batch_size=batch_size, lengths=chosen, names=NAMES))
    assert {batch.shape for batch in made} == {(batch_size, length) for length in chosen}
    cells = sum(batch.shape[0] * batch.shape[1] for batch in made)
    assert sum(batch.tokens for batch in made) == lengths.sum()
    return 1 - lengths.sum() / cells, 1 - lengths.sum() / padded(lengths.tolist(), chosen)


@pytest.mark.parametrize("batch_size", [8, 16, 32])
@pytest.mark.parametrize("most", [128, 256])
def test_little_is_padding_where_many_rows_are_full(batch_size: int, most: int) -> None:
    assert shares(np.minimum(review_lengths(5000), most), batch_size)[0] < 0.08


@pytest.mark.parametrize("batch_size", [8, 16, 32])
def test_batches_pad_hardly_more_than_single_rows_would(batch_size: int) -> None:
    share, least = shares(review_lengths(5000), batch_size)
    assert least <= share < least + 0.01


class TestMixup:
    """`zoo.data.mixup`."""

    BATCH = Batch(
        inputs={},
        labels=np.array([3, 1, 4, 1, 5, 0], np.int32),
        weights=np.array([1.0, 0.5, 2.0, 1.0, 3.0, 0.0], np.float32),
        rows=np.arange(5),
        tokens=5,
    )

    def mixed(self, alpha: float, turn: int = 1, count: int = 2) -> list[Batch]:
        return list(mixup.mixed([self.BATCH] * count, alpha=alpha, seed=7, turn=turn))

    def test_neighbours_are_paired(self) -> None:
        """Each row with the targets of both; the last real one has nobody, and what fills a batch is not mixed in."""
        first, second = self.mixed(0.5)
        assert first.inputs[mixup.PARTNER].tolist() == [1, -1, 1, -1, 0, 0]
        share = first.inputs[mixup.SHARE]
        assert share.dtype == np.float32
        assert (share >= 0.5).all()
        assert (share[4:] == 1.0).all()
        assert share[0] == share[1] != share[2] == share[3] < 1.0
        own, other = [3, 1, 4, 1, 5, 0], [1, 3, 1, 4, 5, 0]
        np.testing.assert_array_equal(first.labels[:, :2], np.transpose([own, other]))
        np.testing.assert_array_equal(first.labels[:, 2:], np.transpose([share, [0.5, 1.0, 1.0, 2.0, 3.0, 0.0]]))
        # The counts of both parts are those of the rows, which are all that the host knows.
        mixture = share * first.weights + (1 - share) * first.labels[:, 3]
        assert mixture.sum() == pytest.approx(first.weights.sum())
        assert (second.inputs[mixup.SHARE][:4] != share[:4]).all()

    def test_shares_are_drawn_from_seed_epoch_and_step(self) -> None:
        def shares(**given: Any) -> np.ndarray:
            return np.stack([batch.inputs[mixup.SHARE][:4:2] for batch in self.mixed(**given)])

        np.testing.assert_array_equal(shares(alpha=0.2), shares(alpha=0.2))
        assert (shares(alpha=0.2) != shares(alpha=0.2, turn=2)).all()
        # Beta's larger half: at 1 all shares are alike, at large alpha half, at small ones all of the row.
        for alpha, mean in ((1.0, 0.75), (1000.0, 0.509), (0.001, 1.0)):
            assert shares(alpha=alpha, count=2000).mean() == pytest.approx(mean, abs=0.01)
