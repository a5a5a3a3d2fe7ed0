"""Ranking, calibration and McNemar's test against scikit-learn, published examples and values worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from pages_read import size

from zoo.errors import DataError
from zoo.report import score_plots
from zoo.score import calibration
from zoo.score.pairing import compare_rows, mcnemar
from zoo.score.ranking import Ranking, macro_average, rank

HOSTILE = [
    "<script>alert(1)</script>",
    "$\\frac{",
    "_hidden",
    "two\nlines",
    "日本語",
    "a name that is longer than any legend",
]


def drawn_shares(classes: int, rows: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that know something of them."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, rows)
    scores = random.normal(size=(rows, classes))
    scores[np.arange(rows), labels] += 1.5
    powers = np.exp(scores)
    return powers / powers.sum(axis=1, keepdims=True), labels


class TestRanking:
    @pytest.mark.parametrize("classes", [2, 3, 12])
    def test_areas_are_those_of_scikit_learn(self, classes: int) -> None:
        shares, labels = drawn_shares(classes)
        found = [each for each in rank(shares, labels, list(map(str, range(classes)))) if each]
        wanted = np.eye(classes)[labels]
        assert [each.roc_auc for each in found] == pytest.approx(
            sklearn.metrics.roc_auc_score(wanted, shares, average=None)
        )
        assert [each.average_precision for each in found] == pytest.approx(
            sklearn.metrics.average_precision_score(wanted, shares, average=None)
        )
        assert macro_average(found).roc_auc == pytest.approx(sklearn.metrics.roc_auc_score(wanted, shares))

    def test_the_areas_are_those_under_the_curves(self) -> None:
        shares, labels = drawn_shares(5)
        found = [each for each in rank(shares, labels, list("abcde")) if each]
        for each, close in [*((one, 1e-12) for one in found), (macro_average(found), 2e-3)]:
            assert steps_area(each) == pytest.approx(each.average_precision, abs=close)
            under = np.trapezoid(each.true_positives, each.false_positives)
            assert under == pytest.approx(each.roc_auc, abs=close)

    def test_shuffled_scores_are_no_better_than_a_coin(self) -> None:
        """So that the comparison above can fail: the same scores beside other rows."""
        shares, labels = drawn_shares(2, rows=5000)
        (_, found) = rank(np.roll(shares, 1, axis=0), labels, ["a", "b"])
        assert found is not None
        assert found.roc_auc == pytest.approx(0.5, abs=0.03)
        assert found.average_precision == pytest.approx(found.share, abs=0.03)

    def test_a_class_without_rows_has_none(self) -> None:
        shares, labels = drawn_shares(3)
        assert [each is None for each in rank(shares, np.minimum(labels, 1), list("abc"))] == [False, False, True]
        assert rank(shares[:, :2], np.zeros(600, int), ["a", "b"]) == [None, None]


def steps_area(ranking: Ranking) -> float:
    return float(-np.sum(np.diff(ranking.recall) * ranking.precision[:-1]))


class TestCalibration:
    def test_worked_out_by_hand(self) -> None:
        # Bin (0.6, 0.8]: 0.7 and 0.8, one of two right; bin (0.8, 1.0]: 0.9 and 1.0, both right. Five bins.
        shares = np.array([[0.3, 0.7], [0.8, 0.2], [0.1, 0.9], [1.0, 0.0]])
        found = calibration.reliability(shares, [1, 1, 1, 0], bins=5)
        assert found.rows.tolist() == [0, 0, 0, 2, 2]
        assert found.confidence[3:].tolist() == pytest.approx([0.75, 0.95])
        assert found.accuracy[3:].tolist() == pytest.approx([0.5, 1.0])
        assert np.isnan(found.accuracy[:3]).all()
        assert found.error == pytest.approx(0.5 * 0.25 + 0.5 * 0.05)

    def test_what_is_calibrated_has_no_error(self) -> None:
        """Labels drawn by the very probabilities; sharpened ones are overconfident by as much as they are moved."""
        random = np.random.default_rng(0)
        shares = random.dirichlet([1.0, 1.0, 1.0], 40_000)
        labels = (shares.cumsum(axis=1) < random.random((40_000, 1))).sum(axis=1)
        assert calibration.reliability(shares, labels).error < 0.01
        sharp = shares**3 / (shares**3).sum(axis=1, keepdims=True)
        moved = float((sharp.max(axis=1) - shares.max(axis=1)).mean())
        assert calibration.reliability(sharp, labels).error == pytest.approx(moved, abs=0.01)
        assert moved > 0.1

    @pytest.mark.parametrize("classes", [2, 4])
    def test_brier_score_is_that_of_scikit_learn(self, classes: int) -> None:
        shares, labels = drawn_shares(classes)
        wanted = (
            sklearn.metrics.brier_score_loss(labels, shares[:, 1])
            if classes == 2
            else np.square(shares - np.eye(classes)[labels]).sum() / len(labels)
        )
        assert calibration.brier_score(shares, labels) == pytest.approx(wanted)
        assert calibration.brier_score(shares, (labels + 1) % classes) > wanted + 0.1

    def test_no_rows(self) -> None:
        with pytest.raises(ValueError, match="no row to bin"):
            calibration.reliability(np.zeros((0, 2)), [])


class TestMcNemar:
    @pytest.mark.parametrize(
        ("only_first", "only_second", "exact", "mid"),
        [
            (1, 7, 0.0703, 0.0391),  # Bentur et al. 2009, as in Fagerland et al. 2013, table 4
            (6, 16, 0.0525, 0.0347),  # Cavo et al. 2012, likewise
            (0, 0, 1.0, 1.0),
            (3, 3, 1.0, 1.0 - 0.5 * 20 / 64),  # by hand: 20 of the 64 ways are even
            (0, 5, 2 / 32, 1 / 32),  # by hand
        ],
    )
    def test_published_and_by_hand(self, only_first: int, only_second: int, exact: float, mid: float) -> None:
        assert mcnemar(only_first, only_second) == pytest.approx((exact, mid), abs=5e-5)
        assert mcnemar(only_second, only_first) == mcnemar(only_first, only_second)

    def test_counts(self) -> None:
        first, second = rows("aabb?"), rows("abab?")
        found = compare_rows(first, list(reversed(second)))
        assert [found[key] for key in ("both_right", "only_first", "only_second", "both_wrong")] == [1, 1, 1, 2]
        assert (found["rows"], found["difference"], found["p_exact"]) == (5, 0.0, 1.0)

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            ([], "without test predictions"),
            ([{"id": "9", "label": "a", "prediction": "a"}], "2 ids of the first are not in the second, 1 of the"),
            ([{"id": str(n), "label": "b", "prediction": "a"} for n in range(2)], "2 of 2 rows have another label"),
            ([{"id": "0", "label": "a", "prediction": "a"}] * 2, "an id stands twice"),
        ],
    )
    def test_other_rows_are_refused(self, other: list[dict[str, Any]], message: str) -> None:
        with pytest.raises(DataError, match=message):
            compare_rows(rows("aa"), other)


def rows(predicted: str) -> list[dict[str, Any]]:
    """Rows whose label is a."""
    return [{"id": str(number), "label": "a", "prediction": name} for number, name in enumerate(predicted)]


class TestPictures:
    @pytest.mark.parametrize("classes", [2, 3, 12, 30])
    def test_curves_of_any_number_of_classes(self, classes: int) -> None:
        shares, labels = drawn_shares(classes)
        names = [*HOSTILE, *(f"class {number}" for number in range(classes))][:classes]
        found = rank(shares, labels, names)
        for chart in (score_plots.precision_recall(found), score_plots.roc(found)):
            assert min(size(chart.png())) > 400
        assert size(score_plots.reliability_diagram(calibration.reliability(shares, labels)).png())[0] > 500

    def test_many_classes_show_the_worst(self) -> None:
        shares, labels = drawn_shares(13)
        found = rank(shares, labels, list(map(str, range(13))))
        areas = {each.name: each.roc_auc for each in found if each}
        macro, *worst = score_plots.chosen(found, lambda each: each.roc_auc)
        assert macro.name == "macro average"
        assert [each.name for each in worst] == sorted(areas, key=lambda name: areas[name])[:5]
        assert len(score_plots.chosen(found[:12], lambda each: each.roc_auc)) == 13

    def test_nothing_to_draw(self) -> None:
        with pytest.raises(ValueError, match="no class has both"):
            score_plots.roc([None, None])
