"""What is learned: a file a task, from targets to loss, predictions and figures.

The loop, the recorder, predictions, exports and explanations know a task by `Task` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoo.models.saved import ModelCard
from zoo.recipe import Recipe
from zoo.recipe.types import BinaryHead, ClassifierHead
from zoo.tasks.classification import Classification
from zoo.tasks.task import Task

__all__ = ["Task", "task_of", "task_of_card"]


def task_of(recipe: Recipe, names: Sequence[str]) -> Task:
    """The task of a recipe on data with these classes."""
    head = recipe.model.head
    threshold = head.threshold if isinstance(head, BinaryHead) else None
    return _classification(head, names, threshold)


def task_of_card(card: ModelCard) -> Task:
    """The task of a finished model, with what its validation split has decided."""
    return _classification(card.blueprint.head, card.label_names, card.threshold)


def _classification(
    head: ClassifierHead | BinaryHead, names: Sequence[str], threshold: float | str | None
) -> Classification:
    tuned = threshold == "tune"
    return Classification(
        names=tuple(names),
        head=head.type,
        threshold=None if tuned or threshold is None else float(threshold),
        to_tune=tuned,
    )
