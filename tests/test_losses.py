"""What a recipe says of losses, before a backend is there: weights of classes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

from zoo.data.dataset import load_dataset, rows_an_epoch
from zoo.data.mixing import rows_by_class, rows_of_epoch
from zoo.errors import DataError, RecipeError
from zoo.recipe import recipe_from
from zoo.recipe.learning import Focal, Resample
from zoo.score.ragged import Ragged
from zoo.tasks.calibrated import FEWEST, fitted, reliability_of
from zoo.tasks.class_weights import class_weights
from zoo.tasks.classification import Classification
from zoo.tasks.multilabel import Multilabel
from zoo.tasks.objective import objective
from zoo.tasks.thresholds import FEWEST as FEWEST_TO_TUNE
from zoo.tasks.tokens import Tokens

SIZE = {"num_layers": 1, "num_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}


def recipe(changes: dict[str, Any], **groups: Any) -> Any:
    """A recipe of a fresh backbone; `groups` stand beside its model."""
    plain = {
        "name": "own",
        "model": {"backbone": {"family": "bert", **SIZE, "vocabulary": "nano_uncased"}},
        "data": {"dataset": "smoke_reviews"},
        **groups,
    }
    return recipe_from(plain, overrides=changes)


class TestClassWeights:
    def test_balanced_is_scikit_learns(self) -> None:
        labels = np.array([0] * 7 + [1] * 2 + [2], np.int32)
        expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
        task = Classification(names=("a", "b", "c"))
        np.testing.assert_allclose(class_weights("balanced", task, labels), expected)
        words = Ragged.of([[0] * 7, [1, 1, 2]], np.int32)
        np.testing.assert_allclose(class_weights("balanced", Tokens(names=("O", "B-X", "I-X")), words), expected)
        # A tag that train lost to another split has no row to weigh, and the others are as scikit-learn has them.
        found = class_weights("balanced", Tokens(names=("O", "B-X", "I-X", "B-Y")), words)
        np.testing.assert_allclose(found, [*expected, 1.0])

    def test_of_several_classes_rows_with_weigh_as_much_as_rows_without(self) -> None:
        flags = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 1]], np.int32)
        task = Multilabel(names=("a", "b", "c"), threshold=(0.5,) * 3)
        found = class_weights("balanced", task, flags)
        for column in (0, 1):
            without, there = compute_class_weight("balanced", classes=np.arange(2), y=flags[:, column])
            assert found[column] == pytest.approx(there / without)
        assert found[2] == 1.0  # there is no row without it

    def test_by_name(self) -> None:
        task = Classification(names=("a", "b", "c"))
        assert class_weights({"c": 3.0}, task, np.array([0, 1, 2])).tolist() == [1.0, 1.0, 3.0]

    def test_names_that_are_not_there(self) -> None:
        with pytest.raises(RecipeError, match=r'training\.class_weights: got "posative".*did you mean positive'):
            load_dataset(recipe({"training.class_weights": {"posative": 2.0}}))


def weighed_file(folder: Path, weights: list[Any]) -> Path:
    """Rows of two classes with a column `share`; a text says which row it is."""
    path = folder / "rows.csv"
    lines = (f"text number {row},{'good' if row % 3 else 'bad'},{share}" for row, share in enumerate(weights))
    path.write_text("\n".join(["text,label,share", *lines]) + "\n")
    return path


@pytest.mark.parametrize("loss", [None, Focal()])
@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 3.0])])
def test_what_is_trained(loss: Any, weights: Any) -> None:
    """The task itself where nothing is asked for, and where rows are weighed as a whole."""
    flags = Multilabel(names=("a", "b", "c"), threshold=(0.5,) * 3)
    for task in (Classification(names=("a", "b", "c")), flags, Tokens(names=("O", "B-X", "I-X"))):
        found = objective(task, loss, weights)
        units = None if weights is None or task.type == "classification" else (1.0, 2.0, 3.0)
        assert (found is task) == (loss is None and units is None)
        assert getattr(found, "unit_weights", None) == units


class TestSampleWeights:
    def test_they_stay_with_their_rows(self, tmp_path: Path) -> None:
        """Through carving and shuffling; rows of weight 0 are in no split."""
        shares = [0.5 * (row + 1) for row in range(60)]
        shares[4] = shares[31] = 0.0
        files = {"train": str(weighed_file(tmp_path, shares)), "weight": "share"}
        data = load_dataset(recipe({"training.batch_size": 8}, data={"files": files}))
        of_text = {f"text number {row}": share for row, share in enumerate(shares)}
        assert data.train.weights is not None
        assert data.train.weights.tolist() == [of_text[text] for text in data.train.texts]
        assert sum(data.rows.values()) == 58
        assert "train: 2 rows of weight 0 were left out" in data.notes
        other = load_dataset(recipe({"training.batch_size": 8}, data={"files": {**files, "weight": None}}))
        assert other.train.weights is None
        assert other.sha256 != data.sha256

    @pytest.mark.parametrize(
        ("odd", "match"),
        [
            (-1, "line 4: got '-1' in share, expected finite numbers from 0 up"),
            ("much", "line 4: got 'much'"),
            ("", "line 4: got "),
            ("inf", "line 4: got 'inf'"),
        ],
    )
    def test_refused_by_row(self, tmp_path: Path, odd: Any, match: str) -> None:
        path = weighed_file(tmp_path, [1, 1, odd, *[1] * 30])
        with pytest.raises(DataError, match=rf"rows\.csv: train: {match}"):
            load_dataset(recipe({"training.batch_size": 8}, data={"files": {"train": str(path), "weight": "share"}}))

    def test_refused_as_a_whole(self, tmp_path: Path) -> None:
        path = weighed_file(tmp_path, [0] * 30)
        with pytest.raises(DataError, match="all rows have the weight 0 in share"):
            load_dataset(recipe({}, data={"files": {"train": str(path), "weight": "share"}}))
        with pytest.raises(DataError, match="shares"):
            load_dataset(recipe({}, data={"files": {"train": str(path), "weight": "shares"}}))
        with pytest.raises(RecipeError, match=r"data\.files\.weight: got label, a text or label column"):
            recipe({}, data={"files": {"train": str(path), "weight": "label"}})


class TestResample:
    COUNTS = np.array([900, 90, 10, 0])
    LABELS = np.repeat(np.arange(4), COUNTS)[np.random.default_rng(0).permutation(1000)]

    @pytest.mark.parametrize(
        ("kind", "temperature", "expected"),
        [
            ("over", None, [900, 900, 900, 0]),
            ("under", None, [10, 10, 10, 0]),
            ("over", 1.0, [900, 90, 10, 0]),
            ("under", 1.0, [900, 90, 10, 0]),
            # Roots: those of 1/10 and 1/90 are 0.316 and 0.105, of 9 and 90 they are 3 and 9.49.
            ("over", 2.0, [900, 285, 95, 0]),
            ("under", 2.0, [95, 30, 10, 0]),
        ],
    )
    def test_rows_by_class(self, kind: Any, temperature: float | None, expected: list[int]) -> None:
        resample = Resample(type=kind, temperature=temperature)
        assert rows_by_class(self.COUNTS, resample).tolist() == expected
        drawn = rows_of_epoch(self.LABELS, resample, seed=1, epoch=0)
        assert np.bincount(self.LABELS[drawn], minlength=4).tolist() == expected
        np.testing.assert_array_equal(drawn, rows_of_epoch(self.LABELS, resample, seed=1, epoch=0))
        if temperature != 1.0:
            assert set(drawn.tolist()) != set(rows_of_epoch(self.LABELS, resample, seed=1, epoch=1).tolist()) or (
                kind == "over"
            )

    def test_a_small_class_comes_whole_before_a_row_comes_again(self) -> None:
        over = np.bincount(rows_of_epoch(self.LABELS, Resample(), seed=1, epoch=0), minlength=1000)
        for label in (0, 1, 2):
            own = over[label == self.LABELS]
            assert own.max() - own.min() <= 1

    def test_an_epoch_is_as_long_as_what_is_drawn(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the quarter of the rows that are bad as many as of the others; a run of too many steps is refused so."""
        path = weighed_file(tmp_path, [1] * 60)
        plain = recipe({"training.batch_size": 8}, data={"files": {"train": str(path)}})
        data, counts = load_dataset(plain), np.bincount(load_dataset(plain).train.labels)
        assert rows_an_epoch(data.train, plain) == counts.sum()
        for kind, count in (("over", counts.max()), ("under", counts.min())):
            drawn = plain.override({"training.resample": {"type": kind}})
            assert rows_an_epoch(data.train, drawn) == 2 * count
        most = plain.override({"training.batch_size": 1, "training.epochs": 10})
        monkeypatch.setattr("zoo.recipe.length.MAX_STEPS", 10 * int(counts.sum()))
        load_dataset(most)
        over = most.override({"training.resample": {"type": "over"}})
        with pytest.raises(RecipeError, match=r"training\.epochs"):
            load_dataset(over)


