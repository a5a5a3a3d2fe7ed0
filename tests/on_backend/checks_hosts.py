"""Two machines share a run: two network namespaces with addresses of their own, joined by a virtual cable."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checks_processes import assert_alike, command, recipe, wait_for

import zoo
from zoo.finished import load_run

pytestmark = [pytest.mark.usefixtures("backend"), pytest.mark.slow]

ADDRESSES = ("10.77.0.1", "10.77.0.2")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def machines() -> Iterator[tuple[str, str]]:
    """Names of two network namespaces; each has a cable of its own name."""
    assert os.geteuid() == 0, "expected root: network namespaces are made"
    names = (f"zoo{os.getpid()}a", f"zoo{os.getpid()}b")
    for name in names:
        ip("netns", "add", name)
    try:
        ip("link", "add", names[0], "netns", names[0], "type", "veth", "peer", "name", names[1], "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", name)
            for device in (name, "lo"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


def on(machine: str, words: list[str]) -> subprocess.Popen[str]:
    """A command of `zoo.run` by torchrun on one of the two."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    torchrun += ["--node-rank", str(machine.endswith("b") + 0), "--master-addr", ADDRESSES[0], "--master-port", "29500"]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": machine}
    started: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "env": environment}
    return subprocess.Popen(["ip", "netns", "exec", machine, *torchrun, *words[1:]], **started)


def test_two_machines_compute_what_one_process_computes(machines: tuple[str, str], tmp_path: Path) -> None:
    of = recipe()
    words = command(of, tmp_path / "2", 2)
    both = [on(machine, words) for machine in machines]
    told = [each.communicate(timeout=300)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], told
    assert_alike(load_run(tmp_path / "2"), zoo.train(of, tmp_path / "1", progress=False))


def test_a_machine_that_is_cut_off_ends_the_run_within_a_minute(machines: tuple[str, str], tmp_path: Path) -> None:
    of = recipe(**{"training.epochs": 1000, "training.checkpoint": {"minutes": None, "steps": 4}})
    out = tmp_path / "2"
    both = [on(machine, command(of, out, 2)) for machine in machines]
    wait_for(out / "checkpoints", both[0])
    ip("-n", machines[1], "link", "set", machines[1], "down")
    at = time.monotonic()
    while "failed" not in (out / "run.json").read_text():
        assert time.monotonic() - at < 60
        time.sleep(0.5)
    for each in both:
        each.terminate()
    told = [each.communicate(timeout=120)[1] for each in both]
    assert "another process of the run has ended or does not answer" in told[0]
    again = subprocess.Popen([*command(of, out, 1), "--resume"], stderr=subprocess.PIPE, text=True)
    assert again.stderr is not None
    lines = iter(again.stderr.readline, "")
    assert any("goes on after step" in line for line in lines), "the checkpoint is good"
    again.terminate()
    again.communicate(timeout=120)
    assert again.returncode == 143
