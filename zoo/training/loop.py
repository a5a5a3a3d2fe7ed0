"""The training loop, the same on every backend.

In come a model, an optimizer, a backend's step and the batches of each epoch; out come rows of
history, checkpoints and the weights of the epoch that is kept. Refused: a loss or a gradient that is not finite,
a step that does not fit in memory.

Between two steps the whole state is the variables and one `Progress`; nothing is read back from the device but every
`log_every` steps, and for a checkpoint. A signal that stops the run waits for the step that is under way, and what is
done is saved first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zoo.backend import Adversary, Backend, Trainer
from zoo.data.batches import Batch
from zoo.errors import OutputError, TrainingError
from zoo.models.inference import to_host
from zoo.recipe.estimate import Precision
from zoo.recipe.length import Length
from zoo.recipe.training_group import Training
from zoo.stopping import Terminated, held_back
from zoo.training.averaging import Averaging, averaging_of
from zoo.training.budget import Budget, reached
from zoo.training.checkpoint import Checkpoints, Progress, State, Within
from zoo.training.epoch_log import EpochLog, Learned
from zoo.training.memory import within_memory
from zoo.training.saving import Saving
from zoo.training.waiting import Firsts, waiting


class Listener(Protocol):
    """Who is told how training goes."""

    def on_begin(self, progress: Progress, steps: int) -> None:
        """Training of so many steps begins at `progress`, which is not at 0 when a run goes on."""

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

    def on_save(self) -> None:
        """A checkpoint is written next: the rows so far have to be on the disk before it."""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What trains a model.

    Args:
        model: keras.Model from a dict of inputs to outputs [batch, units].
        optimizer_of: from an epoch, counted from 0, and the optimizer of the one before to a Keras optimizer built on
            the variables that the epoch trains; another one where these are others.
        precision: of matrix products, for which the model was assembled.
        compiled: whether a step is compiled as a whole.
        adversary: who moves an input of the model against it; None is nobody.
        task: what is learned.
        monitor: the validation figure that picks the best epoch.
        rates: learning rate of each step, [steps], for the history.
        epoch_batches: the batches of an epoch, counted from 0, without so many at its beginning.
        ids: from the rows of a batch to what people know them by.
        validate: figures of the validation split under the model's present weights.
        remedy: what to do about a step in so many parts that does not fit in memory.
        shares: how much each row counts in what is told beside the loss, [rows]; None is as much as in the loss.
    """

    model: Any
    optimizer_of: Callable[[int, Any], Any]
    backend: Backend
    precision: Precision
    compiled: bool
    task: Learned
    config: Training
    monitor: str
    length: Length
    rates: np.ndarray
    epoch_batches: Callable[[int, int], Iterable[Batch]]
    ids: Callable[[np.ndarray], list[str]]
    validate: Callable[[], Mapping[str, float]]
    checkpoints: Checkpoints
    remedy: Callable[[int], str]
    listener: Listener
    adversary: Adversary | None = None
    shares: np.ndarray | None = None

    def run(self, progress: Progress, optimizer: Any = None) -> Progress:
        """Train from `progress` to the end, and leave the kept epoch's weights in the model; returns where that is.

        Args:
            progress: where to begin, and in how many parts a step is computed.
            optimizer: what `optimizer_of` gave for the last epoch of which a step is done; None at the start.

        Raises:
            TrainingError: a loss or a gradient is not finite; out of memory; another process of the run is gone.
            OutputError: another process goes on from another step, as it sees other checkpoints.
        """
        with ExitStack() as entered:
            with waiting("waiting for the other processes", self.listener.on_wait):
                entered.enter_context(self.backend.peers.sharing())
            return self._run(progress, optimizer)

    def _run(self, progress: Progress, optimizer: Any) -> Progress:
        config = self.config
        first = self.backend.peers.told({"step": progress.step})["step"]
        if progress.step != first:
            raise OutputError(
                f"{self.checkpoints.folder}: this process finds step {progress.step}, the first one {first}: "
                "give --out a folder on a file system that all machines of the run share"
            )
        self.listener.on_begin(progress, self.length.steps)
        averaging = averaging_of(config, falling=self.falling)
        saving = Saving(self.checkpoints, config.checkpoint, step=progress.step, before=self.listener.on_save)
        budget, trainer = Budget(config.stop), None
        with saving:
            while progress.epoch < self.length.epochs and not progress.stopped:
                before, optimizer = optimizer, self.optimizer_of(progress.epoch, optimizer)
                if trainer is None or optimizer is not before:
                    trainer = self._trainer(optimizer, progress.parts or 1)
                    firsts = Firsts(compiles=self.backend.compiles_shapes(self.compiled))
                epoch = _Epoch(self, trainer, optimizer, firsts, budget, averaging, saving, progress)
                progress = epoch.run()
                if progress.reason is not None:
                    self.listener.on_note(f"training stopped early: {progress.reason}")
        averaging.settle(progress, self.model, optimizer, self.checkpoints)
        return progress

    @property
    def falling(self) -> bool:
        """Whether less of the monitored figure is better."""
        return self.monitor in self.task.falling

    def _trainer(self, optimizer: Any, parts: int) -> Trainer:
        return self.backend.trainer(
            *(self.model, optimizer, self.task.loss),
            precision=self.precision,
            accumulate=parts,
            compiled=self.compiled,
            adversary=self.adversary,
            devices=self.config.devices,
        )


