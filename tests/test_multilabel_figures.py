"""Figures of any number of classes a text, against scikit-learn's own calls and values worked out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import sklearn.metrics

from zoo.errors import DataError, ZooError
from zoo.score import metrics, multilabel

NAMES = ("joy", "anger", "fear")
HALVES = (0.5, 0.5, 0.5)
# Row 0 is right; row 1 lacks anger and has fear instead; row 2 has no class, and none is predicted.
TARGETS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
SHARES = np.array([[0.9, 0.2, 0.1], [0.8, 0.4, 0.6], [0.3, 0.1, 0.2]])


def draw(rows: int = 400, classes: int = 5) -> tuple[multilabel.Floats, multilabel.Labels]:
    """Probabilities that know something of the targets, and the targets; the first class is rare."""
    random = np.random.default_rng(3)
    targets = (random.random((rows, classes)) < np.linspace(0.03, 0.6, classes)).astype(np.int64)
    return 1 / (1 + np.exp(-random.normal(size=targets.shape) - 2.0 * targets + 1.0)), targets


def test_by_hand() -> None:
    got = multilabel.evaluate(SHARES, TARGETS, NAMES, HALVES)
    assert got["rows"] == 3
    assert got["accuracy"] == pytest.approx(2 / 3)
    assert (got["accuracy_low"], got["accuracy_high"]) == metrics.wilson_interval(2, 3)
    # Joy has 1; anger is never found and fear never true, so both have 0.
    assert got["f1"] == got["precision"] == got["recall"] == pytest.approx(1 / 3)
    assert got["micro_f1"] == pytest.approx(2 / 3)
    assert got["samples_f1"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    # Of row 1, joy is first and anger third: (1 + 2/3) / 2.
    assert got["label_ranking_average_precision"] == pytest.approx((1 + 5 / 6 + 1) / 3)
    assert got["hamming_loss"] == pytest.approx(2 / 9)
    of_the_true = (0.9, 0.8, 0.9, 0.8, 0.4, 0.4, 0.7, 0.9, 0.8)
    assert got["loss"] == pytest.approx(-sum(map(math.log, of_the_true)) / 9)
    # No row has fear, so the areas are those of joy and anger, which order their rows without fault.
    assert got["roc_auc"] == got["average_precision"] == 1.0


def test_figures_equal_scikit_learn() -> None:
    shares, targets = draw()
    names = [f"class {number}" for number in range(5)]
    thresholds = (0.3, 0.4, 0.5, 0.6, 0.7)
    guess = multilabel.decided(shares, thresholds)
    got = multilabel.evaluate(shares, targets, names, thresholds)
    assert got["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(targets, guess))
    assert got["f1"] == pytest.approx(sklearn.metrics.f1_score(targets, guess, average="macro"))
    assert got["precision"] == pytest.approx(sklearn.metrics.precision_score(targets, guess, average="macro"))
    assert got["recall"] == pytest.approx(sklearn.metrics.recall_score(targets, guess, average="macro"))
    assert got["micro_f1"] == pytest.approx(sklearn.metrics.f1_score(targets, guess, average="micro"))
    samples = sklearn.metrics.f1_score(targets, guess, average="samples", zero_division=1.0)
    assert got["samples_f1"] == pytest.approx(samples)
    ranking = sklearn.metrics.label_ranking_average_precision_score(targets, shares)
    assert got["label_ranking_average_precision"] == pytest.approx(ranking)
    assert got["hamming_loss"] == pytest.approx(sklearn.metrics.hamming_loss(targets, guess))
    assert got["loss"] == pytest.approx(sklearn.metrics.log_loss(targets.ravel(), shares.ravel()))
    assert got["roc_auc"] == pytest.approx(sklearn.metrics.roc_auc_score(targets, shares, average="macro"))
    precision = sklearn.metrics.average_precision_score(targets, shares, average="macro")
    assert got["average_precision"] == pytest.approx(precision)
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert got["f1"] < got["micro_f1"]


def test_one_class_alone_is_a_class_too() -> None:
    """Its figures are those that the two-class ones give, except that a row may have no class at all."""
    shares, targets = draw(classes=2)
    shares, targets = shares[:, 1:], targets[:, 1:]
    got = multilabel.evaluate(shares, targets, NAMES[:1], (0.4,))
    both = metrics.evaluate(np.concatenate([1 - shares, shares], axis=1), targets[:, 0], ("no", "yes"), 0.4)
    same = ("rows", "accuracy", "accuracy_low", "accuracy_high", "f1", "precision", "recall", "loss", "roc_auc")
    assert {name: got[name] for name in same} == pytest.approx({name: both[name] for name in same})
    assert got["micro_f1"] == got["f1"]
    assert got["samples_f1"] == got["accuracy"] == pytest.approx(1 - got["hamming_loss"])


def test_a_class_that_occurs_nowhere_is_left_out_of_the_average() -> None:
    targets = np.array([[1, 0, 0], [1, 1, 0]])
    got = multilabel.evaluate(targets * 0.8 + 0.1, targets, NAMES, HALVES)
    assert got["f1"] == got["precision"] == got["recall"] == 1.0
    # Only anger has both kinds of rows.
    assert got["roc_auc"] == 1.0


def test_no_class_anywhere() -> None:
    got = multilabel.evaluate(SHARES / 2, np.zeros_like(TARGETS), NAMES, HALVES)
    assert got["accuracy"] == got["samples_f1"] == 1.0
    assert got["f1"] == got["micro_f1"] == 0.0
    assert not {"roc_auc", "average_precision"} & set(got)


def test_probabilities_of_zero_and_one_give_a_finite_loss() -> None:
    assert 700 < multilabel.evaluate(np.zeros((1, 1)), [[1]], ("a",), (0.5,))["loss"] < 710
    assert 36 < multilabel.evaluate(np.ones((1, 1)), [[0]], ("a",), (0.5,))["loss"] < 37
    assert multilabel.evaluate(np.eye(2), np.eye(2, dtype=int), ("a", "b"), (0.5, 0.5))["loss"] < 1e-15


def test_a_row_on_its_threshold_has_the_class() -> None:
    got = multilabel.decided(np.array([[0.3, 0.3, 0.3]]), (0.2, 0.3, 0.4))
    assert got.dtype == np.int64
    assert got.tolist() == [[1, 1, 0]]


def test_tuned_thresholds_are_those_of_each_class() -> None:
    shares, targets = draw()
    tuned = multilabel.tune_thresholds(shares, targets)
    assert tuned == tuple(
        metrics.tune_threshold(np.stack([1 - shares[:, column], shares[:, column]], axis=1), targets[:, column])
        for column in range(5)
    )
    names = list("abcde")
    halves = multilabel.evaluate(shares, targets, names, (0.5,) * 5)
    assert multilabel.evaluate(shares, targets, names, tuned)["f1"] > halves["f1"]
    assert multilabel.tune_thresholds(SHARES, TARGETS)[2] == 0.5


def test_table_by_hand() -> None:
    table = multilabel.class_table(TARGETS, multilabel.decided(SHARES, HALVES), NAMES)
    assert table == [
        {"label": "joy", "precision": 1.0, "recall": 1.0, "f1": 1.0, "rows": 2, "predicted": 2},
        {"label": "anger", "precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 1, "predicted": 0},
        {"label": "fear", "precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 0, "predicted": 1},
    ]
    assert multilabel.class_table([[1], [0]], [[1], [1]], ("a",))[0]["precision"] == 0.5


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        (np.zeros((0, 3), int), DataError, "no row to evaluate"),
        (TARGETS[:2], ZooError, r"probabilities have the shape \[3, 3\], expected \[2, 3\]"),
        (TARGETS[:, 0], ZooError, r"targets have the shape \[3\], expected \[3, 3\]"),
        (TARGETS * 1.0, DataError, "targets are float64, expected whole numbers"),
        (TARGETS * 2, DataError, r"row 0 has the target 2 for the class '(joy|0)', expected 0 or 1.* \(3 such"),
        (-TARGETS, DataError, "row 0 has the target -1"),
    ],
)
def test_what_is_refused(targets: multilabel.Labels, error: type[ZooError], message: str) -> None:
    with pytest.raises(error, match=message):
        multilabel.evaluate(SHARES, targets, NAMES, HALVES)
    with pytest.raises(error, match=message):
        multilabel.tune_thresholds(SHARES, targets)


def test_one_threshold_is_not_for_all_classes() -> None:
    with pytest.raises(ZooError, match=r"\[3, 3\], expected \[rows, 1\]"):
        multilabel.evaluate(SHARES, TARGETS, NAMES, (0.5,))
