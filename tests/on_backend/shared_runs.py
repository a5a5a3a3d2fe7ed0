"""Runs of a nano model by several processes, for the checks beside this file."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import nano_recipe

from zoo.finished import Run, load_run
from zoo.recipe import Recipe, dump_recipe

# 52 rows in batches of 8: the last batch of an epoch has 4, fewer than eight devices.
WAYS: dict[str, Any] = {
    "training.precision": "float32",
    "training.log_every": 1,
    "training.batch_size": 8,
    "training.epochs": 3,
    "data.limit": {"train": 58, "test": 16},
}
TEXTS = ["a truly great film", "boring"]
STRATEGIES: dict[str, dict[str, Any]] = {
    "adversarial": {"training.adversarial": {"epsilon": 1.0}, "training.accumulate": 2},
    "r_drop": {"training.r_drop": {}, "training.average": {"type": "ema", "decay": 0.9}},
    "mixup": {"training.mixup": {}},
    "unfreeze": {"training.unfreeze": {"epochs": 1}, "training.class_weights": "balanced"},
    "lora": {"training.lora": {}, "training.remat": True, "training.optimizer.type": "lion"},
}
"""Ways of training that a share of the rows has to compute as all of them do."""


def recipe(**more: Any) -> Recipe:
    return nano_recipe(WAYS | more)


def command(of: Recipe, out: Path, devices: int, *words: str) -> list[str]:
    path = out.with_suffix(".yaml")
    path.write_text(dump_recipe(of, path.parent))
    return [sys.executable, "-m", "zoo.run", str(path), "--out", str(out), "--devices", str(devices), *words]


def by_processes(of: Recipe, out: Path, devices: int, *words: str) -> Run:
    done = subprocess.run(command(of, out, devices, *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("  backend  ") == 1, "the first process tells, and no other"
    assert "Warning" not in done.stderr
    return load_run(out)


def assert_alike(found: Run, expected: Run, steps: int = 21) -> None:
    losses = [[row["loss"] for row in run.history if row["kind"] == "step"] for run in (found, expected)]
    assert [len(each) for each in losses] == [steps, steps]
    np.testing.assert_allclose(*losses, rtol=0.0, atol=1e-5)
    assert np.ptp(losses[0]) > 1e-3
    ends = [[row["validation"] for row in run.history if row["kind"] == "epoch"] for run in (found, expected)]
    for one, other in zip(*ends, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    np.testing.assert_allclose(found.probabilities(TEXTS), expected.probabilities(TEXTS), rtol=0.0, atol=1e-5)


def wait_for(checkpoints: Path, of: subprocess.Popen[str]) -> None:
    while not list(checkpoints.glob("step-*")):
        assert of.poll() is None, of.communicate()[1]
        time.sleep(0.05)
