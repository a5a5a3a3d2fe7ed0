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
from zoo.tasks.flat_targets import on_device, on_host, width
from zoo.tasks.objective import OfTask
from zoo.tasks.task import Task
from zoo.tasks.twice import Once, Twice

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
        return np.zeros(2 * width(self.blank) + 2, np.float32)

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """The losses of a mixture by both targets, in the share that it has of each row, by the rows' weights.

        Of a pair both mixtures have the same share of their rows, so the counts add up to the sum of weights. Targets
        are as `joined` has them; see `Task.loss`.
        """
        share, there = targets[:, -2], targets[:, -1]
        both = [
            self.own.loss(outputs, on_device(given, self.blank), counted)
            for given, counted in (
                (targets, weights * share),
                (targets[:, width(self.blank) :], there * (1.0 - share)),
            )
        ]
        (one, count), (other, more) = both
        return one + other, count + more

    def counted(self, targets: np.ndarray, weights: np.ndarray) -> float:
        return self.own.counted(on_host(targets, self.blank), weights)

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        """Those by the targets of the row that a mixture has more of."""
        return self.own.hits(outputs, on_host(targets, self.blank), weights)

    def means(self, hits: Mapping[str, float], counted: float) -> dict[str, float]:
        return self.own.means(hits, counted)


def robust(task: Task, own: Once, config: Training, blank: np.ndarray) -> Once | Twice | Mixed:
    """What is learned where a recipe has texts computed twice or mixed, and elsewhere `own`.

    Args:
        task: whose outputs these are.
        own: what is learned of one pass over texts as they are.
        config: what the recipe says of training.
        blank: see `Mixed`.
    """
    learned = own if config.r_drop is None else Twice(task=task, own=own, weight=config.r_drop.weight)
    return learned if config.mixup is None else Mixed(task=task, own=learned, blank=blank)
