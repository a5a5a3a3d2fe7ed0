"""What is told of training as it goes: in come the losses and outputs of an epoch's steps, which lie on the device; out
come rows of history, every `log_every` steps, and the epoch's means.

What has been read is held as `Sums`, plain numbers that a checkpoint can keep, so that a run that goes on within an
epoch tells the same as one that was never stopped. Refused: a loss or a gradient that is not finite.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zoo.data.batches import Batch
from zoo.models.inference import to_host
from zoo.training.diverged import diverged

__all__ = ["EpochLog", "Learned", "Sums"]


class Learned(Protocol):
    """What is asked of what is learned: a task, or one with a teacher; see `Task` for each."""

    @property
    def watched(self) -> bool: ...

    @property
    def falling(self) -> frozenset[str]: ...

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]: ...

    def counted(self, targets: np.ndarray, weights: np.ndarray) -> float: ...

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]: ...

    def means(self, hits: Mapping[str, float], counted: float) -> dict[str, float]: ...


@dataclass(kw_only=True)
class Sums:
    """Sums over the rows of some steps.

    loss: the loss times what counts in it, and counted: that. hits: what the task counts beside its loss, and shared:
    by what that is divided. rows and tokens: the real ones.
    """

    loss: float = 0.0
    counted: float = 0.0
    hits: dict[str, float] = field(default_factory=dict)
    shared: float = 0.0
    rows: int = 0
    tokens: int = 0

    def add(self, other: Sums) -> None:
        self.loss += other.loss
        self.counted += other.counted
        for name, value in other.hits.items():
            self.hits[name] = self.hits.get(name, 0.0) + value
        self.shared += other.shared
        self.rows += other.rows
        self.tokens += other.tokens


class EpochLog:
    """Collects one epoch's losses and outputs on the device and reads them every `log_every` steps.

    Args:
        task: what is learned.
        every: steps between two rows of history.
        rates: learning rate of each step, [steps].
        shares: how much each row of the table counts in what is told beside the loss, [rows]; None is as in the loss.
        ids: from the rows of a batch to what people know them by.
        on_row: who is given the rows.
        newest: the last checkpoint, for a message.
        told: what of the epoch is in a row already.
        steps: the steps since that, one by one.
    """

    def __init__(
        self,
        task: Learned,
        *,
        every: int,
        rates: np.ndarray,
        shares: np.ndarray | None,
        ids: Callable[[np.ndarray], list[str]],
        on_row: Callable[[Mapping[str, Any]], None],
        newest: Callable[[], Path | None],
        told: Sums,
        steps: list[Sums],
    ) -> None:
        self._task, self._shares, self._on_row, self._newest = task, shares, on_row, newest
        self._every, self._rates, self._ids = every, rates, ids
        self._waiting: list[tuple[Any, Any, Batch]] = []
        self._told, self._steps = told, steps
        self._step = self._epoch = 0
        self._since = time.perf_counter()
        self._mean = math.nan

    def add(self, step: int, epoch: int, value: Any, outputs: Any, batch: Batch) -> None:
        """A step was sent off: its loss and its outputs, which may not be computed yet."""
        self._step, self._epoch = step, epoch
        self._waiting.append((value, outputs if self._task.watched else None, batch))
        if step % self._every == 0:
            self._tell()

    def loss(self) -> float:
        """Mean loss since the last row, or where that has only just been written, its own."""
        losses = [(step.loss, step.counted) for step in self._steps]
        for value, _, batch in self._waiting:
            counted = self._counted(batch)
            losses.append((float(to_host(value)) * counted, counted))
        if not losses:
            return self._mean
        sums, counts = np.sum(losses, axis=0)
        return float(sums / counts)

    def read(self) -> tuple[Sums, list[Sums]]:
        """What is in a row already, and each step since, as they stand now; waits for the last step."""
        self._catch_up()
        return copy.deepcopy((self._told, self._steps))

    def close(self) -> dict[str, float]:
        """Mean loss and the task's shares over the epoch, as it went: dropout on, weights moving."""
        if self._waiting or self._steps:
            self._tell()
        told = self._told
        means = self._task.means(told.hits, told.shared or 1.0)
        return {"rows": told.rows, "loss": told.loss / (told.counted or 1.0), **means}

    def _catch_up(self) -> None:
        for step, (value, outputs, batch) in enumerate(self._waiting, self._step - len(self._waiting) + 1):
            self._steps.append(self._read(step, value, outputs, batch))
        self._waiting.clear()

    def _counted(self, batch: Batch) -> float:
        real = len(batch.rows)
        return float(self._task.counted(batch.labels[:real], batch.weights[:real]))

    def _read(self, step: int, value: Any, outputs: Any, batch: Batch) -> Sums:
        loss, real, counted = float(to_host(value)), len(batch.rows), self._counted(batch)
        if not math.isfinite(loss):
            raise diverged(
                loss,
                step=step,
                epoch=self._epoch,
                rate=float(self._rates[step - 1]),
                rows=self._ids(batch.rows),
                newest=self._newest(),
            )
        labels, weights = batch.labels[:real], batch.weights[:real]
        if self._shares is not None:
            weights = self._shares[batch.rows]
        found = self._task.hits(to_host(outputs)[:real], labels, weights) if self._task.watched else {}
        return Sums(
            loss=loss * counted,
            counted=counted,
            hits={name: float(hits) for name, hits in found.items()},
            shared=counted if self._shares is None else float(self._task.counted(labels, weights)),
            rows=real,
            tokens=batch.tokens,
        )

    def _tell(self) -> None:
        self._catch_up()
        row = Sums()
        for step in self._steps:
            row.add(step)
        mean = self._mean = row.loss / row.counted
        now = time.perf_counter()
        self._on_row(
            {
                "kind": "step",
                "step": self._step,
                "epoch": self._epoch,
                "loss": mean,
                **self._task.means(row.hits, row.shared),
                "learning_rate": float(self._rates[self._step - 1]),
                "seconds": now - self._since,
                "tokens": row.tokens,
            }
        )
        self._since = now
        self._told.add(row)
        self._steps.clear()
