"""By how much each class counts in the loss, as a recipe's `training.class_weights` says.

In come a task with its names and the targets of train; out comes a weight a name. Refused: names that the task does not
have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.errors import RecipeError
from zoo.recipe.faults import not_among
from zoo.tasks.task import Task

__all__ = ["class_weights", "flagged", "refuse_unknown"]


def flagged(task: Task) -> bool:
    """Whether each output decides on a class by itself, so that a text may have several."""
    return task.activation == "sigmoid" and task.target.ndim > 0


def refuse_unknown(asked: Mapping[str, float] | Literal["balanced"] | None, task: Task) -> None:
    """RecipeError for weights of classes that the task does not have."""
    for name in asked if isinstance(asked, Mapping) else ():
        if name not in task.names:
            raise RecipeError(f"training.class_weights: {not_among(name, task.names)}")


def class_weights(asked: Mapping[str, float] | Literal["balanced"], task: Task, targets: Any) -> NDArray[np.float64]:
    """The weight of each class, [names]; of a task whose texts may have several that of the rows with it.

    Args:
        asked: `balanced` weighs a class by rows / (classes * its rows) as scikit-learn's compute_class_weight does,
            over the classes that occur, and where texts may have several by the rows without it / those with it; a
            class that has none, or all, keeps 1. Else a weight by name, 1 for the others.
        task: with its names.
        targets: of train.
    """
    if isinstance(asked, Mapping):
        return np.array([asked.get(name, 1.0) for name in task.names])
    counts = np.array(task.account({"train": targets})["label_counts"]["train"], np.float64)
    rows, there = (len(targets), counts) if flagged(task) else (counts.sum(), counts)
    with np.errstate(divide="ignore"):
        found = (rows - there) / there if flagged(task) else rows / ((there > 0).sum() * there)
    return np.where((there > 0) & (found > 0), found, 1.0)
