"""A task whose texts are mixed by pairs, as it is learned: from the labels of both.

In come outputs of mixtures and the targets of both rows; out comes the loss of mixup (Zhang et al. 2018, section 2) as
a sum and a count. Mixing losses in place of targets is the same for cross-entropy, which is linear in them, and for
squared errors but for a constant; and it goes with every loss. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.recipe.training_group import Training
from zoo.tasks.objective import OfTask
from zoo.tasks.task import Task
from zoo.tasks.twice import Once, Twice, agreeing

__all__ = ["Mixed", "joined", "robust"]


def joined(targets: np.ndarray, weights: np.ndarray, share: np.ndarray, partner: np.ndarray) -> np.ndarray:
    """Targets of mixed rows: those of the row, those of the other one, the row's share and the other one's weight.

    Args:
        targets: [rows, ...]. weights, share: [rows].
        partner: the number of the other row, [rows].

    Returns:
        [rows, 2 width + 2] float32.
    """
    flat = targets.reshape(len(targets), -1)
    columns = [flat, flat[partner], share[:, None], weights[partner][:, None]]
    found: np.ndarray = np.concatenate(columns, axis=1, dtype=np.float32)
    return found


@dataclass(frozen=True, kw_only=True)
class Mixed(OfTask):
    """What training asks of a task, of one whose texts are mixed.

    own: what is learned of each of both. blank: one of its targets, of zeros, as a batch has them.
    """

    own: Once | Twice
    blank: np.ndarray

    @property
    def target(self) -> np.ndarray:
        """A target as `joined` has them, of zeros."""
        return np.zeros(2 * self._width + 2, np.float32)

    @property
    def _width(self) -> int:
        return max(1, self.blank.size)

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """The losses of a mixture by both targets, in the share that it has of each row, by the rows' weights.

        Of a pair both mixtures have the same share of their rows, so the counts add up to the sum of weights. Targets
        are as `joined` has them; see `Task.loss`.
        """
        from keras import ops

        share, there = targets[:, -2], targets[:, -1]
        both = [
            self.own.loss(outputs, ops.cast(given if self.blank.ndim else given[:, 0], str(self.blank.dtype)), counted)
            for given, counted in (
                (targets[:, : self._width], weights * share),
                (targets[:, self._width : 2 * self._width], there * (1.0 - share)),
            )
        ]
        (one, count), (other, more) = both
        return one + other, count + more

    def counted(self, targets: np.ndarray, weights: np.ndarray) -> float:
        return self.own.counted(self._own(targets), weights)

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        """Those by the targets of the row that a mixture has more of."""
        return self.own.hits(outputs, self._own(targets), weights)

    def means(self, hits: Mapping[str, float], counted: float) -> dict[str, float]:
        return self.own.means(hits, counted)

    def _own(self, targets: np.ndarray) -> np.ndarray:
        """The row's own targets, on the host."""
        return targets[:, : self._width].reshape(len(targets), *self.blank.shape).astype(self.blank.dtype)


def robust(task: Task, own: Once, config: Training, blank: np.ndarray) -> Once | Twice | Mixed:
    """What is learned where a recipe has texts computed twice or mixed, and elsewhere `own`.

    Args:
        task: whose outputs these are.
        own: what is learned of one pass over texts as they are.
        config: what the recipe says of training.
        blank: see `Mixed`.
    """
    learned = agreeing(task, own, config.r_drop)
    return learned if config.mixup is None else Mixed(task=task, own=learned, blank=blank)
