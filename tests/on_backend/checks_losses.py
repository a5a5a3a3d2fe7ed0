"""What a recipe says of losses, against torch's, formulas in NumPy and gradients of a step."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import Stepped, nano_recipe, stepped, task_with
from scipy.special import expit, log_expit, log_softmax, softmax

import zoo
from zoo.backend import Backend
from zoo.data.batches import Batch
from zoo.models import inference
from zoo.recipe.heads import BinaryHead, ClassifierHead, Head, MultilabelHead, TokensHead
from zoo.recipe.learning import Focal, LabelSmoothing
from zoo.tasks.objective import Objective, objective
from zoo.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("backend")

NAMES = ("a", "b", "c")


def task_of_three(head: Head) -> Any:
    """Of a binary head, which has two classes, it is of those."""
    thresholds: Any = (0.5,) * 3 if head.type == "multilabel" else None
    return task_with(head, NAMES[: 2 if head.type == "binary" else 3], thresholds)


def value(loss: Any, *arrays: np.ndarray) -> float:
    """The mean loss of logits, labels and row weights, with the count that the host gives for them."""
    from keras import ops

    total, count = map(inference.to_host, loss.loss(*map(ops.convert_to_tensor, arrays)))
    assert loss.counted(*arrays[1:]) == pytest.approx(float(count))
    return float(total / count)


@pytest.mark.parametrize("head", [TokensHead(), MultilabelHead()])
def test_classes_weigh_as_torch_has_them(references: Path, head: Head) -> None:
    found = np.load(references / "losses.npz")
    task, given = task_of_three(head), [found[f"{head.type}_{what}"] for what in ("logits", "labels")]
    weighed = objective(task, None, found["class_weights"])
    assert isinstance(weighed, Objective)
    expected = float(found[f"{head.type}_weighted_loss"])
    assert value(weighed, *given, found["weights"]) == pytest.approx(expected, rel=1e-5)
    assert value(task, *given, found["weights"]) != pytest.approx(expected, rel=1e-2)
    # What is told beside the loss counts all alike.
    hits = weighed.hits(*given, found["weights"])
    assert weighed.means(hits, 1.0) == task.means(
        task.hits(*given, found["weights"]), task.counted(given[1], found["weights"])
    )


HEADS = (ClassifierHead(), BinaryHead(), MultilabelHead(), TokensHead())


def by_formula(head: Head, logits: np.ndarray, labels: np.ndarray, asked: LabelSmoothing | Focal) -> np.ndarray:
    """What each row (or word) costs by the papers' formulas, in float64; 0 where a word has no label."""
    logits = logits.astype(np.float64)
    if head.type in ("classifier", "tokens"):
        shares = softmax(logits, axis=-1)
        own = np.eye(logits.shape[-1])[labels]
        if isinstance(asked, LabelSmoothing):
            soft = (1 - asked.smoothing) * own + asked.smoothing / logits.shape[-1]
            return -(soft * log_softmax(logits, axis=-1)).sum(axis=-1) * (labels >= 0)
        lacking = (shares * (1 - own)).sum(axis=-1)
        return -(lacking**asked.gamma) * (log_softmax(logits, axis=-1) * own).sum(axis=-1) * (labels >= 0)
    flags = labels.reshape(logits.shape)
    if isinstance(asked, LabelSmoothing):
        soft = (1 - asked.smoothing) * flags + asked.smoothing / 2
        return -(soft * log_expit(logits) + (1 - soft) * log_expit(-logits)).mean(axis=-1)
    towards = np.where(flags == 1, logits, -logits)
    return -(expit(-towards) ** asked.gamma * log_expit(towards)).mean(axis=-1)


@pytest.mark.parametrize("asked", [LabelSmoothing(smoothing=0.3), Focal(gamma=0.5), Focal(gamma=2.0)])
@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.type)
def test_a_loss_is_its_formula(references: Path, head: Head, asked: LabelSmoothing | Focal) -> None:
    found = np.load(references / "losses.npz")
    logits, labels = (found[f"{head.type}_{what}"] for what in ("logits", "labels"))
    task = task_of_three(head)
    each = by_formula(head, logits, labels, asked)
    for weights in (found["weights"], np.where(np.arange(8) < 2, 0, found["weights"])):  # with rows that are extreme
        counts = np.broadcast_to(weights.reshape(-1, *[1] * (each.ndim - 1)), each.shape)
        counts = counts * (labels >= 0) if head.type == "tokens" else counts
        got = value(objective(task, asked, None), logits, labels, weights)
        assert got == pytest.approx((each * counts).sum() / counts.sum(), rel=1e-5)
    assert got != pytest.approx(value(task, logits, labels, weights), rel=1e-3)
    if isinstance(asked, LabelSmoothing) and f"{head.type}_smoothed_loss" in found:
        whole = value(objective(task, asked, None), logits, labels, found["weights"])
        assert whole == pytest.approx(float(found[f"{head.type}_smoothed_loss"]), rel=1e-5)


