"""Devices that share a batch on TensorFlow, a CPU split into two: copies of variables, masks, strategies, kills."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from shared_runs import STRATEGIES, assert_alike, by_processes, command, recipe, wait_for

import zoo
from zoo.backend import Backend, on_tensorflow
from zoo.backend.tensorflow_mirrors import SPLIT, split_cpu
from zoo.backend.transformer import Kernels
from zoo.errors import EnvironmentFault, RecipeError
from zoo.training.prepare import activated

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(autouse=True)
def two_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the processes that are started here; this one has begun to compute on one."""
    monkeypatch.setenv(SPLIT, "2")


def test_masks_are_those_of_the_rows_in_the_whole_batch() -> None:
    kernels = Kernels()
    whole = kernels.keep_mask(tf.constant([5, 3]), (8, 3, 5), 0.3)
    shares = [kernels.keep_mask(tf.constant([5, 3, number]), (2, 3, 5), 0.3) for number in range(4)]
    assert tf.reduce_all(tf.concat(shares, 0) == whole)


@pytest.mark.parametrize("asked", ["two", "0", "-1"])
def test_what_is_no_number_of_devices(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SPLIT, asked)
    with pytest.raises(EnvironmentFault, match=f"{SPLIT} is '{asked}', expected a whole number above 0"):
        split_cpu()


def test_a_process_that_computes_already_is_left_as_it_is() -> None:
    split_cpu()
    assert len(tf.config.list_logical_devices("CPU")) == 1


def test_several_machines_are_refused(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = {"cluster": {"worker": ["first:1", "second:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    with pytest.raises(EnvironmentFault, match="TF_CONFIG names 2 processes: on tensorflow devices of one"):
        backend.refuse_devices(2)
    backend.refuse_devices(1)


def test_what_looks_at_all_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_tensorflow, "places", lambda: ["one", "two"])
    with pytest.raises(RecipeError, match="dropout_masks: got native, and each device would draw the same masks"):
        activated(recipe(**{"training.devices": 2, "training.dropout_masks": "native"}))


@pytest.mark.slow
def test_copies_stay_alike_and_optimizers_know_them() -> None:
    script = Path(__file__).with_name("mirrored_copies.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"apart": 0.0, "unmoved": [], "told": True, "known": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [*STRATEGIES.values(), {"training.compile": "on"}],
    ids=[*STRATEGIES, "compiled"],
)
def test_losses_of_strategies_are_those_of_one(changes: Mapping[str, Any], tmp_path: Path) -> None:
    of = recipe(**changes)
    assert_alike(by_processes(of, tmp_path / "2", 2), zoo.train(of, tmp_path / "1", progress=False))


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(2, 1), (1, 2)])
def test_killed_and_gone_on_with_on_another_number(counts: tuple[int, int], tmp_path: Path) -> None:
    of = recipe(**{"training.epochs": 40, "training.checkpoint": {"minutes": None, "steps": 4}})
    expected = zoo.train(of, tmp_path / "1", progress=False)
    out = tmp_path / "cut"
    begun = subprocess.Popen(command(of, out, counts[0]), stderr=subprocess.PIPE, text=True)
    wait_for(out / "checkpoints", begun)
    begun.kill()
    begun.communicate(timeout=120)
    assert_alike(by_processes(of, out, counts[1], "--resume"), expected, 280)