class _Epoch:
    """One epoch, from where `begun` stands within it."""

    def __init__(
        self,
        loop: Loop,
        trainer: Trainer,
        optimizer: Any,
        firsts: Firsts,
        budget: Budget,
        averaging: Averaging,
        saving: Saving,
        begun: Progress,
    ) -> None:
        self._loop, self._trainer, self._optimizer, self._firsts = loop, trainer, optimizer, firsts
        self._budget, self._averaging, self._saving, self._begun = budget, averaging, saving, begun
        within = begun.within or Within()
        self._number, self._step, self._steps = begun.epoch + 1, begun.step, within.steps
        self._reason, self._clock, self._seconds = within.reason, replace(begun.clock), within.seconds
        self._at, self._compiled = time.perf_counter(), self._clock.compile_seconds
        self._remedy = loop.remedy(begun.parts or 1)
        self._log = EpochLog(
            loop.task,
            every=loop.config.log_every,
            rates=loop.rates,
            shares=loop.shares,
            ids=loop.ids,
            on_row=loop.listener.on_row,
            newest=self._newest,
            told=within.told,
            steps=within.since,
        )

    def run(self) -> Progress:
        """Its steps and its evaluation; gives the progress after it, which is saved."""
        loop, state = self._loop, None
        try:
            with held_back() as stopping:
                self._take_steps(stopping)
                with within_memory(loop.backend, f"a batch of {loop.config.batch_size} rows", self._remedy):
                    figures = self._log.close()  # waits for the last step
                state = self._state()
            with self._averaging.judged(loop.model, self._optimizer) as judged:
                validation = loop.backend.peers.told(loop.validate())
            with held_back():
                progress = self._after(figures, validation)
                self._saving.save(replace(state, progress=progress, judged=judged), self._averaging.kept(progress))
        except BaseException:
            # What broke its evaluation off does not cost its steps.
            if state is not None and self._saving.behind(self._step):
                self._saving.save(state, self._averaging.kept(self._begun))
            raise
        return progress

    def _take_steps(self, stopping: Callable[[], bool]) -> None:
        """All that are left of it, or those up to a signal, where the run is saved."""
        loop = self._loop
        batches = loop.epoch_batches(self._begun.epoch, self._steps) if self._reason is None else ()
        for batch in batches:
            if self._step == loop.length.steps:
                break
            if self._saving.due(self._step):
                self._save()
            self._take(batch)
            asked = self._asked_to_stop(stopping())
            if asked and self._saving.behind(self._step):
                loop.listener.on_note(f"stopping: the run is saved after step {self._step}")
                self._save()
            if asked and not stopping():
                raise Terminated  # another process was
            if asked or self._reason is not None:
                break

    def _asked_to_stop(self, this: bool) -> bool:
        """Whether a process of the run is, this one or another. What ends an epoch early besides is the first one's to
        say."""
        peers = self._loop.backend.peers
        code = peers.agreed(2 if this else int(peers.first and self._reason is not None))
        if not peers.first:
            self._reason = "the first process says so" if code else None
        return code == 2

    def _take(self, batch: Batch) -> None:
        """One step."""
        loop, clock = self._loop, self._clock
        started = time.perf_counter()
        with (
            within_memory(loop.backend, _named(batch), self._remedy),
            self._firsts.computing(batch.shape, loop.listener.on_wait) as new_shape,
        ):
            value, outputs = self._trainer.step(batch.inputs, batch.labels, batch.weights)
            if new_shape:
                to_host(value)
        if new_shape:
            clock.compile_seconds += time.perf_counter() - started
        else:
            clock.examples += len(batch.rows)
            clock.tokens += batch.tokens
        clock.cells += batch.shape[0] * batch.shape[1]
        clock.padded_tokens += batch.shape[0] * batch.shape[1] - batch.tokens
        self._step += 1
        self._steps += 1
        with within_memory(loop.backend, _named(batch), self._remedy):  # where a step is not waited for, it fails here
            self._log.add(self._step, self._number, value, outputs, batch)
            loop.listener.on_step(self._step, self._number, batch.tokens, self._log.loss, new_shape)
            seconds = clock.train_seconds + self._compiled + time.perf_counter() - self._at
            self._reason = self._budget.spent(clock, seconds, value)

    def _newest(self) -> Path | None:
        self._saving.wait()
        return self._loop.checkpoints.newest()

    def _save(self) -> None:
        self._saving.save(self._state(), self._averaging.kept(self._begun))

    def _state(self) -> State:
        """The whole run as it stands after the last step; waits for it."""
        told, since = self._log.read()
        self._tally()
        self._trainer.commit()
        within = Within(steps=self._steps, seconds=self._seconds, reason=self._reason, told=told, since=since)
        progress = replace(self._begun, step=self._step, clock=replace(self._clock), within=within)
        return self._loop.checkpoints.taken(progress, self._loop.model, self._optimizer)

    def _tally(self) -> None:
        """Add the time since the last call to the clock."""
        now, compiled = time.perf_counter(), self._clock.compile_seconds
        self._clock.train_seconds += now - self._at - (compiled - self._compiled)
        self._seconds += now - self._at
        self._at, self._compiled = now, compiled

    def _after(self, figures: dict[str, float], validation: Mapping[str, float]) -> Progress:
        """The progress after the epoch, which is told.

        Args:
            figures: on the training rows, as it went.
            validation: those by which it is judged.
        """
        loop, monitor = self._loop, self._loop.monitor
        if monitor not in validation:
            raise TrainingError(
                f"training.monitor: {monitor} is not defined on the validation rows, expected a figure that is: "
                f"use one of {', '.join(name for name in validation if name != 'rows')}, or give more rows"
            )
        enough = reached(loop.config.stop, monitor, validation[monitor], falling=loop.falling)
        progress = _advance(
            *(self._begun, loop.config),
            step=self._step,
            figure=validation[monitor],
            falling=loop.falling,
            train=figures,
            reason=self._reason or enough,
            best=enough is not None,
        )
        if progress.step == loop.length.steps:  # it has ended by itself
            progress = replace(progress, reason=None)
        loop.listener.on_row(
            {
                "kind": "epoch",
                "step": self._step,
                "epoch": self._number,
                "train": figures,
                "validation": validation,
                "seconds": self._seconds,
                "best": progress.best_epoch == self._number,
            }
        )
        return replace(progress, clock=replace(self._clock), within=None)


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


def _named(batch: Batch) -> str:
    rows, length = batch.shape
    return f"a batch of {rows} rows of {length} tokens"
