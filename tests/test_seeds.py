"""Bounds and verdicts over seeds and test rows: against SciPy's own tests, and by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from zoo.errors import DataError
from zoo.score.seeds import Bounds, Tally, collapsed, f1_bounds, judged, seed_bounds, share_bounds, tally, worst


@pytest.mark.parametrize("values", [[0.955, 0.961, 0.958, 0.963, 0.960], [0.1, 0.9], [3.0, 3.5, 2.5, 4.0] * 5])
def test_bounds_over_seeds_are_those_of_one_sided_t_tests(values: list[float]) -> None:
    found = seed_bounds(values)
    above, below = (ttest_1samp(values, 0.0, alternative=side) for side in ("greater", "less"))
    assert found.low == pytest.approx(above.confidence_interval(0.95).low, rel=1e-12)
    assert found.high == pytest.approx(below.confidence_interval(0.95).high, rel=1e-12)
    # The target at a bound is where the test against it has p = 0.05.
    assert ttest_1samp(values, found.low, alternative="greater").pvalue == pytest.approx(0.05)


def test_equal_seeds_have_no_spread() -> None:
    assert seed_bounds([0.96] * 3) == (0.96, 0.96)
    assert judged(seed_bounds([0.96] * 3), 0.96) == "met"


@pytest.mark.parametrize("values", [[], [0.9]])
def test_one_seed_has_no_bounds(values: list[float]) -> None:
    with pytest.raises(DataError, match="expected two or more"):
        seed_bounds(values)


@pytest.mark.parametrize(("correct", "rows"), [(838, 872), (0, 10), (10, 10), (23_600, 25_000)])
def test_bounds_of_a_share_are_those_of_one_sided_binomial_tests(correct: int, rows: int) -> None:
    found = share_bounds(correct, rows)
    above, below = (binomtest(correct, rows, alternative=side) for side in ("greater", "less"))
    assert found.low == pytest.approx(above.proportion_ci(0.95, "wilson").low, abs=1e-12)
    assert found.high == pytest.approx(below.proportion_ci(0.95, "wilson").high, abs=1e-12)


def test_no_row_has_no_bounds() -> None:
    with pytest.raises(DataError, match="at least one row"):
        share_bounds(0, 0)
    with pytest.raises(DataError, match="at least one row"):
        f1_bounds(0, 0)


def test_bounds_of_f1_hold_what_they_promise() -> None:
    """Of 4,000 test sets of 400 rows with precision 0.8 and recall 2/3, 95% have the true F1 above the lower bound."""
    random = np.random.default_rng(0)
    # Both, class 1 alone, that prediction alone, neither.
    draws = random.multinomial(400, [0.2, 0.1, 0.05, 0.65], size=4000)
    truth = 2 * 0.2 / (0.3 + 0.25)
    bounds = [f1_bounds(int(both), int(both + missed + alarms)) for both, missed, alarms, _ in draws]
    assert np.mean([found.low <= truth for found in bounds]) == pytest.approx(0.95, abs=0.015)
    assert np.mean([found.high >= truth for found in bounds]) == pytest.approx(0.95, abs=0.015)


def test_f1_lies_between_its_bounds() -> None:
    found = f1_bounds(2, 4)
    assert found.low < 2 * 2 / (2 * 2 + 2) < found.high
    assert f1_bounds(4, 4).high == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("target", "verdict"), [(0.9, "met"), (0.91, "within noise"), (0.95, "within noise"), (0.951, "missed")]
)
def test_verdicts(target: float, verdict: str) -> None:
    assert judged(Bounds(low=0.9, high=0.95), target) == verdict


def test_the_worst_verdict_counts() -> None:
    assert worst(["met", "met"]) == "met"
    assert worst(["within noise", "met"]) == "within noise"
    assert worst(["met", "missed", "within noise"]) == "missed"


def row(label: object, prediction: object) -> dict[str, object]:
    return {"label": label, "prediction": prediction}


def test_a_tally_by_hand() -> None:
    rows = [row("good", "good"), row("good", "bad"), row("bad", "good"), row("bad", "bad"), row("bad", "bad")]
    assert tally(rows, "good") == Tally(rows=5, correct=3, most_frequent=3, found=1, relevant=3)
    assert tally(rows) == Tally(rows=5, correct=3, most_frequent=3)


def test_a_tally_of_several_classes_a_text_and_of_levels() -> None:
    several = [row(["a", "b"], ["a", "b"]), row(["a"], ["a", "b"]), row(["a", "b"], [])]
    assert tally(several) == Tally(rows=3, correct=1, most_frequent=2)
    levels = [row({"value": 4.0}, {"value": 4.0}), row({"value": 4.0}, {"value": 5.0})]
    assert tally(levels) == Tally(rows=2, correct=1, most_frequent=2)


def test_a_run_at_the_share_of_the_commonest_label_has_collapsed() -> None:
    """Of 872 rows 444 are of one class, as in SST-2's dev split; noise reaches to 468."""
    limit = binomtest(444, 872, alternative="less").proportion_ci(0.95, "wilson").high
    counts = [Tally(rows=872, correct=correct, most_frequent=444) for correct in range(300, 872)]
    assert [collapsed(each) for each in counts] == [each.correct / 872 <= limit for each in counts]
    change = [first.correct for first, second in pairwise(counts) if collapsed(first) != collapsed(second)]
    assert change == [468]


def test_of_few_rows_chance_alone_does_not_count_as_learning() -> None:
    """Coins of 40 rows, of which 20 are of either class: hardly any is taken for learning."""
    random = np.random.default_rng(0)
    coins = random.binomial(40, 0.5, size=1000)
    learning = [not collapsed(Tally(rows=40, correct=int(correct), most_frequent=20)) for correct in coins]
    assert 0.0 < np.mean(learning) < 0.08
    assert np.mean(coins > 20) > 0.4
