"""Checkpoints: the whole state of a training run, on disk, for any backend.

In come the variables of model and optimizer and a `Progress`; out comes a folder that is there whole
or not at all. Arrays lie under the variables' paths as safetensors, so a run begun on one backend can
go on on another. Refused: a checkpoint that is damaged (the one before it is taken then), and a
folder in which no checkpoint is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo.data.storage import PARTIAL, storage_errors
from zoo.errors import EnvironmentFault, OutputError
from zoo.model import weights

BEST = "best.safetensors"
KEPT = 2
"""Checkpoints that stay: the last, and the one before it in case the last is damaged."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands, between two epochs.

    epoch, step: how many are done. best: the best monitored figure so far, and best_epoch the epoch
    (from 1) that reached it; stale: epochs since then. stopped: early stopping has ended the run.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    stale: int = 0
    stopped: bool = False


class Checkpoints:
    """The checkpoints of one run, in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, progress: Progress, model: Any, optimizer: Any) -> None:
        """Write the state, then drop all but the last two; OutputError where the disk is full, the old ones intact."""
        target = self.folder / f"step-{progress.step:08d}"
        partial = self.folder / f".{target.name}{PARTIAL}"
        with storage_errors(self.folder):
            shutil.rmtree(partial, ignore_errors=True)
            try:
                weights.save(model.variables, partial / "model.safetensors")
                weights.save(optimizer.variables, partial / "optimizer.safetensors")
                (partial / "progress.json").write_text(json.dumps(asdict(progress)), encoding="utf-8")
                shutil.rmtree(target, ignore_errors=True)
                os.replace(partial, target)
            except BaseException:  # SIGTERM too
                shutil.rmtree(partial, ignore_errors=True)
                raise
            for old in self._saved()[:-KEPT]:
                shutil.rmtree(old)

    def restore(self, model: Any, optimizer: Any) -> tuple[Progress, list[str]]:
        """Load the newest checkpoint that is whole.

        Returns:
            The progress, and a line for each damaged checkpoint that was passed over. Without any
            checkpoint: a fresh progress, and the variables as they were.

        Raises:
            OutputError: there are checkpoints and none can be read.
        """
        passed: list[str] = []
        for folder in reversed(self._saved()):
            try:
                raw = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
                weights.load(model.variables, folder / "model.safetensors")
                weights.load(optimizer.variables, folder / "optimizer.safetensors")
                return Progress(**raw), passed
            except (EnvironmentFault, OSError, ValueError, TypeError) as error:
                passed.append(f"checkpoint {folder.name} is damaged and passed over: {error}")
        if passed:
            raise OutputError([*passed, f"{self.folder}: no checkpoint can be read: start again with another --out"])
        return Progress(), []

    def save_best(self, variables: Iterable[Any]) -> None:
        with storage_errors(self.folder):
            weights.save(variables, self.folder / BEST)

    def restore_best(self, variables: Iterable[Any]) -> None:
        weights.load(variables, self.folder / BEST)

    def newest(self) -> Path | None:
        """The last checkpoint's folder, for messages."""
        saved = self._saved()
        return saved[-1] if saved else None

    def clear(self) -> None:
        """Drop all checkpoints: the run is done and its weights are in model/."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _saved(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"))
