"""What every task is to those who train, judge and show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Task:
    """What a model learns; a value, changed by `tuned` into another.

    names are those of the targets: of classes by their number, for instance.
    """

    names: tuple[str, ...]
    threshold: float | None = None
    """From which value a row counts as class 1; None where the task has no such thing."""

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """The loss of a batch as a sum and a count, so that those of several batches can be added up.

        Args:
            outputs: [batch, units] float32, of the active backend.
            targets: [batch, ...], as the data has them.
            weights: [batch] float32, 0 for a row that only fills the batch up.

        Returns:
            The weighted sum over the rows, in nats or in the targets' own unit, and the sum of the weights; scalars.
        """
        raise NotImplementedError

    def hits(self, outputs: np.ndarray, targets: np.ndarray) -> Mapping[str, float]:
        """What is told of training while it goes on, by name: sums over these rows, to be divided by their number.

        Args:
            outputs: [rows, units] float32; targets: [rows, ...].
        """
        raise NotImplementedError

    def values(self, outputs: ArrayLike) -> NDArray[np.float64]:
        """What outputs [rows, units] say, [rows, names] float64: probabilities, for instance.

        Raises TrainingError where an output is not finite.
        """
        raise NotImplementedError

    def decided(self, values: NDArray[np.float64]) -> np.ndarray:
        """The prediction of each row, as targets are: from `values`."""
        raise NotImplementedError

    def direction(self, number: int) -> NDArray[np.float32]:
        """By what outputs are multiplied to get what speaks for a name, [units] float32."""
        raise NotImplementedError

    def tuned(self, values: NDArray[np.float64], targets: ArrayLike) -> Task:
        """The task with what the validation split decides, a threshold for instance; itself where there is nothing."""
        return self

    def figures(self, values: NDArray[np.float64], targets: ArrayLike) -> dict[str, float]:
        """The figures of a split, each a plain number."""
        raise NotImplementedError
