"""Draws: the same on every machine, in proportion, and leaving no class out."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.splitting import draw, shares, shuffled

SHUFFLED = [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
DRAWN = [5, 8, 10, 11]


def test_draws_are_the_same_on_every_machine() -> None:
    """Golden: PCG64's stream is guaranteed by NumPy, and only its raw output is used."""
    assert shuffled(10, 0, "test").tolist() == SHUFFLED
    assert shuffled(10, 0, "order").tolist() != SHUFFLED, "each purpose has its own stream"
    assert np.flatnonzero(draw(np.array([0, 1] * 6), 4, 7, "validation", stratify=True)).tolist() == DRAWN


@settings(max_examples=200, deadline=None)
@given(
    counts=st.lists(st.integers(2, 60), min_size=1, max_size=6),
    share=st.floats(0.01, 0.95),
    leave=st.integers(0, 1),
)
def test_shares_are_in_proportion_and_leave_no_class_out(counts: list[int], share: float, leave: int) -> None:
    array = np.array(counts)
    wanted = max(1, round(share * array.sum()))
    taken = shares(array, wanted, leave)
    assert (taken >= 1).all()
    assert (taken <= array - leave).all()
    exact = array * wanted / array.sum()
    if wanted >= len(counts) and (np.floor(exact) >= 1).all() and (np.ceil(exact) <= array - leave).all():
        assert taken.sum() == wanted
        assert (abs(taken - exact) < 1).all()


def test_a_class_without_rows_stays_without() -> None:
    assert shares(np.array([5, 0, 5]), 4).tolist() == [2, 0, 2]
