"""Two machines share a run: two network namespaces with addresses of their own, joined by a virtual cable."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from shared_runs import assert_alike, command, recipe, wait_for

import zoo
from zoo.backend import Backend
from zoo.finished import load_run

pytestmark = [pytest.mark.usefixtures("backend"), pytest.mark.slow]

ADDRESSES = ("10.77.0.1", "10.77.0.2")
ETC = Path("/etc/netns")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def machines() -> Iterator[tuple[str, str]]:
    """Names of two network namespaces; each has a cable of its own name."""
    assert os.geteuid() == 0, "expected root: network namespaces are made"
    names = (f"zoo{os.getpid()}a", f"zoo{os.getpid()}b")
    for name, address in zip(names, ADDRESSES, strict=True):
        ip("netns", "add", name)
        # What `ip netns exec` lays over /etc: each machine's own name has its address.
        (ETC / name).mkdir(parents=True)
        (ETC / name / "hosts").write_text(f"127.0.0.1 localhost\n{address} {socket.gethostname()}\n")
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
            shutil.rmtree(ETC / name)


def on(machine: str, words: list[str], backend: str) -> subprocess.Popen[str]:
    """A command of `zoo.run` on one of the two, which know of each other as the backend has it."""
    number, (first, port) = str(int(machine.endswith("b"))), (ADDRESSES[0], "29500")
    more = {}
    if backend == "torch":
        torchrun = ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", number, "--master-addr", first]
        words = [words[0], "-m", "torch.distributed.run", *torchrun, "--master-port", port, *words[1:]]
    else:
        more = {"JAX_COORDINATOR_ADDRESS": f"{first}:{port}", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": number}
    started: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "env": os.environ | more}
    return subprocess.Popen(["ip", "netns", "exec", machine, *words], **started)


def test_two_machines_compute_what_one_process_computes(
    machines: tuple[str, str], backend: Backend, tmp_path: Path
) -> None:
    of = recipe()
    words = command(of, tmp_path / "2", 2)
    both = [on(machine, words, backend.name) for machine in machines]
    told = [each.communicate(timeout=300)[1] for each in both]
    assert [each.returncode for each in both] == [0, 0], told
    assert_alike(load_run(tmp_path / "2"), zoo.train(of, tmp_path / "1", progress=False))


def test_a_machine_that_is_cut_off_ends_the_run_within_a_minute(
    machines: tuple[str, str], backend: Backend, tmp_path: Path
) -> None:
    of = recipe(**{"training.epochs": 1000, "training.checkpoint": {"minutes": None, "steps": 4}})
    out = tmp_path / "2"
    both = [on(machine, command(of, out, 2), backend.name) for machine in machines]
    wait_for(out / "checkpoints", both[0])
    ip("-n", machines[1], "link", "set", machines[1], "down")
    at = time.monotonic()
    while both[0].poll() is None and "failed" not in (out / "run.json").read_text():
        assert time.monotonic() - at < 60
        time.sleep(0.5)
    for each in both:
        each.terminate()
    told = [each.communicate(timeout=120)[1] for each in both]
    signs = ("another process of the run has ended or does not answer", "distributed service detected fatal errors")
    assert any(sign in told[0] for sign in signs), told[0]
    again = subprocess.Popen([*command(of, out, 1), "--resume"], stderr=subprocess.PIPE, text=True)
    assert again.stderr is not None
    lines = iter(again.stderr.readline, "")
    assert any("goes on after step" in line for line in lines), "the checkpoint is good"
    again.terminate()
    again.communicate(timeout=120)
    assert again.returncode == 143