def test_a_sure_row_has_a_gradient(backend: Backend) -> None:
    """And the right one, also where a probability is 1 in float32 and the power has none there."""
    import keras

    given = np.array([[80.0, -80.0, 0.0], [-1.0, 2.0, 0.5], [0.3, 0.1, -3.0], [90.0, 0.0, 0.0]], np.float32)
    labels, asked = np.array([0, 1, 2, 1], np.int32), Focal(gamma=0.5)
    inputs = keras.Input((3,), name="logits")
    layer = keras.layers.Dense(3, use_bias=False, kernel_initializer="identity", name="same")
    model = keras.Model({"logits": inputs}, layer(inputs))
    batch = Batch(inputs={"logits": given}, labels=labels, weights=np.ones(4, np.float32), rows=np.arange(4), tokens=4)
    found = stepped(backend, model, objective(task_of_three(ClassifierHead()), asked, None), batch).gradient

    def mean(kernel: np.ndarray) -> float:
        return float(by_formula(ClassifierHead(), given @ kernel, labels, asked).mean())

    for place in np.ndindex(3, 3):
        step = np.zeros((3, 3))
        step[place] = 1e-5
        slope = (mean(np.eye(3) + step) - mean(np.eye(3) - step)) / 2e-5
        assert found["same/kernel"][place] == pytest.approx(slope, rel=1e-3, abs=1e-4)


@pytest.mark.at_times
def test_a_class_moves_the_gradient_by_its_weight(backend: Backend, references: Path) -> None:
    """Through a session: rows of each class alone have its share of the gradient, filling rows none."""
    found = np.load(references / "losses.npz")
    shares = found["class_weights"]
    given = [found[f"classifier_{what}"] for what in ("logits", "labels")]
    weights = found["weights"] * shares[given[1]]
    expected = float(found["classifier_weighted_loss"])
    assert value(task_of_three(ClassifierHead()), *given, weights) == pytest.approx(expected, rel=1e-5)

    declared = {"negative": 0.5, "positive": 3.0}
    changes = {"model.backbone.dropout": 0.0, "model.head.dropout": 0.0, "training.class_weights": declared}
    session = prepare(nano_recipe(changes), backend=backend)
    assert session.class_weights is not None
    assert session.class_weights.tolist() == [*declared.values()]
    batch = next(session.epoch_batches(0))
    batch = replace(batch, weights=np.concatenate([batch.weights[:-3], np.zeros(3, np.float32)]))
    plain = replace(batch, weights=(batch.weights > 0).astype(np.float32))
    mixed = stepped(backend, session.model, session.task, batch)

    def alone(number: int) -> tuple[float, Stepped]:
        """So many rows of one class, and their gradient where nothing is weighed."""
        own = plain.weights * (plain.labels == number)
        return float(own.sum()), stepped(backend, session.model, session.task, replace(plain, weights=own))

    parts = [(share, *alone(number)) for number, share in enumerate(declared.values())]
    whole = sum(share * rows for share, rows, _ in parts)
    for path, gradient in mixed.gradient.items():
        by_hand = sum(share * rows * part.gradient[path] for share, rows, part in parts) / whole
        np.testing.assert_allclose(gradient, by_hand, atol=1e-6)
    unweighed = stepped(backend, session.model, session.task, plain)
    assert max(np.abs(mixed.gradient[path] - own).max() for path, own in unweighed.gradient.items()) > 1e-3


