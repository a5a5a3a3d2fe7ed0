"""The figures against scikit-learn's own calls and against values worked out by hand."""

import json
import math

import numpy as np
import pytest
import sklearn.metrics

from zoo.errors import DataError, TrainingError, ZooError
from zoo.score import metrics

NAMES = ("negative", "positive")


def shares(*of_class_1: float) -> metrics.Floats:
    second = np.array(of_class_1)
    return np.stack([1 - second, second], axis=1)


def draw(rows: int, classes: int) -> tuple[metrics.Floats, metrics.Labels]:
    random = np.random.default_rng(7)
    labels = random.integers(0, classes, rows)
    logits = random.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[labels]
    return metrics.probabilities(logits, "classifier"), labels


def test_softmax_by_hand() -> None:
    got = metrics.probabilities([[0.0, math.log(3.0)], [1000.0, 1000.0]], "classifier")
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, [[0.25, 0.75], [0.5, 0.5]])


@pytest.mark.parametrize("logits", [[[0.0], [math.log(3.0)], [-800.0]], [0.0, math.log(3.0), -800.0]])
def test_one_sigmoid_unit_gives_two_columns(logits: list[object]) -> None:
    got = metrics.probabilities(logits, "binary")
    np.testing.assert_allclose(got, [[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]], atol=1e-12)


def test_probability_near_one_keeps_its_small_complement() -> None:
    got = metrics.probabilities([[50.0]], "binary")
    assert got[0, 0] == pytest.approx(math.exp(-50.0), rel=1e-12)


def test_float32_logits_are_widened() -> None:
    got = metrics.probabilities(np.zeros((2, 3), np.float32), "classifier")
    np.testing.assert_allclose(got.sum(axis=1), 1.0, rtol=1e-15)


@pytest.mark.parametrize(
    ("logits", "head"), [([[1.0, 2.0]], "binary"), ([[1.0]], "classifier"), ([1.0, 2.0], "classifier")]
)
def test_logits_of_another_head_are_refused(logits: list[object], head: metrics.Head) -> None:
    with pytest.raises(ZooError, match=f"logits of a {head} head"):
        metrics.probabilities(logits, head)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(TrainingError, match=r"1 of 2 rows \(first: row 1\)"):
        metrics.probabilities([[0.0, 1.0], [bad, 0.0]], "classifier")


def test_a_row_on_the_threshold_is_class_1() -> None:
    given = shares(0.2, 0.3, 0.9)
    assert metrics.predictions(given).tolist() == [0, 0, 1]
    assert metrics.predictions(given, 0.3).tolist() == [0, 1, 1]


def test_a_threshold_is_for_two_classes() -> None:
    with pytest.raises(ZooError, match="two classes"):
        metrics.predictions(np.full((2, 3), 1 / 3), 0.5)


