"""Losses of classes, for all tasks that have some: what one row, word or class costs, and how these add up.

In come logits and targets of the active backend; out come losses in nats, and of a batch their sum and count. The loss
of validation is none of these: it is always the plain one, so that runs can be compared. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.tasks.class_weights import flagged
from zoo.tasks.task import Task

__all__ = ["NOTHING", "Objective", "of_classes", "of_flags", "owned"]

NOTHING = 1e-9
"""The count of a batch in which no token has a label, so that its mean loss is 0."""
COUNTED = "counted"
"""Among the hits: by what they are divided."""


def owned(labels: Any, classes: int) -> Any:
    """[..., classes] bool: whether a class is the one of labels [...] int32; none is of a label below 0."""
    from keras import ops

    # Not ops.one_hot, which on torch reads the labels back to look whether they are small enough.
    return ops.equal(ops.expand_dims(labels, -1), ops.arange(classes, dtype=labels.dtype))


def of_classes(logits: Any, own: Any) -> Any:
    """Cross-entropy [...] of logits [..., classes], where `own` as `owned` has it."""
    from keras import ops

    return ops.logsumexp(logits, axis=-1) - ops.sum(logits * ops.cast(own, logits.dtype), axis=-1)


def of_flags(logits: Any, flags: Any) -> Any:
    """Binary cross-entropy of each logit; flags are 0 or 1, of the same shape."""
    from keras import ops

    return ops.softplus(logits) - logits * ops.cast(flags, logits.dtype)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """A task of classes as it is trained where each unit counts by its class: what training asks of a task.

    unit_weights: of each class, by which a word counts, or where a text may have several by which the loss of a row
    that has it does; None counts all alike.
    """

    task: Task
    unit_weights: tuple[float, ...] | None = None

    @property
    def watched(self) -> bool:
        return self.task.watched

    @property
    def falling(self) -> frozenset[str]:
        return self.task.falling

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """The weighted sum of losses and the sum of weights, as torch's CrossEntropyLoss(weight) divides; of flags the
        number of rows, as its BCEWithLogitsLoss(pos_weight). See `Task.loss`."""
        from keras import ops

        by_class = None if self.unit_weights is None else ops.convert_to_tensor(self.unit_weights, outputs.dtype)
        if self.task.activation == "sigmoid":
            flags = ops.cast(targets if len(targets.shape) > 1 else ops.expand_dims(targets, -1), outputs.dtype)
            each = of_flags(outputs, flags)
            if by_class is not None:
                each = each * (1.0 + (by_class - 1.0) * flags)
            return ops.sum(ops.mean(each, axis=-1) * weights), ops.sum(weights)
        own = owned(targets, outputs.shape[-1])
        counts = weights
        if self.task.each == "token":
            share = targets >= 0 if by_class is None else ops.sum(ops.cast(own, outputs.dtype) * by_class, axis=-1)
            counts = ops.cast(share, outputs.dtype) * ops.expand_dims(weights, -1)
        return ops.sum(of_classes(outputs, own) * counts), ops.maximum(ops.sum(counts), NOTHING)

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
