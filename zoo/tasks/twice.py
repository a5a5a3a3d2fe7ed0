"""A task whose texts are computed twice under other masks of dropout, and learned to be told alike.

In come outputs of both passes; out comes the loss of R-Drop (Liang et al. 2021, by half) as a sum and a count. Nothing
is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.tasks.distilled import Distilled, divergence
from zoo.tasks.objective import Objective, OfTask
from zoo.tasks.task import Task

__all__ = ["Once", "Twice"]

Once = Task | Objective | Distilled
"""What is learned of one pass."""


@dataclass(frozen=True, kw_only=True)
class Twice(OfTask):
    """What training asks of a task, of one that is computed twice.

    own: what is learned of each pass. weight: by how much the divergence of both counts.
    """

    own: Once
    weight: float

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """The mean of both passes' losses, and weight times the mean of the divergences in both directions.

        Args:
            outputs: [batch, 2, ...], of each pass as `Task.loss` has them.
            targets, weights: as there. In the divergence a row counts by its weight, and of words each that has a tag.
        """
        from keras import ops

        passes = outputs[:, 0], outputs[:, 1]
        (first, count), (second, _) = (self.own.loss(each, targets, weights) for each in passes)
        softmax = self.task.activation == "softmax"
        there, back = (divergence(*order, 1.0, softmax=softmax) for order in (passes, passes[::-1]))
        apart = (there + back) * (weights if self.task.each == "text" else self._of_words(targets, weights))
        return (first + second + self.weight * ops.sum(apart)) / 2.0, count

    def _of_words(self, targets: Any, weights: Any) -> Any:
        from keras import ops

        return ops.cast(targets >= 0, weights.dtype) * ops.expand_dims(weights, -1)

    def counted(self, targets: np.ndarray, weights: np.ndarray) -> float:
        return self.own.counted(targets, weights)

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        """Those of the first pass."""
        return self.own.hits(outputs[:, 0], targets, weights)

    def means(self, hits: Mapping[str, float], counted: float) -> dict[str, float]:
        return self.own.means(hits, counted)
