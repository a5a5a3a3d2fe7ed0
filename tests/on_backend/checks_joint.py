"""A batch of several tasks: one step's loss and gradient are those of its tasks, added up by weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nano import Stepped, stepped

from zoo.backend import Backend
from zoo.data.batches import Batch
from zoo.data.parts import load_parts
from zoo.models import weights
from zoo.recipe import Recipe, recipe_from
from zoo.tasks import Joint
from zoo.training.prepare import build, prepare
from zoo.training.session import Session

pytestmark = pytest.mark.usefixtures("backend")

WEIGHTS = {"films": 1.0, "stars": 0.25, "feelings": 3.0}


def joint_recipe() -> Recipe:
    """A DistilBERT, whose heads have two layers with weights."""
    head = {"dropout": 0.0}
    data = {"films": "smoke_films", "stars": "smoke_stars", "feelings": "smoke_feelings"}
    learned = {"films": "classification", "stars": "regression", "feelings": "multilabel"}
    tasks = {
        name: {"task": learned[name], "data": {"dataset": data[name]}, "head": head, "weight": WEIGHTS[name]}
        for name in data
    }
    size = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    return recipe_from(
        {
            "name": "several",
            "tasks": tasks,
            "sampling": {"type": "equal"},
            "tokens": {"max_length": 16},
            "model": {"backbone": {"family": "distilbert", "vocabulary": "nano_films", "dropout": 0.0, **size}},
            "training": {"precision": "float32", "batch_size": 24},
        }
    )


def alone(backend: Backend, session: Session, name: str, batch: Batch) -> Stepped:
    """The step of one of the tasks by itself, on its rows of the batch, from the same weights."""
    task = session.task
    assert isinstance(task, Joint)
    recipe = session.recipe.of_tasks()[name]
    model = build(recipe, task.tasks[name], load_parts(recipe), backend).model
    shared = {variable.path: weights.to_numpy(variable) for variable in session.model.variables}

    def named(path: str) -> str:
        own = path.replace("/", f">{name}/", 1)
        return own if own in shared else path

    for variable in weights.parameters(model):
        variable.assign(shared[named(variable.path)])
    rows = task.own_rows(batch.labels)[name]
    own_batch = replace(batch, labels=task.own_targets(name, batch.labels).astype(task.tasks[name].target.dtype))
    found = stepped(backend, model, task.tasks[name], own_batch, rows)
    return Stepped(found.loss, {named(key): value for key, value in found.gradient.items()})


def together(session: Session, batch: Batch, parts: dict[str, Stepped]) -> Stepped:
    """What the steps of all tasks come to, by their weights and rows."""
    task = session.task
    assert isinstance(task, Joint)
    counts = {name: WEIGHTS[name] * len(rows) for name, rows in task.own_rows(batch.labels).items()}
    whole = sum(counts.values())
    gradient: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        for key, value in part.gradient.items():
            gradient[key] = gradient.get(key, 0.0) + value * (counts[name] / whole)
    return Stepped(sum(counts[name] * part.loss for name, part in parts.items()) / whole, gradient)


def distance(first: Stepped, second: Stepped) -> float:
    assert first.gradient.keys() == second.gradient.keys()
    off = [float(np.abs(value - second.gradient[key]).max()) for key, value in first.gradient.items()]
    return max(*off, abs(first.loss - second.loss))


@pytest.mark.at_times
def test_a_step_is_that_of_its_tasks_by_weight(backend: Backend) -> None:
    session = prepare(joint_recipe(), backend=backend)
    batch = next(batch for batch in session.epoch_batches(0) if len(np.unique(batch.labels[:, 0])) == 3)
    mixed = stepped(backend, session.model, session.task, batch)
    parts = {name: alone(backend, session, name, batch) for name in WEIGHTS}
    assert distance(mixed, together(session, batch, parts)) < 1e-6
    wrong = Shifted(tasks=session.task.tasks, weights=session.task.weights)  # type: ignore[attr-defined]
    assert distance(stepped(backend, session.model, wrong, batch), together(session, batch, parts)) > 1e-3


class Shifted(Joint):
    """Takes for each task's outputs those that begin one further right."""

    def own_units(self, name: str) -> slice:
        own = super().own_units(name)
        start = min(own.start + 1, self.units - (own.stop - own.start))
        return slice(start, start + own.stop - own.start)
