"""Devices of one process that share a batch compute what one computes: on jax and TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from nano import nano_recipe

import zoo
from zoo.backend import Backend
from zoo.errors import EnvironmentFault

pytestmark = pytest.mark.usefixtures("backend")


SPLIT = {"jax": "XLA_FLAGS=--xla_force_host_platform_device_count=2", "tensorflow": "ZOO_CPU_DEVICES=2"}
"""What is told of how to split a CPU."""


def test_more_than_there_are(backend: Backend, tmp_path: Path) -> None:
    match = (
        rf"training.devices: got 2, and {backend.name} has 1 here \(cpu\): use at most 1, or set {SPLIT[backend.name]}"
    )
    with pytest.raises(EnvironmentFault, match=match):
        zoo.train(nano_recipe({"training.devices": 2}), tmp_path / "run")


def told(folder: Path, *words: str) -> dict[str, dict[str, float]]:
    """What shared_batches.py prints, by devices."""
    script = Path(__file__).with_name("shared_batches.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {str(line.pop("devices")): line for line in map(json.loads, done.stdout.splitlines())}


def test_losses_are_those_of_one(backend: Backend, tmp_path: Path) -> None:
    """With dropout on, and the last batch of an epoch leaves devices without a row; TensorFlow compiles for each."""
    (found,) = told(tmp_path, {"jax": "8", "tensorflow": "2"}[backend.name]).values()
    assert found["steps"] == 21
    assert max(found["loss"], found["probability"]) < 1e-5


@pytest.mark.slow
def test_in_parts_and_gone_on_with_on_another_number(tmp_path: Path) -> None:
    found = told(tmp_path, "2", "4", "--more")
    other = found.pop("2, another seed")
    assert list(found) == ["2", "4", "2, in parts", "2 then 1", "1 then 2"]
    assert {of["steps"] for of in found.values()} == {21}
    assert max(max(of["loss"], of["probability"]) for of in found.values()) < 1e-5
    assert other["loss"] > 1e-3