def test_two_classes_by_hand() -> None:
    # Class 1: one found, one missed, one false alarm.
    got = metrics.evaluate(shares(0.8, 0.4, 0.6, 0.1, 0.3), [1, 1, 0, 0, 0], NAMES)
    assert got["rows"] == 5
    assert got["accuracy"] == pytest.approx(3 / 5)
    assert got["precision"] == got["recall"] == got["f1"] == pytest.approx(1 / 2)
    assert got["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Of the six pairs (class 1, class 0) five are in order: 0.8 beats all three, 0.4 beats two.
    assert got["roc_auc"] == pytest.approx(5 / 6)
    assert got["average_precision"] == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert got["matthews"] == pytest.approx((1 * 2 - 1 * 1) / math.sqrt(2 * 2 * 3 * 3))
    assert got["loss"] == pytest.approx(-sum(map(math.log, (0.8, 0.4, 0.4, 0.9, 0.7))) / 5)


def test_the_threshold_moves_the_figures() -> None:
    got = metrics.evaluate(shares(0.8, 0.4, 0.6, 0.1, 0.3), [1, 1, 0, 0, 0], NAMES, threshold=0.35)
    assert got["recall"] == 1.0
    assert got["precision"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_figures_equal_scikit_learn(classes: int) -> None:
    given, labels = draw(500, classes)
    guess = given.argmax(axis=1)
    got = metrics.evaluate(given, labels, [f"class {number}" for number in range(classes)])
    average = "binary" if classes == 2 else "macro"
    assert got["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(labels, guess))
    assert got["f1"] == pytest.approx(sklearn.metrics.f1_score(labels, guess, average=average))
    assert got["precision"] == pytest.approx(sklearn.metrics.precision_score(labels, guess, average=average))
    assert got["recall"] == pytest.approx(sklearn.metrics.recall_score(labels, guess, average=average))
    assert got["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(labels, guess, average="macro"))
    assert got["matthews"] == pytest.approx(sklearn.metrics.matthews_corrcoef(labels, guess))
    assert got["loss"] == pytest.approx(sklearn.metrics.log_loss(labels, given))
    assert ("roc_auc" in got) == (classes == 2)


def test_figures_are_plain_json() -> None:
    got = metrics.evaluate(*draw(50, 2), NAMES)
    assert json.loads(json.dumps(got, allow_nan=False)) == got


def test_one_class_alone_gives_figures_without_a_warning() -> None:
    got = metrics.evaluate(shares(0.1, 0.2), [0, 0], NAMES)
    assert got["accuracy"] == 1.0
    assert got["f1"] == got["matthews"] == 0.0
    assert "roc_auc" not in got


def test_a_class_that_never_occurs_is_left_out_of_the_average() -> None:
    got = metrics.evaluate(np.eye(3)[[0, 1]], [0, 1], ("a", "b", "never"))
    assert got["macro_f1"] == got["f1"] == 1.0


def test_a_probability_of_zero_gives_a_finite_loss() -> None:
    got = metrics.evaluate(shares(1.0), [0], NAMES)
    assert 700 < got["loss"] < 710


@pytest.mark.parametrize("label", [-1, 2, -100])
def test_labels_outside_the_classes_are_refused(label: int) -> None:
    with pytest.raises(DataError, match=f"row 1 has the label {label}, expected 0 to 1"):
        metrics.evaluate(shares(0.1, 0.2), [0, label], NAMES)


def test_fractional_labels_are_refused() -> None:
    with pytest.raises(DataError, match="whole class numbers"):
        metrics.evaluate(shares(0.1, 0.2), [0.0, 1.0], NAMES)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no row to evaluate"):
        metrics.evaluate(np.zeros((0, 2)), [], NAMES)


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(ZooError, match=r"\[2, 2\], expected \[3, 2\]"):
        metrics.evaluate(shares(0.1, 0.2), [0, 1, 1], NAMES)


def test_the_most_confused_by_hand() -> None:
    labels, guess = [0, 0, 0, 5, 5, 9, 7, 7], [1, 1, 0, 6, 5, 9, 7, 7]
    assert metrics.confused_pairs(labels, guess) == [(0, 1, 2), (5, 6, 1)]
    assert metrics.most_confused(labels, guess, 10, 3).tolist() == [0, 1, 5]
    # Two classes with the most rows fill up.
    assert metrics.most_confused(labels, guess, 10, 5).tolist() == [0, 1, 5, 6, 7]
    assert metrics.most_confused(labels, guess, 10, 10).tolist() == list(range(10))
    assert metrics.confusion(labels, guess, [0, 1, 5]).tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_table_and_confusion_by_hand() -> None:
    labels, guess = [0, 0, 1, 2], [0, 1, 1, 0]
    assert metrics.confusion(labels, guess, range(3)).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    table = metrics.classification_table(labels, guess, ("a", "b", "c"))
    assert table[0] == {"label": "a", "precision": 0.5, "recall": 0.5, "f1": 0.5, "rows": 2, "predicted": 2}
    assert table[2] == {"label": "c", "precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 1, "predicted": 0}


def test_tuned_threshold_by_hand() -> None:
    # From 0.3 up, both rows of class 1 and one of class 0: F1 0.8, the best; midway to 0.2 is 0.25.
    assert metrics.tune_threshold(shares(0.1, 0.2, 0.3, 0.4, 0.45), [0, 0, 1, 0, 1]) == pytest.approx(0.25)


def test_tuned_threshold_is_no_worse_than_any_other() -> None:
    given, labels = draw(300, 2)
    labels = np.where(np.random.default_rng(1).random(300) < 0.9, 0, labels)
    best = sklearn.metrics.f1_score(labels, metrics.predictions(given, metrics.tune_threshold(given, labels)))
    others = [sklearn.metrics.f1_score(labels, given[:, 1] >= cut, zero_division=0) for cut in np.linspace(0, 1, 1001)]
    assert best >= max(others)


def test_tuned_threshold_without_class_1_is_a_half() -> None:
    assert metrics.tune_threshold(shares(0.1, 0.9), [0, 0]) == 0.5


def test_tuned_threshold_of_equally_good_ones_is_nearest_to_a_half() -> None:
    assert metrics.tune_threshold(shares(0.2, 0.8), [0, 1]) == pytest.approx(0.5)


def test_wilson_interval_against_its_paper_form() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert metrics.wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    low, high = metrics.wilson_interval(10, 10)
    assert 0.7 < low < 0.73
    assert high == 1.0


def test_wilson_interval_needs_a_row() -> None:
    with pytest.raises(DataError, match="at least one row"):
        metrics.wilson_interval(0, 0)
