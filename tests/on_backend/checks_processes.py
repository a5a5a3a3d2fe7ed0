"""Processes that share a batch compute what one computes: torch.distributed, by gloo."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from shared_runs import STRATEGIES, assert_alike, by_processes, command, recipe, wait_for

import zoo
from zoo.backend.torch_peers import take_device
from zoo.backend.transformer_torch import TorchKernels, share_of_masks
from zoo.errors import EnvironmentFault
from zoo.recipe.sharing import beyond_own_rows

pytestmark = pytest.mark.usefixtures("backend")


def test_masks_are_those_of_the_rows_in_the_whole_batch() -> None:
    kernels, state = TorchKernels(on_cpu=True), torch.tensor([5, 3])
    whole = kernels.keep_mask(state, (8, 3, 5), 0.3)
    shares = [kernels.keep_mask(torch.tensor([5, 3, number]), (2, 3, 5), 0.3) for number in range(4)]
    assert torch.equal(torch.cat(shares), whole)
    with share_of_masks(3):
        drop = next(layer for layer in zoo.build(recipe())._flatten_layers() if hasattr(layer, "seed_generator"))
        from zoo.models.dropout import drop_of

        assert kernels.state(drop_of(drop), True)[-1] == 3


def test_one_process_has_one_device(tmp_path: Path) -> None:
    match = r"training.devices: got 2, but this is one process, which has one device: use python -m zoo.run"
    with pytest.raises(EnvironmentFault, match=match):
        zoo.train(recipe(**{"training.devices": 2}), tmp_path / "run")


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun's environment on a machine with two, as far as a CPU can tell."""
    chosen = list[int]()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    take_device()
    assert chosen == [], "alone it is left to Keras"
    launched = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    take_device()
    assert chosen == [1]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(EnvironmentFault, match="has started 4 processes here, and torch has 2 GPUs: use 2"):
        take_device()
    monkeypatch.setenv("KERAS_TORCH_DEVICE", "cpu")
    take_device()
    assert chosen == [1]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"training.dropout_masks": "native"}, "training.dropout_masks: got native"),
        ({"training.accumulate": "auto"}, "training.accumulate: got auto"),
        ({"training.mixup": {}, "training.accumulate": 4}, "training.mixup: got 1 rows"),
        ({}, None),
    ],
)
def test_what_processes_cannot_share_is_told(changes: Mapping[str, Any], key: str | None) -> None:
    found = beyond_own_rows(recipe(**{"training.devices": 2, **changes}))
    assert [fault[: len(key)] for fault in found[:-1]] == [key] if key else found == []
    assert beyond_own_rows(recipe(**changes)) == []


def test_losses_are_those_of_one(tmp_path: Path) -> None:
    """With dropout on, in parts, and a last batch of an epoch with fewer rows."""
    of = recipe(**{"training.accumulate": 2})
    assert_alike(by_processes(of, tmp_path / "2", 2), zoo.train(of, tmp_path / "1", progress=False))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{}, *STRATEGIES.values()],
    ids=["plain", *STRATEGIES],
)
def test_so_they_are_on_four_and_of_strategies(changes: Mapping[str, Any], tmp_path: Path) -> None:
    of = recipe(**changes)
    devices = 4 if not changes else 2
    assert_alike(by_processes(of, tmp_path / "many", devices), zoo.train(of, tmp_path / "1", progress=False))


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(2, 1), (1, 2), (4, 2)])
def test_stopped_and_gone_on_with_on_another_number(counts: tuple[int, int], tmp_path: Path) -> None:
    of = recipe(**{"training.epochs": 40, "training.checkpoint": {"minutes": None, "steps": 4}})
    expected = zoo.train(of, tmp_path / "1", progress=False)
    out = tmp_path / "cut"
    begun = subprocess.Popen(command(of, out, counts[0]), stderr=subprocess.PIPE, text=True)
    wait_for(out / "checkpoints", begun)
    begun.send_signal(signal.SIGTERM)
    _, told = begun.communicate(timeout=120)
    assert begun.returncode == 143, told
    assert told.count("terminated") == 1
    assert "--resume" in told
    assert_alike(by_processes(of, out, counts[1], "--resume"), expected, 280)


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_and_leaves_a_good_checkpoint(tmp_path: Path) -> None:
    of = recipe(**{"training.epochs": 100, "training.checkpoint": {"minutes": None, "steps": 4}})
    out = tmp_path / "cut"
    begun = subprocess.Popen(command(of, out, 2), stderr=subprocess.PIPE, text=True)
    wait_for(out / "checkpoints", begun)
    (second,) = (pid for pid in below(begun.pid) if b"RANK=1" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    os.kill(second, signal.SIGKILL)
    at = time.monotonic()
    _, told = begun.communicate(timeout=120)
    assert time.monotonic() - at < 60
    assert begun.returncode != 0
    assert "another process of the run has ended" in told or "terminated" in told
    again = by_processes(of.override({"training.checkpoint": {"minutes": 1.0, "steps": None}}), out, 1, "--resume")
    assert again.metrics["test"]


def below(pid: int) -> list[int]:
    """The children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
