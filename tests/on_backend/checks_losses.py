"""What a recipe says of losses, against torch's, formulas in NumPy and gradients of a step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import Stepped, nano_recipe, stepped, task_with

from zoo.backend import Backend
from zoo.models import inference
from zoo.recipe.heads import ClassifierHead, Head, MultilabelHead, TokensHead
from zoo.tasks.losses import Objective
from zoo.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("backend")

NAMES = ("a", "b", "c")


def task_of_three(head: Head) -> Any:
    return replace(task_with(head, NAMES, (0.5,) * 3 if head.type == "multilabel" else None))


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
    weighed = Objective(task=task, unit_weights=tuple(found["class_weights"].tolist()))
    expected = float(found[f"{head.type}_weighted_loss"])
    assert value(weighed, *given, found["weights"]) == pytest.approx(expected, rel=1e-5)
    assert value(task, *given, found["weights"]) != pytest.approx(expected, rel=1e-2)
    # What is told beside the loss counts all alike.
    hits = weighed.hits(*given, found["weights"])
    assert weighed.means(hits, 1.0) == task.means(
        task.hits(*given, found["weights"]), task.counted(given[1], found["weights"])
    )


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
    assert session.class_weights == declared
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
