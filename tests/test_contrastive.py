"""Contrastive fine-tuning: figures of embeddings, batches, rows of predictions.jsonl, and what a recipe may not say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoo.data.coupling import coupled_order
from zoo.errors import RecipeError
from zoo.recipe import recipe_from
from zoo.score import similarity
from zoo.tasks import dump_task, task_of_run
from zoo.tasks.contrastive import Contrastive

RANDOM = np.random.default_rng(0)
CLASSES = np.array([0, 1, 1, 0, 2, 1, 0, 0, 3])


def embeddings(rows: int = 9) -> np.ndarray:
    found = RANDOM.normal(size=(rows, 5))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_figures_are_those_of_all_pairs() -> None:
    given = embeddings()
    cosines, same = given @ given.T, CLASSES[:, None] == CLASSES[None, :]
    apart = ~np.eye(len(given), dtype=bool)
    found = similarity.evaluate(given, CLASSES, 4)
    assert found["same_cosine"] == pytest.approx(cosines[same & apart].mean())
    assert found["other_cosine"] == pytest.approx(cosines[~same].mean())
    losses = ((1 - cosines[same & apart]) ** 2).mean(), (cosines[~same] ** 2).mean()
    assert found["loss"] == pytest.approx(np.mean(losses))
    near = similarity.to_classes(given, CLASSES, 4)
    for row in range(len(given)):
        for number in range(4):
            others = [other for other in range(len(given)) if other != row and CLASSES[other] == number]
            mean = given[others].mean(axis=0) if others else None
            expected = -1.0 if mean is None else given[row] @ mean / np.linalg.norm(mean)
            assert near[row, number] == pytest.approx(expected)
    assert found["accuracy"] == pytest.approx((near.argmax(axis=1) == CLASSES).mean())
    assert "same_cosine" not in similarity.evaluate(given, np.arange(9), 9)


def test_every_row_beside_one_of_its_class() -> None:
    """Of few rows of many classes, of which batches of drawn rows would hardly have two alike."""
    classes = np.repeat(np.arange(40), 4)
    order = coupled_order(classes, repeats=5, batch_size=16, seed=1, epoch=0)
    assert {len(batch) for batch in order} == {16}
    assert np.bincount(np.concatenate(order)).tolist() == [5] * 160
    for batch in order:
        assert np.bincount(classes[batch])[classes[batch]].min() >= 2
    again = coupled_order(classes, repeats=5, batch_size=16, seed=1, epoch=0)
    np.testing.assert_array_equal(order, again)
    assert not np.array_equal(order, coupled_order(classes, repeats=5, batch_size=16, seed=1, epoch=1))
    odd = coupled_order(CLASSES, repeats=1, batch_size=4, seed=0, epoch=0)
    assert sorted(np.concatenate(odd).tolist()) == list(range(9))


def test_rows_are_read_again() -> None:
    task = Contrastive(names=("a", "b", "c", "d"))
    given = embeddings()
    rows = list(task.rows([str(n) for n in range(9)], CLASSES, given))
    assert len(rows[0]["cosines"]) == 4
    targets, near = task_of_run({"task": dump_task(task)}).of_rows(rows)
    np.testing.assert_array_equal(targets, CLASSES)
    assert task.details(targets, near) == task.details(CLASSES, given)
    mistakes = task.mistakes(targets, near, most=20)
    assert task.figures(near, targets)["accuracy"] == task.figures(given, CLASSES)["accuracy"]
    assert mistakes.wrong == sum(row["label"] != row["prediction"] for row in rows) == len(mistakes.worst)
    with pytest.raises(RecipeError, match=r"zoo.predict: got a run of task: contrastive, expected one of another"):
        task.predictions(given)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"training.accumulate": 2}, r"training\.accumulate: got 2, expected 1: the loss is of pairs"),
        ({"training.accumulate": "auto"}, r"training\.accumulate: got auto, expected 1"),
        ({"training.optimizer.head_rate": 1e-3}, r"head_rate: got 0\.001, expected null: this head has no weights"),
        ({"training.unfreeze": {}}, r"training\.unfreeze: got layers that join, expected null"),
        ({"training.freeze": {"layers": "all"}}, r"training\.freeze\.layers: got all, expected a number"),
        ({"training.packing": True}, r"training\.packing: got true, expected false"),
        ({"training.batch_size": 1}, r"training\.batch_size: got 1, expected 2 at least"),
        ({"tokens.long": "window"}, r"tokens\.long: got window, expected cut"),
        ({"training.class_weights": "balanced"}, "pairs of one class and of two weigh alike"),
        ({"training.resample": {}}, "its batches pair rows by class by themselves"),
        ({"training.loss": {"type": "focal"}}, "got focal, expected null with head contrastive"),
        ({"training.calibrate": "temperature"}, "expected null with head contrastive: it has no probabilities"),
        ({"training.distil": {"teacher": "runs/a"}}, "got a teacher, expected null with head contrastive"),
        ({"model.head": {"type": "contrastive", "dropout": 0.1}}, r"dropout: got 0\.1, expected null"),
        ({"model.head": {"type": "contrastive", "init": "preset"}}, r"init: got preset, expected seed"),
    ],
)
def test_refused(changes: dict[str, Any], match: str) -> None:
    backbone = {"family": "bert", "num_layers": 1, "num_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}
    given = {
        "name": "own",
        "task": "contrastive",
        "data": {"dataset": "smoke_films"},
        "model": {"backbone": {**backbone, "vocabulary": "nano_uncased"}},
    }
    with pytest.raises(RecipeError, match=match):
        recipe_from(given, overrides=changes)
