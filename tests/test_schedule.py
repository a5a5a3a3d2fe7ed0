"""The learning rate over the steps: our own formula, by hand and against that of transformers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zoo.errors import RecipeError
from zoo.recipe.length import run_length
from zoo.recipe.schedules import Constant, Cosine, InverseSqrt, Linear, OneCycle, Polynomial, Schedule
from zoo.recipe.training_group import MAX_STEPS, Training
from zoo.training.schedule import learning_rates


def test_linear_by_hand() -> None:
    """Steps 0 and 1 of 8 climb to the peak, from there it falls by sixths."""
    rates = learning_rates(Linear(warmup=0.25), peak=6.0, steps=8)
    assert rates == pytest.approx([2.0, 4.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])


def test_the_longest_run_has_its_rates_in_one_array() -> None:
    rates = learning_rates(Cosine(), peak=1.0, steps=MAX_STEPS)
    assert rates.shape == (MAX_STEPS,)
    assert rates.nbytes == 8 * MAX_STEPS


def test_a_run_that_is_too_long_is_refused() -> None:
    assert run_length(Training(epochs=10_000), rows=32_000).steps == MAX_STEPS
    with pytest.raises(RecipeError, match=r"10,000 over 32,001 rows in batches of 32, which are 10,010,000 steps"):
        run_length(Training(epochs=10_000), rows=32_001)


def test_warmup_in_steps() -> None:
    assert learning_rates(Linear(warmup=2), peak=6.0, steps=8) == pytest.approx([2, 4, 6, 5, 4, 3, 2, 1])
    message = r"warmup: got 30 steps, expected fewer than the run's 30: "
    with pytest.raises(RecipeError, match=message):
        run_length(Training(epochs=3, schedule=Linear(warmup=30)), rows=320)
    assert run_length(Training(epochs=3, schedule=Linear(warmup=29)), rows=320).steps == 30


def test_linear_without_warmup() -> None:
    assert learning_rates(Linear(warmup=0.0), peak=4.0, steps=4) == pytest.approx([4.0, 3.0, 2.0, 1.0])


def test_cosine_by_hand() -> None:
    rates = learning_rates(Cosine(warmup=0.2), peak=2.0, steps=5)
    assert rates == pytest.approx([1.0, 2.0, 1.0 + math.sqrt(0.5), 1.0, 1.0 - math.sqrt(0.5)])


def test_constant_by_hand() -> None:
    assert learning_rates(Constant(), peak=3.0, steps=3).tolist() == [3.0, 3.0, 3.0]
    assert learning_rates(Constant(warmup=0.5), peak=3.0, steps=4) == pytest.approx([1.0, 2.0, 3.0, 3.0])


@pytest.mark.parametrize("warmup", [0.0, 0.06, 0.1, 0.5])
@pytest.mark.parametrize("steps", [1, 7, 100, 1001])
def test_the_fall_is_that_of_transformers(warmup: float, steps: int) -> None:
    """get_linear_schedule_with_warmup, written out: from the end of warm-up both are the same.

    Its warm-up is step / warm, so its first step is taken at rate 0 and changes nothing; ours is
    (step + 1) / (warm + 1), which differs by less than one step's climb.
    """
    warm = math.ceil(warmup * steps)
    theirs = [
        step / max(1, warm) if step < warm else max(0.0, (steps - step) / max(1, steps - warm)) for step in range(steps)
    ]
    ours = learning_rates(Linear(warmup=warmup), peak=1.0, steps=steps)
    assert ours[warm:] == pytest.approx(theirs[warm:])
    assert np.all(np.abs(np.subtract(ours, theirs)) <= 1 / (warm + 1) + 1e-12)


@given(
    schedule=st.sampled_from([Linear, Cosine, Constant, InverseSqrt, Polynomial, OneCycle]),
    warmup=st.one_of(st.floats(0.0, 0.99), st.integers(1, 300)),
    steps=st.integers(1, 300),
)
def test_no_step_is_taken_for_nothing(schedule: type[Schedule], warmup: float, steps: int) -> None:
    assume(warmup < steps)
    rates = learning_rates(schedule(warmup=warmup), peak=2e-5, steps=steps).tolist()
    assert len(rates) == steps
    assert all(0.0 < rate <= 2e-5 * (1 + 1e-12) for rate in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
