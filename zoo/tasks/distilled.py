"""A task as a student learns it: from the labels, and from what a teacher says of the same texts.

In come a task of classes and the teacher's outputs; out come the targets of both together and the loss of Hinton,
Vinyals and Dean 2015 (Distilling the Knowledge in a Neural Network, section 2), as a sum and a count. Nothing is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.tasks.flat_targets import on_device, on_host, width
from zoo.tasks.objective import Objective, OfTask
from zoo.tasks.task import Task

__all__ = ["Distilled", "divergence"]


@dataclass(frozen=True, kw_only=True)
class Distilled(OfTask):
    """What training asks of a task, of one with a teacher.

    own: what is learned of the labels, where that is not the task's own loss.
    temperature: by what the outputs of both are divided before they are compared. weight: the teacher's part of the
    loss, the labels have the rest.
    """

    own: Task | Objective | None = None
    temperature: float
    weight: float

    @property
    def _labelled(self) -> Task | Objective:
        return self.own or self.task

    def joined(self, targets: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Targets [rows, ...] and, behind them, the teacher's outputs [rows, units]: [rows, width + units] float32."""
        found: np.ndarray = np.concatenate([targets.reshape(len(targets), -1), outputs], axis=1, dtype=np.float32)
        return found

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """(1 - weight) times the task's own loss, and weight times the squared temperature times the divergence.

        The square keeps the gradient of the soft targets as large as it is at a temperature of 1. See `Task.loss`;
        targets are as `joined` has them.
        """
        from keras import ops

        blank = self.task.target
        total, count = self._labelled.loss(outputs, on_device(targets, blank), weights)
        apart = divergence(
            outputs, targets[:, width(blank) :], self.temperature, softmax=self.task.activation == "softmax"
        )
        soft = ops.sum(apart * weights)
        return (1.0 - self.weight) * total + self.weight * self.temperature**2 * soft, count

    def counted(self, targets: np.ndarray, weights: np.ndarray) -> float:
        return self._labelled.counted(on_host(targets, self.task.target), weights)

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        return self._labelled.hits(outputs, on_host(targets, self.task.target), weights)

    def means(self, hits: Mapping[str, float], counted: float) -> dict[str, float]:
        return self._labelled.means(hits, counted)


def divergence(student: Any, teacher: Any, temperature: float, *, softmax: bool) -> Any:
    """Kullback-Leibler divergence of the student's distribution from the teacher's, in nats, [batch].

    Args:
        student, teacher: outputs, [batch, units] float32.
        temperature: by what both are divided.
        softmax: whether the units share one distribution; else each has one of its own over two values, and the mean
            over the units counts.
    """
    from keras import ops

    ours, theirs = student / temperature, teacher / temperature
    if softmax:
        log_p = ops.log_softmax(theirs, axis=-1)
        return ops.sum(ops.exp(log_p) * (log_p - ops.log_softmax(ours, axis=-1)), axis=-1)
    p = ops.sigmoid(theirs)
    yes = p * (ops.softplus(-ours) - ops.softplus(-theirs))
    no = (1.0 - p) * (ops.softplus(ours) - ops.softplus(theirs))
    return ops.mean(yes + no, axis=-1)