def test_weights_multiply(backend: Backend, tmp_path: Path) -> None:
    """Of the class, of the row and of a text's windows; what is told counts each text once."""
    texts = [f"{'good film ' * (1 + row % 3 * 8)}{row}" for row in range(24)]
    shares = [0.25 * (1 + row) for row in range(24)]
    rows = (f"{text},{row % 2},{share}" for row, (text, share) in enumerate(zip(texts, shares, strict=True)))
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,share", *rows]))
    files = {"train": str(tmp_path / "rows.csv"), "weight": "share", "label_names": ["no", "yes"]}
    changes = {"tokens": {"max_length": 16, "long": "window"}, "training.batch_size": 8}
    declared = {"training.class_weights": {"no": 3.0}}
    session = prepare(nano_recipe({"data": {"files": files}, **changes, **declared}), backend=backend)
    table, train = session.tables["train"], session.splits["train"]
    assert table.windowed
    seen = set()
    for batch in session.epoch_batches(0):
        owners = table.owners[batch.rows]
        of_rows = [shares[int(train.texts[owner].rsplit(" ", 1)[1])] for owner in owners]
        of_classes = np.where(train.labels[owners] == 0, 3.0, 1.0)
        expected = of_rows * of_classes / table.windows[owners]
        np.testing.assert_allclose(batch.weights[: len(owners)], expected, rtol=1e-6)
        assert not batch.weights[len(owners) :].any()
        seen.update(owners.tolist())
    assert seen == set(range(len(train)))
    told = session._told_by
    assert told is not None
    np.testing.assert_allclose(np.bincount(table.owners, told), 1.0, rtol=1e-6)


@pytest.mark.parametrize("packing", [False, True])
def test_drawn_rows_are_those_of_the_epochs(backend: Backend, tmp_path: Path, packing: bool) -> None:
    """In as many steps as are planned, also packed, and counted."""
    lines = (f"text number {row},{'bad' if row % 6 == 0 else 'good'}" for row in range(90))
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *lines]))
    changes = {"training.batch_size": 16, "training.packing": packing, "training.resample": {"type": "over"}}
    recipe = nano_recipe({"data": {"files": {"train": str(tmp_path / "rows.csv")}}, **changes})
    session = prepare(recipe, backend=backend)
    train, drawn = session.splits["train"], session.drawn
    assert drawn is not None
    assert drawn.tolist() == [np.bincount(train.labels).max()] * 2
    for epoch in range(2):
        batches = list(session.epoch_batches(epoch))
        rows = np.concatenate([batch.rows for batch in batches])
        assert np.bincount(train.labels[rows]).tolist() == drawn.tolist()
        assert len(batches) == session._length.steps_per_epoch
        assert len(set(rows.tolist())) == len(train)
        for batch in batches:
            np.testing.assert_array_equal(batch.labels[: len(batch.rows)], train.labels[batch.rows])


def noisy_rows(path: Path, rows: int = 240) -> Path:
    """Texts whose first word tells the class in four of five rows."""
    random = np.random.default_rng(3)
    wrong = random.random(rows) < 0.2
    lines = (
        f"a {('bad', 'good')[row % 2]} film number {row},{('no', 'yes')[row % 2 ^ int(wrong[row])]}"
        for row in range(rows)
    )
    path.write_text("\n".join(["text,label", *lines]))
    return path


@pytest.mark.at_times
@pytest.mark.usefixtures("unpainted")
def test_a_calibrated_model_says_it_by_itself(tmp_path: Path) -> None:
    """What is saved has the temperature: least loss on validation, the same predictions, and figures of both."""
    rows = noisy_rows(tmp_path / "rows.csv")
    changes = {
        "data": {"files": {"train": str(rows)}, "validation": {"fraction": 0.3}},
        "training": {"epochs": 4, "batch_size": 16, "optimizer": {"learning_rate": 0.02}, "precision": "float32"},
    }
    recipe = nano_recipe(changes)
    plain = zoo.train(recipe, out=tmp_path / "plain", progress=False)
    run = zoo.train(recipe.override({"training.calibrate": "temperature"}), out=tmp_path / "run", progress=False)
    found = run.folder.run["calibration"]
    assert found["note"] is None
    assert abs(math.log(found["temperature"])) > 0.05
    assert plain.folder.run["calibration"] is None
    texts = [f"a {word} film number {row}" for row in range(20) for word in ("good", "bad")]
    before, after = (np.log(each.probabilities(texts)) for each in (plain, run))
    apart = (before[:, 1] - before[:, 0]) / (after[:, 1] - after[:, 0])
    np.testing.assert_allclose(apart, found["temperature"], rtol=1e-3)
    for split in ("validation", "test"):
        assert found[split]["before"]["loss"] == pytest.approx(plain.metrics[split]["loss"], rel=1e-5)
        assert found[split]["after"]["loss"] == pytest.approx(run.metrics[split]["loss"], rel=1e-5)
        assert run.metrics[split]["accuracy"] == plain.metrics[split]["accuracy"]
    assert found["validation"]["after"]["loss"] < found["validation"]["before"]["loss"]
    assert "temperature scaling" in (run.path / "report.html").read_text()
