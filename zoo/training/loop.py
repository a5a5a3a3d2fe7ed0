"""The training loop, the same on every backend.

In come a model, an optimizer, a backend's step and the batches of each epoch; out come rows of
history, checkpoints and the weights of the epoch that is kept. Refused: a loss or a gradient that is not
finite, a step that does not fit in memory.

Between two epochs the whole state is the variables and one `Progress`; within an epoch nothing is
read back from the device but every `log_every` steps.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from zoo.backend import Adversary, Backend
from zoo.data.batches import Batch
from zoo.errors import TrainingError
from zoo.models.inference import to_host
from zoo.recipe.estimate import Precision
from zoo.recipe.length import Length
from zoo.recipe.training_group import Training
from zoo.training.averaging import averaging_of
from zoo.training.budget import Budget, reached
from zoo.training.checkpoint import Checkpoints, Progress
from zoo.training.diverged import diverged
from zoo.training.memory import halved, within_memory
from zoo.training.waiting import Firsts


class Listener(Protocol):
    """Who is told how training goes."""

    def on_begin(self, step: int, steps: int) -> None:
        """Training begins after `step` steps of `steps`; above 0 when a run goes on."""

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        """A step was sent off; it may not be computed yet.

        Args:
            step: its number, from 1.
            epoch: likewise.
            tokens: the real ones of its batch.
            loss: the mean loss since the last row of history. It waits for the device: ask every few seconds, at most.
            first: whether it was the first of its batch's shape, which takes longer where the backend compiles.
        """

    def on_wait(self, what: str, seconds: float) -> None:
        """Something goes on that cannot say how far it is; called every second, from another thread.

        Args:
            what: what it is, as `compiling a batch of 32 rows of 64 tokens`.
            seconds: for how long already.
        """

    def bar(self, title: str, total: int | None = None) -> AbstractContextManager[Callable[[int], None]]:
        """Something of so many rows begins, as an evaluation; gives what is told how many more are done."""

    def on_note(self, text: str) -> None:
        """Something to tell the user."""

    def on_row(self, row: Mapping[str, Any]) -> None:
        """A row of history.jsonl: kind `step` every `log_every` steps, kind `epoch` after each."""


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


def fit(
    model: Any,
    optimizer: Any,
    *,
    optimizer_of: Callable[[int, Any], Any],
    backend: Backend,
    precision: Precision,
    compiled: bool,
    adversary: Adversary | None = None,
    task: Learned,
    config: Training,
    monitor: str,
    length: Length,
    rates: np.ndarray,
    epoch_batches: Callable[[int], Iterable[Batch]],
    ids: Callable[[np.ndarray], list[str]],
    validate: Callable[[], Mapping[str, float]],
    checkpoints: Checkpoints,
    progress: Progress,
    listener: Listener,
    shares: np.ndarray | None = None,
) -> Progress:
    """Train from `progress` to the end, and leave the kept epoch's weights in the model; returns where that is.

    Args:
        model: keras.Model from a dict of inputs to outputs [batch, units].
        optimizer: what `optimizer_of` gave for the epoch before `progress`; None at the start.
        optimizer_of: from an epoch, counted from 0, and the optimizer of the one before to a Keras optimizer built on
            the variables that the epoch trains; another one where these are others.
        precision: of matrix products, for which the model was assembled.
        compiled: whether a step is compiled as a whole.
        adversary: who moves an input of the model against it; None is nobody.
        task: what is learned.
        monitor: the validation figure that picks the best epoch.
        rates: learning rate of each step, [steps], for the history.
        epoch_batches: the batches of an epoch, counted from 0.
        ids: from the rows of a batch to what people know them by.
        validate: figures of the validation split under the model's present weights.
        progress: where to begin, and in how many parts a step is computed.
        shares: how much each row counts in what is told beside the loss, [rows]; None is as much as in the loss.

    Raises:
        TrainingError: a loss or a gradient is not finite; out of memory.
    """
    listener.on_begin(progress.step, length.steps)
    averaging = averaging_of(config, falling=monitor in task.falling)
    trainer = None
    clock = replace(progress.clock)
    parts = progress.parts or 1
    remedy = _remedy(config, parts)
    budget = Budget(config.stop)
    for epoch in range(progress.epoch, length.epochs):
        if progress.stopped:
            break
        before, optimizer = optimizer, optimizer_of(epoch, optimizer)
        if trainer is None or optimizer is not before:
            trainer = backend.trainer(
                *(model, optimizer, task.loss),
                precision=precision,
                accumulate=parts,
                compiled=compiled,
                adversary=adversary,
            )
            firsts = Firsts(compiles=backend.compiles_shapes(compiled))
        epoch_log = _EpochLog(task, config.log_every, rates, shares, ids, checkpoints, listener)
        begun = time.perf_counter()
        compiled_before, seconds_before = clock.compile_seconds, clock.train_seconds + clock.compile_seconds
        step, reason = progress.step, None
        for batch in epoch_batches(epoch):
            if step == length.steps:
                break
            started = time.perf_counter()
            with (
                within_memory(backend, _named(batch), remedy),
                firsts.computing(batch.shape, listener.on_wait) as new_shape,
            ):
                value, logits = trainer.step(batch.inputs, batch.labels, batch.weights)
                if new_shape:
                    to_host(value)
            if new_shape:
                clock.compile_seconds += time.perf_counter() - started
            else:
                clock.examples += len(batch.rows)
                clock.tokens += batch.tokens
            clock.cells += batch.shape[0] * batch.shape[1]
            clock.padded_tokens += batch.shape[0] * batch.shape[1] - batch.tokens
            step += 1
            with within_memory(backend, _named(batch), remedy):  # where a step is not waited for, it fails here
                epoch_log.add(step, epoch + 1, value, logits, batch)
                listener.on_step(step, epoch + 1, batch.tokens, epoch_log.loss, new_shape)
                reason = budget.spent(clock, seconds_before + time.perf_counter() - begun, value)
            if reason is not None:
                break
        with within_memory(backend, f"a batch of {config.batch_size} rows", remedy):
            figures = epoch_log.close()  # waits for the last step
        seconds = time.perf_counter() - begun
        clock.train_seconds += seconds - (clock.compile_seconds - compiled_before)
        trainer.commit()
        with averaging.judged(model, optimizer) as judged:
            validation = dict(validate())
        if monitor not in validation:
            raise TrainingError(
                f"training.monitor: {monitor} is not defined on the validation rows, expected a figure that is: "
                f"use one of {', '.join(name for name in validation if name != 'rows')}, or give more rows"
            )
        falling = monitor in task.falling
        enough = reached(config.stop, monitor, validation[monitor], falling=falling)
        progress = _advance(
            *(progress, config),
            step=step,
            figure=validation[monitor],
            falling=falling,
            train=figures,
            reason=reason or enough,
            best=enough is not None,
        )
        if progress.step == length.steps:  # it has ended by itself
            progress = replace(progress, reason=None)
        progress = replace(progress, clock=replace(clock))
        listener.on_row(
            {
                "kind": "epoch",
                "step": step,
                "epoch": epoch + 1,
                "train": figures,
                "validation": validation,
                "seconds": seconds,
                "best": progress.best_epoch == epoch + 1,
            }
        )
        checkpoints.save(progress, model, optimizer, kept=averaging.kept(progress), judged=judged)
        if progress.reason is not None:
            listener.on_note(f"training stopped early: {progress.reason}")
    averaging.settle(progress, model, optimizer, checkpoints)
    return progress


def _advance(
    progress: Progress,
    config: Training,
    *,
    step: int,
    figure: float,
    falling: bool,
    train: dict[str, float],
    reason: str | None,
    best: bool,
) -> Progress:
    """The progress after one more epoch with these figures.

    Args:
        figure: of validation, by which epochs are compared.
        falling: whether less of it is better.
        train: on the training rows, as it went.
        reason: why training ends with this epoch; None where nothing but early stopping may end it.
        best: whether it is the best epoch by whatever margin.
    """
    margin = config.early_stopping.min_delta if config.early_stopping else 0.0
    sign = -1.0 if falling else 1.0
    better = best or progress.best is None or sign * figure > sign * progress.best + margin
    kept = train if better or config.keep == "last" else progress.train
    figures = [*progress.figures, figure]
    progress = replace(progress, epoch=progress.epoch + 1, step=step, train=kept, figures=figures, reason=reason)
    if better:
        return replace(progress, best=figure, best_epoch=progress.epoch, stale=0)
    progress = replace(progress, stale=progress.stale + 1)
    if reason is None and config.early_stopping and progress.stale >= config.early_stopping.patience:
        reason = f"no better epoch for {progress.stale} (training.early_stopping)"
        return replace(progress, reason=reason)
    return progress


class _EpochLog:
    """Collects one epoch's losses and logits on the device and reads them every `log_every` steps."""

    def __init__(
        self,
        task: Learned,
        every: int,
        rates: np.ndarray,
        shares: np.ndarray | None,
        ids: Callable[[np.ndarray], list[str]],
        checkpoints: Checkpoints,
        listener: Listener,
    ) -> None:
        self._task, self._shares, self._ids = task, shares, ids
        self._every, self._rates, self._checkpoints, self._listener = every, rates, checkpoints, listener
        self._waiting: list[tuple[Any, Any, Batch]] = []
        self._step = self._epoch = 0
        self._since = time.perf_counter()
        self._loss_sum, self._count, self._shared, self._rows = 0.0, 0.0, 0.0, 0
        self._mean = math.nan
        self._hits: Counter[str] = Counter()

    def add(self, step: int, epoch: int, value: Any, logits: Any, batch: Batch) -> None:
        self._step, self._epoch = step, epoch
        self._waiting.append((value, logits if self._task.watched else None, batch))
        if step % self._every == 0:
            self._read()

    def loss(self) -> float:
        """Mean loss since the last row, or where that has only just been written, its own."""
        if not self._waiting:
            return self._mean
        counts = [self._counted(batch) for _, _, batch in self._waiting]
        return float(np.average([float(to_host(value)) for value, _, _ in self._waiting], weights=counts))

    def close(self) -> dict[str, float]:
        """Mean loss and the task's shares over the epoch, as it went: dropout on, weights moving."""
        if self._waiting:
            self._read()
        means = self._task.means(self._hits, self._shared or 1.0)
        return {"rows": self._rows, "loss": self._loss_sum / (self._count or 1.0), **means}

    def _counted(self, batch: Batch) -> float:
        real = len(batch.rows)
        return self._task.counted(batch.labels[:real], batch.weights[:real])

    def _read(self) -> None:
        losses, hits, count, shared = [], Counter[str](), 0.0, 0.0
        for step, (value, logits, batch) in enumerate(self._waiting, self._step - len(self._waiting) + 1):
            loss, real, counted = float(to_host(value)), len(batch.rows), self._counted(batch)
            if not math.isfinite(loss):
                raise diverged(
                    loss,
                    step=step,
                    epoch=self._epoch,
                    rate=float(self._rates[step - 1]),
                    rows=self._ids(batch.rows),
                    newest=self._checkpoints.newest(),
                )
            losses.append(loss * counted)
            labels, weights = batch.labels[:real], batch.weights[:real]
            if self._shares is not None:
                weights = self._shares[batch.rows]
            if self._task.watched:
                hits.update(self._task.hits(to_host(logits)[:real], labels, weights))
            count += counted
            shared += counted if self._shares is None else self._task.counted(labels, weights)
            self._rows += real
        mean = self._mean = sum(losses) / count
        now = time.perf_counter()
        self._listener.on_row(
            {
                "kind": "step",
                "step": self._step,
                "epoch": self._epoch,
                "loss": mean,
                **self._task.means(hits, shared),
                "learning_rate": float(self._rates[self._step - 1]),
                "seconds": now - self._since,
                "tokens": sum(batch.tokens for _, _, batch in self._waiting),
            }
        )
        self._since = now
        self._waiting.clear()
        self._loss_sum += sum(losses)
        self._count, self._shared = self._count + count, self._shared + shared
        self._hits.update(hits)


def _remedy(config: Training, parts: int) -> str:
    """What to do about a step that does not fit in memory: first what leaves it the same step."""
    otherwise, more = "lower tokens.max_length", 2 * parts
    if config.packing or config.batch_size % more:
        return halved("--set training.batch_size=", config.batch_size, otherwise)
    return f"pass --set training.accumulate={more}, which computes the same step in parts, or {otherwise}"


def _named(batch: Batch) -> str:
    rows, length = batch.shape
    return f"a batch of {rows} rows of {length} tokens"