class TestTemperature:
    """Outputs that are two and a half times as far apart as they ought to be."""

    RANDOM = np.random.default_rng(5)
    RIGHT = RANDOM.normal(size=(4000, 3)) * 2.0
    DRAWN = (RIGHT + RANDOM.gumbel(size=RIGHT.shape)).argmax(axis=1)
    FLAGS = (RANDOM.random(RIGHT.shape) < expit(RIGHT)).astype(np.int32)
    CASES = (
        (Classification(names=("a", "b", "c")), RIGHT, DRAWN),
        (Classification(names=("a", "b"), head="binary"), RIGHT[:, :1], FLAGS[:, 0]),
        (Multilabel(names=("a", "b", "c"), threshold=(0.5,) * 3), RIGHT, FLAGS),
    )

    @pytest.mark.parametrize(("task", "right", "targets"), CASES)
    def test_it_is_that_of_an_independent_fit(self, task: Any, right: np.ndarray, targets: np.ndarray) -> None:
        """A logistic regression on the outputs has their factor as its one coefficient."""
        outputs = 2.5 * right
        found = fitted(task, outputs, targets)
        assert found.value == pytest.approx(2.5, rel=0.05)
        if right.shape[1] == 3 and task.type == "classification":  # of two classes at a time
            slopes = minimize(lambda x: -log_softmax(outputs * x[0], axis=1)[np.arange(4000), targets].mean(), [0.3])
            factor = slopes.x[0]
        else:
            both = LogisticRegression(C=np.inf, fit_intercept=False).fit(outputs.reshape(-1, 1), targets.ravel())
            factor = both.coef_[0, 0]
        assert found.value == pytest.approx(1.0 / factor, rel=2e-3)
        before, after = (reliability_of(task, each, targets) for each in (outputs, outputs / found.value))
        figures = task.figures(task.values(outputs), targets)
        assert before["loss"] == pytest.approx(figures["loss"])
        assert all(after[name] < before[name] for name in before)
        np.testing.assert_array_equal(
            task.decided(task.values(outputs)), task.decided(task.values(outputs / found.value))
        )
        again = fitted(task, outputs / found.value, targets)
        assert again.value == pytest.approx(1.0, abs=1e-3)

    def test_it_is_left_alone(self) -> None:
        """Of too few rows; and where it would be without an end, as of validation that is all right."""
        task, right, targets = self.CASES[0]
        few = fitted(task, 2.5 * right[: FEWEST - 1], targets[: FEWEST - 1])
        assert few.value == 1.0
        assert "fewer than 50" in str(few.note)
        sure = fitted(task, right, right.argmax(axis=1))
        assert sure.value == 1.0
        assert "below 0.05" in str(sure.note)
        nothing = fitted(task, 50.0 * self.RANDOM.normal(size=right.shape), targets)
        assert nothing.value == 1.0
        assert "above 20" in str(nothing.note)
        assert fitted(task, right, targets).note is None


