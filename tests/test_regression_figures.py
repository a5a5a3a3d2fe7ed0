"""Figures of predicted numbers against scikit-learn's and SciPy's own calls and values worked out by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from zoo.errors import DataError, TrainingError, ZooError
from zoo.score import metrics, regression

LEVELS = (1, 5)


def draw(rows: int = 300, names: int = 3) -> tuple[regression.Floats, regression.Floats]:
    """Values that know something of the targets, the less the further right, and the targets."""
    random = np.random.default_rng(5)
    targets = random.normal(10.0, 3.0, (rows, names))
    return targets + random.normal(size=(rows, names)) * np.arange(1, names + 1), targets


def test_by_hand() -> None:
    # Mean of the targets 2, so their squares around it sum to 10; the last two stand in the wrong order.
    got = regression.evaluate([[0.0], [1.0], [6.0], [4.0]], [[0.0], [1.0], [3.0], [4.0]], ("stars",))
    assert got == pytest.approx(
        {"rows": 4, "mean_absolute_error": 0.75, "mean_squared_error": 2.25, "r2": 0.1, "spearman": 0.8}
    )


def test_figures_equal_scikit_learn_and_scipy() -> None:
    values, targets = draw()
    names = ("first", "second", "third")
    got = regression.evaluate(values, targets, names)
    ranks = [scipy.stats.spearmanr(values[:, column], targets[:, column]).statistic for column in range(3)]
    wanted = {
        "mean_absolute_error": sklearn.metrics.mean_absolute_error(targets, values, multioutput="raw_values"),
        "mean_squared_error": sklearn.metrics.mean_squared_error(targets, values, multioutput="raw_values"),
        "r2": sklearn.metrics.r2_score(targets, values, multioutput="raw_values"),
        "spearman": np.array(ranks),
    }
    for figure, by_name in wanted.items():
        assert got[figure] == pytest.approx(by_name.mean())
        assert [got[f"{figure}.{name}"] for name in names] == pytest.approx(by_name)
    assert len(got) == 1 + 4 * 4
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    # Values and targets are not taken for each other.
    assert regression.evaluate(targets, values, names)["r2"] != pytest.approx(got["r2"])


def test_what_is_not_defined_is_left_out_for_its_name_and_from_the_means() -> None:
    values, targets = draw()
    # 0.1 has no exact form: its mean is not itself, and by that alone r2 would have a denominator.
    targets[:, 1] = 0.1
    values[:, 2] = 7.0
    got = regression.evaluate(values, targets, ("usual", "same targets", "same values"))
    assert {name for name in got if name.startswith(("r2", "spearman"))} == {
        "r2.usual",
        "r2.same values",
        "spearman.usual",
    }
    assert "mean_absolute_error" in got
    assert set(regression.evaluate([[1.0]], [[2.0]], ("one row",))) == {
        "rows",
        "mean_absolute_error",
        "mean_squared_error",
    }


def test_table_by_hand() -> None:
    table = regression.error_table([[1.0, 5.0], [3.0, 5.0]], [[1.0, 2.0], [5.0, 2.0]], ("a", "b"))
    assert table[0] == {
        "name": "a",
        "mean_absolute_error": 1.0,
        "mean_squared_error": 2.0,
        "r2": 0.5,
        "spearman": pytest.approx(1.0),
        "mean": 3.0,
        "deviation": 2.0,
    }
    assert (table[1]["mean_absolute_error"], table[1]["r2"], table[1]["spearman"]) == (3.0, None, None)
    assert (table[1]["mean"], table[1]["deviation"]) == (2.0, 0.0)


def test_halves_go_upward_and_the_scale_ends() -> None:
    got = regression.rounded([-7.0, 0.4, 1.49, 1.5, 2.5, 3.5, 5.4, 99.0], LEVELS)
    assert got.dtype == np.int64
    assert got.tolist() == [1, 1, 1, 2, 3, 4, 5, 5]
    assert regression.rounded([-1.5, -0.5], (-2, 2)).tolist() == [-1, 0]


def test_levels_by_hand() -> None:
    # Rounded: 1, 2, 5, 3 of 1, 3, 5, 1, so 0, 1, 0 and 2 levels off.
    got = regression.ordinal([0.2, 2.4, 7.0, 2.5], [1, 3, 5, 1], LEVELS)
    assert got["accuracy"] == 0.5
    assert (got["accuracy_low"], got["accuracy_high"]) == metrics.wilson_interval(2, 4)
    assert got["within_one"] == 0.75
    # Squares off: 5 in 4 rows; by chance, of the 16 pairs of a target and a prediction, 21 + 9 + 29 + 21 = 80.
    assert got["quadratic_kappa"] == pytest.approx(1 - (5 / 4) / (80 / 16))
    # The errors are those of the values as they are.
    assert got["mean_absolute_error"] == pytest.approx((0.8 + 0.6 + 2.0 + 1.5) / 4)


def test_levels_equal_scikit_learn() -> None:
    random = np.random.default_rng(2)
    targets = random.integers(2, 5, 300)
    values = targets + random.normal(size=300)
    got = regression.ordinal(values, targets, LEVELS)
    guess = np.clip(np.rint(values), *LEVELS).astype(int)
    assert got["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(targets, guess))
    kappa = sklearn.metrics.cohen_kappa_score(targets, guess, labels=[1, 2, 3, 4, 5], weights="quadratic")
    assert got["quadratic_kappa"] == pytest.approx(kappa)
    same = regression.evaluate(values[:, None], targets[:, None], ("stars",))
    assert {name: got[name] for name in same} == same
    assert json.loads(json.dumps(got, allow_nan=False)) == got


def test_one_level_alone_has_no_kappa() -> None:
    got = regression.ordinal([2.1, 1.9], [2, 2], LEVELS)
    assert got["accuracy"] == got["within_one"] == 1.0
    assert not {"quadratic_kappa", "r2", "spearman"} & set(got)
    # Where the predictions are another one, it is no better than chance.
    assert regression.ordinal([4.0, 4.0], [2, 2], LEVELS)["quadratic_kappa"] == 0.0


@pytest.mark.parametrize(
    ("values", "targets", "error", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2)), DataError, "no row to evaluate"),
        (np.zeros((2, 2)), np.zeros((3, 2)), ZooError, r"values have the shape \[2, 2\], expected \[3, 2\]"),
        (np.zeros((3, 1)), np.zeros((3, 1)), ZooError, r"values have the shape \[3, 1\], expected \[3, 2\]"),
        (np.zeros((3, 2)), np.zeros(3), ZooError, r"targets have the shape \[3\], expected \[3, 2\]"),
        ([[0, 0], [0, math.nan]], [[0, 0], [0, 0]], TrainingError, r"values are not finite for 1 of 2 .*first: row 1"),
        ([[0, 0], [0, 0]], [[-math.inf, 0], [0, 0]], DataError, r"targets are not finite for 1 of 2 .*first: row 0"),
    ],
)
def test_what_is_refused(values: Any, targets: Any, error: type[ZooError], message: str) -> None:
    for function in (regression.evaluate, regression.error_table):
        with pytest.raises(error, match=message):
            function(values, targets, ("a", "b"))


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ([1, 6], DataError, "row 1 has the target 6, expected a whole number from 1 to 5"),
        ([0, 0], DataError, r"row 0 has the target 0, .* \(2 such rows\)"),
        ([1, 2.5], DataError, "row 1 has the target 2.5"),
        ([1, 2, 3], ZooError, r"values have the shape \[2\], expected \[3\]"),
        ([], DataError, "no row to evaluate"),
    ],
)
def test_targets_off_the_scale_are_refused(targets: list[float], error: type[ZooError], message: str) -> None:
    with pytest.raises(error, match=message):
        regression.ordinal([1.0, 2.0], targets, LEVELS)
