"""Checkpoints: the whole state of a training run, on disk, for any backend.

In come the variables of model and optimizer and a `Progress`, between two epochs or within one; out comes a folder
that is there whole or not at all, with the weights of the best epoch so far and a manifest of its files. Arrays lie
under the variables' paths as safetensors, so a run begun on one backend can go on on another. Refused: a checkpoint
that is not as its manifest says (the one before it is taken then), and a folder in which none is whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import TypeAdapter, ValidationError

from zoo.data.manifest import damage, write_manifest
from zoo.data.writing import storage_errors, write_atomically, write_folder
from zoo.errors import EnvironmentFault, OutputError
from zoo.models import weights
from zoo.training.epoch_log import Sums

MODEL, OPTIMIZER, PROGRESS = "model.safetensors", "optimizer.safetensors", "progress.json"
EPOCH = "epoch-{:05d}.safetensors"
"""Weights of an epoch with which the run may end; in the epoch's own checkpoint they are those of the model, unless
the model was judged by others."""
WITHIN = "-within"
"""Ending of the name of a checkpoint that was written within an epoch."""
KEPT = 2
"""Checkpoints that stay: the last, and the one before it in case the last is damaged."""


@dataclass(kw_only=True)
class Clock:
    """What the steps took that are done, over all parts of a run.

    Seconds; `compile_seconds` are the first steps of each shape in each part, one step's work included.
    """

    train_seconds: float = 0.0
    compile_seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    cells: int = 0
    """Token positions of all batches, padding and filling rows included."""
    padded_tokens: int = 0
    """Those of them that hold no real token."""


@dataclass(frozen=True, kw_only=True)
class Within:
    """Where an epoch stands of which some steps are done, or all, and validation is not.

    steps: how many of its steps are done. seconds: what they took. reason: why no other is to follow; None where the
    epoch goes on. told and since: what its log has summed up, up to its last row and step by step after it.
    """

    steps: int = 0
    seconds: float = 0.0
    reason: str | None = None
    told: Sums = field(default_factory=Sums)
    since: list[Sums] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands, between two epochs or within one.

    epoch, step: how many are done. best: the best monitored figure so far, and best_epoch the epoch
    (from 1) that reached it; stale: epochs since then. reason: why the run has ended before its length; None
    where it has not.
    train: loss and accuracy on train, as it went, of the epoch whose weights would be kept now. figures: the monitored
    figure of each epoch. parts: in how many a step is computed, once that is known. within: where the epoch after those
    that are done stands; None is before its first step.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    reason: str | None = None
    train: dict[str, float] = field(default_factory=dict)
    figures: list[float] = field(default_factory=list)
    parts: int | None = None
    within: Within | None = None
    clock: Clock = field(default_factory=Clock, compare=False)

    @property
    def stopped(self) -> bool:
        """Whether the run has ended before its length."""
        return self.reason is not None

    @property
    def told(self) -> int:
        """The step up to which the history has been told."""
        return self.step - (len(self.within.since) if self.within else 0)


_PROGRESS = TypeAdapter(Progress)


@dataclass(frozen=True, kw_only=True)
class State:
    """All of a run at one moment, on the host: what a checkpoint is written from while training goes on.

    model, optimizer: the values of their variables, as a checkpoint names them. judged: the weights by which the epoch
    was judged, by path, where they are others than the model's.
    """

    progress: Progress
    model: Mapping[str, np.ndarray]
    optimizer: Mapping[str, np.ndarray]
    judged: Mapping[str, np.ndarray] | None = None


class Checkpoints:
    """The checkpoints of one run, in its folder.

    Args:
        folder: where they lie.
        left_out: paths of weights that no checkpoint has: they are what the model was built with.
    """

    writes = True
    """Whether this process writes beside them what else the run keeps."""

    def __init__(self, folder: Path, left_out: frozenset[str] = frozenset()) -> None:
        self.folder, self._left_out = folder, left_out

    def leaving_out(self, paths: frozenset[str]) -> Self:
        """The same folder, without these weights."""
        return type(self)(self.folder, paths)

    def taken(self, progress: Progress, model: Any, optimizer: Any) -> State:
        """The state at this moment; waits for the device."""
        return State(
            progress=progress,
            model=weights.arrays(self._saved_of(model)),
            optimizer=weights.arrays(optimizer.variables),
        )

    def write(self, state: State, kept: Sequence[int] = ()) -> None:
        """Write a state, then drop all but the last two.

        Args:
            kept: epochs, from 1, whose weights are part of it.

        Raises:
            OutputError: the disk is full, and the checkpoints before are as they were; or the weights of an epoch that
                is kept have been damaged.
        """
        progress = state.progress
        with storage_errors(self.folder):
            with write_folder(self.folder / _name(progress)) as partial:
                weights.save_arrays(state.model, partial / MODEL)
                weights.save_arrays(state.optimizer, partial / OPTIMIZER)
                for epoch in kept:
                    path = partial / EPOCH.format(epoch)
                    if epoch != progress.epoch or progress.within is not None:
                        with self._weights(epoch).open("rb") as before, write_atomically(path) as copy:
                            shutil.copyfileobj(before, copy)
                    elif state.judged is not None:
                        weights.save_arrays(state.judged, path)
                with write_atomically(partial / PROGRESS) as stream:
                    stream.write(json.dumps(asdict(progress)).encode())
                write_manifest(partial)
            for old in self._saved()[:-KEPT]:
                shutil.rmtree(old)

    def restore(self, model: Any, begun: Callable[[Progress], Any]) -> tuple[Progress, Any, list[str]]:
        """Load the newest checkpoint that is whole, and remove those after it.

        Args:
            model: what is filled.
            begun: the optimizer of a run that has come so far, to be filled.

        Returns:
            The progress, the optimizer, and a line for each damaged checkpoint that was passed over. Without any
            checkpoint: a fresh progress, no optimizer, and the variables as they were.

        Raises:
            OutputError: there are checkpoints and none can be read.
        """
        saved, passed = self._saved(), list[str]()
        for folder in reversed(saved):
            fault = damage(folder)
            if fault is None:
                try:
                    progress = _read_progress(folder)
                    optimizer = begun(progress)
                    weights.load(self._saved_of(model), folder / MODEL)
                    weights.load(optimizer.variables, folder / OPTIMIZER)
                except (EnvironmentFault, ValidationError) as error:
                    fault = str(error)
                else:
                    self._drop(saved[saved.index(folder) + 1 :])
                    return progress, optimizer, passed
            passed.append(f"checkpoint {folder.name} is damaged and passed over: {fault}")
        if passed:
            raise OutputError([*passed, f"{self.folder}: no checkpoint can be read: start again with another --out"])
        return Progress(), None, []

    def _drop(self, damaged: Sequence[Path]) -> None:
        with storage_errors(self.folder):
            for folder in damaged:
                shutil.rmtree(folder)

    def load_epoch(self, epoch: int, model: Any) -> None:
        """Load the weights of an epoch that was kept; raises OutputError where they have been damaged."""
        weights.load(self._weights_of(model), self._weights(epoch))

    def read_epoch(self, epoch: int) -> dict[str, np.ndarray]:
        """The same as arrays by path."""
        return weights.read_safetensors(self._weights(epoch))

    def _saved_of(self, model: Any) -> list[Any]:
        """The variables of a model that a checkpoint has."""
        return [variable for variable in model.variables if variable.path not in self._left_out]

    def newest(self) -> Path | None:
        """The last checkpoint's folder, for messages."""
        saved = self._saved()
        return saved[-1] if saved else None

    def _weights_of(self, model: Any) -> list[Any]:
        """Those of them that an epoch's weights are: dropout goes on from where it stands."""
        return [variable for variable in self._saved_of(model) if variable.name != weights.SEED]

    def _weights(self, epoch: int) -> Path:
        """The file with the weights of an epoch that was kept, in the newest checkpoint where it is whole."""
        faults = []
        for folder in reversed(self._saved()):
            name = EPOCH.format(epoch)
            if not (folder / name).exists():
                fault = damage(folder, PROGRESS)
                if fault is None and not _ends(_read_progress(folder), epoch):
                    continue
                name = MODEL
            fault = damage(folder, name)
            if fault is None:
                return folder / name
            faults.append(fault)
        raise OutputError(
            [
                *faults,
                f"{self.folder}: the weights of epoch {epoch} are damaged: "
                "go on with --resume from an earlier checkpoint, or start again with another --out",
            ]
        )

    def _saved(self) -> list[Path]:
        """All checkpoints, the oldest first: of one step that of the finished epoch comes last."""
        found = self.folder.glob("step-*")
        return sorted(found, key=lambda path: (path.name.removesuffix(WITHIN), not path.name.endswith(WITHIN)))


class Followed(Checkpoints):
    """Checkpoints that another process of the run writes: they are read where a run goes on, and that is all."""

    writes = False

    def taken(self, progress: Progress, model: Any, optimizer: Any) -> State:
        return State(progress=progress, model={}, optimizer={})

    def write(self, state: State, kept: Sequence[int] = ()) -> None:
        """Nothing."""

    def load_epoch(self, epoch: int, model: Any) -> None:
        """Nothing: with which weights the run ends concerns the process that writes them."""

    def read_epoch(self, epoch: int) -> dict[str, np.ndarray]:
        return {}

    def _drop(self, damaged: Sequence[Path]) -> None:
        """Nothing."""


def _name(progress: Progress) -> str:
    return f"step-{progress.step:08d}{WITHIN if progress.within else ''}"


def _ends(progress: Progress, epoch: int) -> bool:
    """Whether a checkpoint is that of the end of this epoch."""
    return progress.within is None and progress.epoch == epoch


def _read_progress(folder: Path) -> Progress:
    return _PROGRESS.validate_json((folder / PROGRESS).read_bytes(), strict=True)