@pytest.mark.parametrize("positives", [FEWEST_TO_TUNE - 1, FEWEST_TO_TUNE])
def test_a_threshold_is_tuned_where_enough_rows_speak_for_it(positives: int) -> None:
    """The best one is 0.2 here; of rows one too few it is 0.5, and nothing says that it was tuned."""
    task = Classification(names=("no", "yes"), head="binary", to_tune=True)
    targets = np.repeat([0, 1], [300, positives])
    shares = np.repeat([0.1, 0.3], [300, positives])
    found = task.tuned(np.stack([1 - shares, shares], axis=1), targets)
    if positives < FEWEST_TO_TUNE:
        assert found.threshold == 0.5
        assert "the threshold of yes stays at 0.5" in str(task.untuned(targets))
        assert "20 rows with it" in str(task.untuned(targets))
        assert not any("tuned" in limit for limit in found.limits)
    else:
        assert found.threshold == pytest.approx(0.2)
        assert task.untuned(targets) is None
        assert any("tuned" in limit for limit in found.limits)
    given = Classification(names=("no", "yes"), head="binary", threshold=0.7)
    assert given.untuned(targets) is None
    assert given.tuned(np.stack([1 - shares, shares], axis=1), targets) is given


SEVERAL = {
    name: {"task": "classification", "data": {"dataset": data}}
    for name, data in (("films", "smoke_films"), ("reviews", "smoke_reviews"))
}


