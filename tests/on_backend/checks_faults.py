"""What goes wrong while a run is trained: a gradient that is not finite, a disk that is full or read-only."""

from __future__ import annotations

import contextlib
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recipes
import zoo
from zoo.backend import Backend
from zoo.data import room
from zoo.data.manifest import damage
from zoo.errors import OutputError
from zoo.models import inference
from zoo.recipe.optimizers import AdamW
from zoo.runs.screen import Screen
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_gradient_that_is_not_finite(backend: Backend, accumulate: int) -> None:
    """It is told as the loss of its own step, though that is finite."""
    from keras import ops

    def loss(outputs: Any, targets: Any, counted: Any) -> tuple[Any, Any]:
        total, count = softmax_cross_entropy(outputs, targets, counted)
        still = ops.where(counted < 2.0, 1.0, 0.0)[:, None] + 0.0 * outputs
        return total + ops.sum(ops.sqrt(still)), count  # the root's slope at 0 is infinite

    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides={"training.precision": "float32"}))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-3] * 2)
    trainer = backend.trainer(model, optimizer, loss, precision="float32", accumulate=accumulate)
    inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
    for last, finite in ((1.0, True), (2.0, False)):
        told, _ = trainer.step(inputs, np.zeros(4, np.int32), np.array([1, 1, 1, last], np.float32))
        assert np.isfinite(inference.to_host(told)) == finite


FEW = {"training.epochs": 2, "data.limit": {"train": 64, "test": 16}}


class SmallDisk:
    """A disk of 96 MB at a folder; where none may be mounted, no file may grow any more while it is `full`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._filler, mount = folder / "filler", ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", folder]
        self.mounted = shutil.which("mount") is not None and subprocess.run(mount, check=False).returncode == 0

    def fill(self) -> None:
        if not self.mounted:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
            return
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as stream:
            while stream.write(bytes(4096)):
                pass

    def clear(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self._filler.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "disk")
    yield made
    made.clear()
    if made.mounted:
        subprocess.run(["umount", tmp_path / "disk"], check=True)


@pytest.mark.at_times
@pytest.mark.usefixtures("unpainted")
def test_a_disk_that_fills_up_while_a_run_goes_on(tmp_path: Path, disk: SmallDisk) -> None:
    """The checkpoint before stays whole, and the run goes on from it once there is room."""

    class Filling(Screen):
        def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
            if epoch == 2:
                disk.fill()

    recipe, out = recipes.load("quickstart", profile="smoke", overrides=FEW), tmp_path / "disk" / "run"
    with pytest.raises(OutputError, match=r"the disk is full|File too large"):
        zoo.train(recipe, out, progress=Filling(quiet=True))
    (kept,) = (out / "checkpoints").iterdir()
    assert damage(kept) is None
    with pytest.raises(OutputError, match=r"the disk is full|File too large"):
        zoo.train(recipe, out, resume=True, progress=False)
    disk.clear()
    assert zoo.train(recipe, out, resume=True, progress=False).folder.run["training"]["epochs"] == 2
    assert not list(out.rglob(".*"))


@pytest.mark.at_times
def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before the first step, with what is needed and what there is; what lies there already counts."""
    recipe = recipes.load("quickstart", profile="smoke", overrides=FEW)
    wanted = re.compile(
        r"run has (\S+ \wB) left, expected (\S+ MB) for the checkpoints and the model of this run: free"
    )
    monkeypatch.setattr(room, "free_bytes", lambda folder: 1_000_000)
    with pytest.raises(OutputError, match=wanted) as caught:
        zoo.train(recipe, tmp_path / "run", progress=False)
    assert wanted.search(str(caught.value)).group(1) == "1.0 MB"  # type: ignore[union-attr]
    assert not (tmp_path / "run" / "history.jsonl").exists()
