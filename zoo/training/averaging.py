"""With which weights epochs are judged, and with which a run ends: those of one epoch, or an average.

In come a recipe's training, the model, its optimizer and the checkpoints; out come the weights of the finished model,
in it. Refused is what checkpoints refuse. The averages of all kinds are of the weights as they are after a step, and
none has a part in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.models import weights
from zoo.recipe.training_group import Training
from zoo.training.checkpoint import Checkpoints, Progress

__all__ = ["Averaging", "averaging_of"]


def averaging_of(config: Training, *, falling: bool) -> Averaging:
    """What a recipe says; falling: whether less of the monitored figure is better."""
    if config.average is None:
        return Averaging(best=config.keep == "best")
    if config.average.type == "ema":
        return Moving(best=config.keep == "best")
    return Mean(best=config.average.type == "best", epochs=config.average.epochs, falling=falling)


@dataclass(frozen=True, kw_only=True)
class Averaging:
    """No average: a run ends with the best epoch, or with the last."""

    best: bool

    def kept(self, progress: Progress) -> tuple[int, ...]:
        """The epochs, from 1, whose weights the run may end with, as far as it has come."""
        return (progress.best_epoch,) if self.best and progress.best_epoch else ()

    @contextmanager
    def judged(self, model: Any, optimizer: Any) -> Iterator[Mapping[str, np.ndarray] | None]:
        """A context in which the model has the weights by which the epoch is judged; gives them by path, or None where
        they are the model's own."""
        yield None

    def settle(self, progress: Progress, model: Any, optimizer: Any, checkpoints: Checkpoints) -> None:
        """End training: give the model the weights that are kept."""
        if self.best and progress.best_epoch != progress.epoch:
            checkpoints.load_epoch(progress.best_epoch, model)


class Moving(Averaging):
    """The exponential moving average that the optimizer keeps of what it trains."""

    @contextmanager
    def judged(self, model: Any, optimizer: Any) -> Iterator[Mapping[str, np.ndarray] | None]:
        own = {variable.path: weights.to_numpy(variable) for variable in model.trainable_variables}
        self._take(model, optimizer)
        try:
            yield {variable.path: weights.to_numpy(variable) for variable in model.variables}
        finally:
            for variable in model.trainable_variables:
                variable.assign(own[variable.path])

    def settle(self, progress: Progress, model: Any, optimizer: Any, checkpoints: Checkpoints) -> None:
        if self.best:
            checkpoints.load_epoch(progress.best_epoch, model)
        else:
            self._take(model, optimizer)

    def _take(self, model: Any, optimizer: Any) -> None:
        for variable, average in zip(model.trainable_variables, optimizer.averages, strict=True):
            variable.assign(average.value)


@dataclass(frozen=True, kw_only=True)
class Mean(Averaging):
    """The mean of several epochs' weights, the last ones or the best."""

    epochs: int
    falling: bool

    def kept(self, progress: Progress) -> tuple[int, ...]:
        done = range(1, progress.epoch + 1)
        if self.best:
            sign = 1.0 if self.falling else -1.0
            return tuple(sorted(sorted(done, key=lambda epoch: sign * progress.figures[epoch - 1])[: self.epochs]))
        return tuple(done)[-self.epochs :]

    def settle(self, progress: Progress, model: Any, optimizer: Any, checkpoints: Checkpoints) -> None:
        epochs = self.kept(progress)
        sums: dict[str, np.ndarray] = {}
        for epoch in epochs:
            for path, value in checkpoints.read_epoch(epoch).items():
                sums[path] = sums.get(path, 0.0) + value.astype(np.float64)
        for variable in model.variables:
            if variable.path in sums:
                variable.assign((sums[variable.path] / len(epochs)).astype(np.float32))
