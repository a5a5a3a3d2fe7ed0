"""Checkpoints: the whole state of a training run, on disk, for any backend.

In come the variables of model and optimizer and a `Progress`; out comes a folder that is there whole
or not at all, with the weights of the best epoch so far and a manifest of its files. Arrays lie under the
variables' paths as safetensors, so a run begun on one backend can go on on another. Refused: a checkpoint
that is not as its manifest says (the one before it is taken then), and a folder in which none is whole.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from zoo.data.manifest import damage, write_manifest
from zoo.data.writing import storage_errors, write_atomically, write_folder
from zoo.errors import EnvironmentFault, OutputError
from zoo.models import weights

MODEL, OPTIMIZER, PROGRESS = "model.safetensors", "optimizer.safetensors", "progress.json"
BEST = "best.safetensors"
"""Weights of the best epoch, in a checkpoint of a later one; in its own they are those of the model."""
KEPT = 2
"""Checkpoints that stay: the last, and the one before it in case the last is damaged."""


@dataclass(kw_only=True)
class Clock:
    """What the steps of the finished epochs took, over all parts of a run.

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
class Progress:
    """Where a run stands, between two epochs.

    epoch, step: how many are done. best: the best monitored figure so far, and best_epoch the epoch
    (from 1) that reached it; stale: epochs since then. stopped: the run has ended before its length, and reason says
    why.
    train: loss and accuracy on train, as it went, of the epoch whose weights would be kept now.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    stopped: bool = False
    reason: str | None = None
    train: dict[str, float] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock, compare=False)


_PROGRESS = TypeAdapter(Progress)


class Checkpoints:
    """The checkpoints of one run, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, progress: Progress, model: Any, optimizer: Any, *, keep_best: bool) -> None:
        """Write the state, then drop all but the last two.

        Args:
            keep_best: whether the weights of `progress.best_epoch` are part of it.

        Raises:
            OutputError: the disk is full, and the checkpoints before are as they were; or the weights of the best
                epoch have been damaged.
        """
        with storage_errors(self.folder):
            with write_folder(self.folder / f"step-{progress.step:08d}") as partial:
                weights.save(model.variables, partial / MODEL)
                weights.save(optimizer.variables, partial / OPTIMIZER)
                if keep_best and progress.best_epoch != progress.epoch:
                    with self._best(progress).open("rb") as best, write_atomically(partial / BEST) as copy:
                        shutil.copyfileobj(best, copy)
                with write_atomically(partial / PROGRESS) as stream:
                    stream.write(json.dumps(asdict(progress)).encode())
                write_manifest(partial)
            for old in self._saved()[:-KEPT]:
                shutil.rmtree(old)

    def restore(self, model: Any, optimizer: Any) -> tuple[Progress, list[str]]:
        """Load the newest checkpoint that is whole, and remove those after it.

        Returns:
            The progress, and a line for each damaged checkpoint that was passed over. Without any
            checkpoint: a fresh progress, and the variables as they were.

        Raises:
            OutputError: there are checkpoints and none can be read.
        """
        saved, passed = self._saved(), list[str]()
        for folder in reversed(saved):
            fault = damage(folder)
            if fault is None:
                try:
                    progress = _read_progress(folder)
                    weights.load(model.variables, folder / MODEL)
                    weights.load(optimizer.variables, folder / OPTIMIZER)
                except (EnvironmentFault, ValidationError) as error:
                    fault = str(error)
                else:
                    with storage_errors(self.folder):
                        for damaged in saved[saved.index(folder) + 1 :]:
                            shutil.rmtree(damaged)
                    return progress, passed
            passed.append(f"checkpoint {folder.name} is damaged and passed over: {fault}")
        if passed:
            raise OutputError([*passed, f"{self.folder}: no checkpoint can be read: start again with another --out"])
        return Progress(), []

    def restore_best(self, progress: Progress, model: Any) -> None:
        """Load the weights of the best epoch into a model that stands where `progress` says.

        Raises:
            OutputError: they have been damaged.
        """
        if progress.best_epoch != progress.epoch:
            weights.load(weights.parameters(model), self._best(progress))

    def newest(self) -> Path | None:
        """The last checkpoint's folder, for messages."""
        saved = self._saved()
        return saved[-1] if saved else None

    def _best(self, progress: Progress) -> Path:
        """The file with the weights of the best epoch, in the newest checkpoint where it is whole."""
        faults = []
        for folder in reversed(self._saved()):
            fault = damage(folder, PROGRESS)
            if fault is None:
                found = _read_progress(folder)
                if found.best_epoch != progress.best_epoch:
                    continue
                name = MODEL if found.best_epoch == found.epoch else BEST
                fault = damage(folder, name)
                if fault is None:
                    return folder / name
            faults.append(fault)
        raise OutputError(
            [
                *faults,
                f"{self.folder}: the weights of epoch {progress.best_epoch}, the best, are damaged: "
                "go on with --resume from an earlier checkpoint, or start again with another --out",
            ]
        )

    def _saved(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))


def _read_progress(folder: Path) -> Progress:
    return _PROGRESS.validate_json((folder / PROGRESS).read_bytes(), strict=True)
