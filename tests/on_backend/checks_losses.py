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
