"""What is learned: a file a task, from labels to targets, loss, predictions, figures and what is shown of them.

All others know a task by `Task` alone. A task is added by its file, an entry in TASKS, and its head in
zoo.recipe.heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, TypeAdapter

from zoo.recipe.heads import Head
from zoo.tasks.classification import Classification
from zoo.tasks.contrastive import Contrastive
from zoo.tasks.joint import Joint
from zoo.tasks.masked import Masked
from zoo.tasks.material import Stated
from zoo.tasks.multilabel import Multilabel
from zoo.tasks.prediction import Prediction, Predictions
from zoo.tasks.regression import Regression
from zoo.tasks.span import Span
from zoo.tasks.task import Task
from zoo.tasks.tokens import Tokens

__all__ = [
    "TASKS",
    "AnyTask",
    "Joint",
    "Prediction",
    "Predictions",
    "Stated",
    "Task",
    "dump_task",
    "task_of",
    "task_of_run",
]

if TYPE_CHECKING:
    AnyTask = Task
else:
    AnyTask = Annotated[
        Classification | Multilabel | Regression | Tokens | Span | Masked | Contrastive | Joint,
        Field(discriminator="type"),
    ]
"""One of all tasks, as model.json and run.json have it; told apart by `type`."""


TASKS: Mapping[str, type[Task]] = {
    "classifier": Classification,
    "binary": Classification,
    "multilabel": Multilabel,
    "regression": Regression,
    "tokens": Tokens,
    "span": Span,
    "masked": Masked,
    "contrastive": Contrastive,
}
"""The type of a recipe's head -> its task."""

_ANY: TypeAdapter[Task] = TypeAdapter(AnyTask)


def task_of(head: Head) -> Task:
    """The task of a recipe's head; its names and numbers come with the rows, by `Task.learned`."""
    return TASKS[head.type].of(head)


def dump_task(task: Task) -> dict[str, Any]:
    """The task in plain values, as `task_of_run` reads it."""
    found: dict[str, Any] = _ANY.dump_python(task, mode="json")
    return found


def task_of_run(run: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]] = ()) -> Task:
    """The task of a run, from its run.json; of one that is broken off, a classification of what it says.

    Args:
        run: what run.json holds.
        predictions: rows of predictions.jsonl, which tell the names where run.json does not.
    """
    if "task" in run:
        return _ANY.validate_python(run["task"], strict=False)
    known = run.get("dataset", {}).get("label_names")
    names = known or sorted({row[key] for row in predictions for key in ("label", "prediction")})
    return Classification(names=tuple(names), threshold=run.get("threshold"))