@pytest.mark.parametrize(
    ("changes", "groups", "match"),
    [
        ({"training.class_weights": "balance"}, {}, r"training\.class_weights: got \"balance\", expected balanced"),
        ({"training.class_weights": {"a": -1.0}}, {}, r"training\.class_weights\.a: got -1"),
        ({"training.class_weights": {}}, {}, r"training\.class_weights"),
        (
            {"training.loss": {"type": "focal"}},
            {"task": "regression", "data": {"dataset": "smoke_stars"}},
            "got focal, expected null with head regression: its loss is not the cross-entropy of classes",
        ),
        (
            {"training.loss": {"smoothing": 0.1}},
            {"task": "masked"},
            "got label_smoothing, expected null with head masked",
        ),
        ({"training.loss": {"smoothing": 1.0}}, {}, r"training\.loss\.smoothing: got 1"),
        (
            {"training.resample": {"type": "over"}, "training.class_weights": "balanced"},
            {},
            r"training\.class_weights: got balanced beside resample: over, expected one of the two",
        ),
        (
            {"training.resample": {"type": "under"}, "tokens.long": "window"},
            {},
            r"training\.resample: got under beside tokens\.long: window, expected null",
        ),
        (
            {"training.resample": {"type": "under"}},
            {"task": "multilabel", "data": {"dataset": "smoke_feelings"}},
            "expected null with head multilabel: a text may have several classes",
        ),
        ({"training.resample": {}}, {"tasks": SEVERAL, "data": {}}, "head joint: `sampling` says how many"),
        (
            {"training.calibrate": "temperature"},
            {"task": "tokens", "data": {"dataset": "smoke_names"}},
            "expected null with head tokens: words are not calibrated",
        ),
        (
            {"training.calibrate": "temperature"},
            {"task": "regression", "data": {"dataset": "smoke_stars"}},
            "expected null with head regression: it has no probabilities of classes",
        ),
        (
            {"training.class_weights": "balanced"},
            {"task": "regression", "data": {"dataset": "smoke_stars"}},
            "got balanced, expected null with head regression: it has no classes to weigh",
        ),
        (
            {"training.r_drop": {}},
            {"task": "regression", "data": {"dataset": "smoke_stars"}},
            r"training\.r_drop: got weight 1, expected null with head regression: its outputs are no scores",
        ),
        ({"training.r_drop": {}}, {"tasks": SEVERAL, "data": {}}, "with head joint: outputs of several tasks are"),
        (
            {"training.mixup": {}},
            {"task": "tokens", "data": {"dataset": "smoke_names"}},
            r"training\.mixup: got alpha 0\.2, expected null with head tokens: its texts are no one vector",
        ),
        ({"training.mixup": {}}, {"tasks": SEVERAL, "data": {}}, "head joint: a text of one task has no label of"),
        ({"training.mixup": {}, "training.batch_size": 1}, {}, "got alpha 0.2, expected null with batch_size: 1"),
        (
            {"training.mixup": {}, "training.batch_size": 12, "training.accumulate": 4},
            {},
            r"training\.accumulate: got 4 beside mixup, expected parts of an even number of rows, not 3",
        ),
        (
            {"training.mixup": {}, "training.batch_size": 9, "training.accumulate": "auto"},
            {},
            r"training\.accumulate: got auto beside mixup and batch_size: 9, expected an even one",
        ),
        (
            {"training.r_drop": {}, "model.backbone.dropout": 0.0, "model.head.dropout": 0.0},
            {},
            "expected null with model.backbone.dropout: 0 and model.head.dropout: 0: where nothing is dropped",
        ),
        (
            {"training.class_weights": {"films.positive": 2.0}},
            {"tasks": SEVERAL, "data": {}},
            "expected null with head joint: each of `tasks` has",
        ),
    ],
)
def test_refused(changes: dict[str, Any], groups: dict[str, Any], match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        recipe(changes, **groups)
