"""Every pair of strategies that go together trains a step; every other pair is refused with a reason."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from nano import nano_recipe

from zoo.backend import Backend
from zoo.data.dataset import load_dataset
from zoo.errors import RecipeError
from zoo.models import inference
from zoo.training.prepare import prepare

pytestmark = pytest.mark.usefixtures("backend")

STRATEGIES: dict[str, dict[str, Any]] = {
    "freeze": {"training.freeze": {"embeddings": True}},
    "unfreeze": {"training.unfreeze": {}},
    "biases": {"training.train": "biases"},
    "lora": {"training.lora": {"rank": 2}},
    "ema": {"training.average": {"type": "ema"}},
    "last": {"training.average": {"type": "last"}},
    "layer_decay": {"training.optimizer.layer_decay": 0.9},
    "head_rate": {"training.optimizer.head_rate": 1e-3},
    "one_cycle": {"training.schedule": {"type": "one_cycle"}},
    "smoothing": {"training.loss": {"type": "label_smoothing"}},
    "class_weights": {"training.class_weights": "balanced"},
    "resample": {"training.resample": {"type": "over"}},
    "adversarial": {"training.adversarial": {}},
    "r_drop": {"training.r_drop": {}},
    "mixup": {"training.mixup": {}},
    "calibrate": {"training.calibrate": "temperature"},
    "pairs": {"task": "contrastive"},
    "stop": {"training.stop": {"tokens": 10**6}},
    "early_stopping": {"training.early_stopping": {}},
    "accumulate": {"training.accumulate": 2},
    "packing": {"training.packing": True},
    "remat": {"training.remat": True},
    "windows": {"tokens": {"max_length": 16, "long": "window"}},
    "native": {"training.dropout_masks": "native"},
    "bfloat16": {"training.precision": "bfloat16"},
    "few_shot": {"data.few_shot": {"rows": 8, "draw": 2}},
    "folds": {"data.folds": 2, "data.fold": 1},
    "augment": {"data.augment": {"swap": 0.1, "mask": 0.1}},
}
WITHOUT_CLASSES = ("smoothing", "class_weights", "resample", "calibrate", "head_rate", "unfreeze", "r_drop", "mixup")
"""What does not go with embeddings and pairs of a batch, which have neither classes nor a head to train."""
REFUSED = {
    *((name, "pairs") for name in STRATEGIES if name in WITHOUT_CLASSES),
    *(("pairs", name) for name in ("accumulate", "packing", "windows")),
    ("accumulate", "packing"),
    ("class_weights", "resample"),
    ("few_shot", "folds"),
    ("remat", "native"),
    ("resample", "windows"),
}
"""Pairs that contradict each other."""
ONE_KEY = ("ema", "last")
"""Values of one key, which are never beside each other."""
OPTIMIZERS = ("adam", "sgd", "lion", "lamb", "adafactor", "muon")
PAIRS = [pair for pair in combinations(STRATEGIES, 2) if pair not in {*REFUSED, ONE_KEY}]


def first_loss(backend: Backend, data: Any, changes: dict[str, Any]) -> float:
    """The loss of the second step: what the first one left is finite."""
    recipe = nano_recipe({"training.batch_size": 8, **changes})
    if recipe.task != data.task.type or any(key.startswith("data.") for key in changes):
        data = load_dataset(recipe)
    session = prepare(recipe, data, backend=backend)
    trainer = session.trainer()
    batch = next(iter(session.epoch_batches(0)))
    for _ in range(2):
        value, _ = trainer.step(batch.inputs, batch.labels, batch.weights)
    return float(inference.to_host(value))


@pytest.fixture(scope="module")
def data() -> Any:
    return load_dataset(nano_recipe())


def test_pairs_train(backend: Backend, data: Any) -> None:
    wrong = []
    for one, two in PAIRS:
        loss = first_loss(backend, data, {**STRATEGIES[one], **STRATEGIES[two]})
        if not np.isfinite(loss):
            wrong.append((one, two, loss))
    assert wrong == []


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimizers_train_with_each(backend: Backend, data: Any, kind: str) -> None:
    for name, changes in STRATEGIES.items():
        given = {"training.optimizer": {"type": kind}, **changes}
        assert np.isfinite(first_loss(backend, data, given)), name


@pytest.mark.parametrize(("one", "two"), sorted(REFUSED))
def test_pairs_that_contradict_each_other(one: str, two: str) -> None:
    with pytest.raises(RecipeError, match=r"got .*, expected "):
        nano_recipe({**STRATEGIES[one], **STRATEGIES[two]})
