"""One class a text, by a softmax over all classes or, of two, by one sigmoid unit.

In come logits and class numbers; out come cross-entropy, probabilities, predictions and figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.score import metrics
from zoo.tasks.task import Task


@dataclass(frozen=True, kw_only=True)
class Classification(Task):
    """Targets are class numbers, [rows] int32.

    head: `classifier` has a logit a class, `binary` one for class 1. threshold: the probability from which a row counts
    as class 1; None takes the most probable class. to_tune: whether validation decides it.
    """

    names: tuple[str, ...]
    head: Literal["classifier", "binary"]
    threshold: float | None = None
    to_tune: bool = False

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """Cross-entropy in nats; see `Task.loss`."""
        entropy = softmax_cross_entropy if self.head == "classifier" else sigmoid_cross_entropy
        return entropy(outputs, targets, weights)

    def hits(self, outputs: np.ndarray, targets: np.ndarray) -> Mapping[str, float]:
        predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.0
        return {"accuracy": int((predicted == targets).sum())}

    def values(self, outputs: ArrayLike) -> NDArray[np.float64]:
        return metrics.probabilities(outputs, self.head)

    def decided(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        return metrics.predictions(values, self.threshold)

    def direction(self, number: int) -> NDArray[np.float32]:
        """Of a binary head the one logit speaks for class 1, and against class 0."""
        if self.head == "binary":
            return np.array([1.0 if number == 1 else -1.0], np.float32)
        found: NDArray[np.float32] = np.eye(len(self.names), dtype=np.float32)[number]
        return found

    def tuned(self, values: NDArray[np.float64], targets: ArrayLike) -> Classification:
        return replace(self, threshold=metrics.tune_threshold(values, targets)) if self.to_tune else self

    def figures(self, values: NDArray[np.float64], targets: ArrayLike) -> dict[str, float]:
        return metrics.evaluate(values, targets, self.names, self.threshold)


def softmax_cross_entropy(logits: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    """Of logits [batch, classes] and labels [batch] int32; see `Task.loss`."""
    from keras import ops

    # Not ops.one_hot, which on torch reads the labels back to look whether they are small enough.
    own = ops.equal(ops.expand_dims(labels, -1), ops.arange(logits.shape[-1], dtype=labels.dtype))
    losses = ops.logsumexp(logits, axis=-1) - ops.sum(logits * ops.cast(own, logits.dtype), axis=-1)
    return ops.sum(losses * weights), ops.sum(weights)


def sigmoid_cross_entropy(logits: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    """Of logits [batch, 1] and labels [batch] int32, 0 or 1; see `Task.loss`."""
    from keras import ops

    logit = logits[:, 0]
    losses = ops.softplus(logit) - logit * ops.cast(labels, logit.dtype)
    return ops.sum(losses * weights), ops.sum(weights)
