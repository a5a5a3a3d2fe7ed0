"""Where in the arrays of several tasks each has its own.

In come tasks that answer for whole texts; out come, of targets, outputs and values that all of them share, the parts of
one. Nothing is refused but weights of other tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zoo.tasks.classification import Classification
from zoo.tasks.multilabel import Multilabel
from zoo.tasks.regression import Regression
from zoo.tasks.task import Floats, Task

__all__ = ["SideBySide"]

if TYPE_CHECKING:
    Single = Task
else:
    Single = Annotated[Classification | Multilabel | Regression, Field(discriminator="type")]

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class SideBySide(Task):
    """Targets are [rows, 1 + width] float64: the number of the row's task, in order, and then its own targets. Outputs
    and values are those of all tasks side by side.

    tasks: by name. weights: how much a row of each counts in the loss. names: those of all tasks, as `imdb.positive`.
    """

    tasks: dict[str, Single]
    weights: dict[str, float]

    def __post_init__(self) -> None:
        if self.tasks.keys() != self.weights.keys():
            raise ValueError(f"weights of {', '.join(self.weights)}, expected those of {', '.join(self.tasks)}")
        names = tuple(f"{name}.{own}" for name, task in self.tasks.items() for own in task.names)
        object.__setattr__(self, "names", names)

    # --- the rows of each task

    def together(self, targets: Mapping[str, np.ndarray]) -> np.ndarray:
        """The targets of rows of each task, those of one task after those of another."""
        counts = [len(each) for each in targets.values()]
        found = np.zeros((sum(counts), 1 + self._width))
        found[:, 0] = np.repeat(np.arange(len(counts)), counts)
        for number, own in enumerate(targets.values()):
            flat = own.reshape(len(own), -1)
            found[found[:, 0] == number, 1 : 1 + flat.shape[1]] = flat
        return found

    def own_rows(self, targets: np.ndarray) -> dict[str, NDArray[np.int64]]:
        """The numbers of each task's rows, by its name."""
        return {name: np.flatnonzero(targets[:, 0] == number) for number, name in enumerate(self.tasks)}

    def own_targets(self, name: str, targets: np.ndarray) -> np.ndarray:
        """The targets of rows of a task, as that has them."""
        blank = self.tasks[name].target
        found: np.ndarray = targets[:, 1 : 1 + max(1, blank.size)].reshape(len(targets), *blank.shape)
        return found.astype(blank.dtype) if np.issubdtype(blank.dtype, np.integer) else found

    def own_values(self, name: str, values: Floats) -> Floats:
        """The values that a task gives rows."""
        return values[:, self._places(name, lambda task: len(task.names))]

    def own_units(self, name: str) -> slice:
        """Which outputs are those of a task."""
        return self._places(name, lambda task: task.units)

    def _places(self, name: str, width: Callable[[Task], int]) -> slice:
        before = 0
        for other, task in self.tasks.items():
            if other == name:
                return slice(before, before + width(task))
            before += width(task)
        raise KeyError(name)

    def _each(self, targets: np.ndarray, values: Floats) -> Iterator[tuple[str, Task, np.ndarray, Floats, np.ndarray]]:
        """Name, task, targets, values and row numbers of each task that has rows."""
        for name, rows in self.own_rows(targets).items():
            if len(rows):
                own = self.own_values(name, values[rows])
                yield name, self.tasks[name], self.own_targets(name, targets[rows]), own, rows

    def _by_task(self, found: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
        return {f"{name}.{key}": value for name, own in found.items() for key, value in own.items()}

    @property
    def _width(self) -> int:
        return max(max(1, task.target.size) for task in self.tasks.values())
