"""What is trained of a task of classes, where a recipe asks for another loss than its own, or weighs classes.

In comes a task and what the recipe says; out comes what training asks of a task. The loss of validation is none of
these: it is always the task's own, so that runs can be compared. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.recipe.learning import Focal, LabelSmoothing
from zoo.tasks.class_weights import flagged
from zoo.tasks.losses import NOTHING, Form, form_of, owned
from zoo.tasks.task import COUNTED, Task

__all__ = ["OfTask", "Objective", "by_row", "objective"]


@dataclass(frozen=True, kw_only=True)
class OfTask:
    """A task with something in its way to training, which is asked what a task is asked."""

    task: Task

    @property
    def watched(self) -> bool:
        return self.task.watched

    @property
    def falling(self) -> frozenset[str]:
        return self.task.falling


@dataclass(frozen=True, kw_only=True)
class Objective(OfTask):
    """A task of classes as it is trained, where that is not by its own loss: what training asks of a task.

    form: the loss. unit_weights: of each class, by which a word counts, or where a text may have several by which the
    loss of a row that has it does; None counts all alike.
    """

    form: Form
    unit_weights: tuple[float, ...] | None = None

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """The weighted sum of losses and the sum of weights, as torch's CrossEntropyLoss(weight) divides; of flags the
        number of rows, as its BCEWithLogitsLoss(pos_weight). See `Task.loss`."""
        from keras import ops

        by_class = None if self.unit_weights is None else ops.convert_to_tensor(self.unit_weights, outputs.dtype)
        if self.task.activation == "sigmoid":
            flags = ops.cast(targets if len(targets.shape) > 1 else ops.expand_dims(targets, -1), outputs.dtype)
            each = self.form.of_flags(outputs, flags)
            if by_class is not None:
                each = each * (1.0 + (by_class - 1.0) * flags)
            return ops.sum(ops.mean(each, axis=-1) * weights), ops.sum(weights)
        own = owned(targets, outputs.shape[-1])
        counts = weights
        if self.task.each == "token":
            share = targets >= 0 if by_class is None else ops.sum(ops.cast(own, outputs.dtype) * by_class, axis=-1)
            counts = ops.cast(share, outputs.dtype) * ops.expand_dims(weights, -1)
        return ops.sum(self.form.of_classes(outputs, own) * counts), ops.maximum(ops.sum(counts), NOTHING)

    def counted(self, targets: np.ndarray, weights: np.ndarray) -> float:
        if self.unit_weights is None or flagged(self.task):
            return self.task.counted(targets, weights)
        shares = np.where(targets >= 0, np.array(self.unit_weights, np.float32)[targets], 0.0)
        return max(float((shares * weights[:, None]).sum()), NOTHING)

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        """Those of the task, in which all count alike."""
        return {**self.task.hits(outputs, targets, weights), COUNTED: self.task.counted(targets, weights)}

    def means(self, hits: Mapping[str, float], counted: float) -> dict[str, float]:
        return self.task.means({key: hits[key] for key in hits if key != COUNTED}, hits.get(COUNTED) or 1.0)


def by_row(task: Task) -> bool:
    """Whether a row has one class, so that it can be weighed by it as a whole."""
    return task.each == "text" and not flagged(task)


def objective(
    task: Task, loss: LabelSmoothing | Focal | None, class_weights: NDArray[np.float64] | None
) -> Task | Objective:
    """What is trained: the task itself, or another loss, or one that weighs classes where rows cannot.

    Args:
        loss: of the recipe; None is the task's own.
        class_weights: [names], or None.
    """
    units = None if class_weights is None or by_row(task) else tuple(class_weights.tolist())
    if loss is None and units is None:
        return task
    return Objective(task=task, form=form_of(loss), unit_weights=units)
