"""Searches as one runs them: worker processes that are killed and stopped, a file and a real PostgreSQL as storage.

The database wants Debian's package `postgresql`, whose server is started here and stopped again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from zoo.errors import EXIT_INTERRUPTED, EXIT_TERMINATED

pytestmark = pytest.mark.slow

SEARCH = """
name: killed
recipe: quickstart
profile: smoke
overrides: {training.epochs: 8}
search:
  training.optimizer.learning_rate: {low: 1.0e-5, high: 3.0e-2, log: true}
  training.batch_size: [8, 16, 32]
  training.schedule.warmup: [0.0, 0.1, 0.3]
  training.optimizer.weight_decay: [0.01, 0.1]
trials: 16
seeds: 2
"""


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The address of a database on a server of our own."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert programs, "install Debian's package postgresql: found no /usr/lib/postgresql/*/bin"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="zoo-postgresql-", dir="/tmp"))  # root's own folders are shut to its user
    other: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}  # it does not run as root
    if other:
        shutil.chown(folder, "postgres")

    def call(program: str, *words: str) -> None:
        subprocess.run([programs[-1] / program, *words], check=True, cwd=folder, stdout=subprocess.DEVNULL, **other)

    try:
        call("initdb", "-D", f"{folder}/data", "-U", "zoo", "--auth", "trust", "--no-sync")
        listening = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        call("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-o", listening, "start")
        try:
            yield f"postgresql+psycopg://zoo@127.0.0.1:{port}/postgres"
        finally:
            call("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def search(tmp_path: Path) -> Path:
    path = tmp_path / "killed.yaml"
    path.write_text(SEARCH, encoding="utf-8")
    return path


@contextlib.contextmanager
def begun(search: Path, out: Path, *words: str, storage: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """The command, which is stopped should the block end before it does."""
    command = [sys.executable, "-m", "zoo.sweep", str(search), "--out", str(out), "--workers", "3", *words]
    around = {**os.environ, "KERAS_BACKEND": "torch"} | ({"ZOO_SWEEP_STORAGE": storage} if storage else {})
    process = subprocess.Popen(command, env=around, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate()


def epochs(out: Path) -> Mapping[str, int]:
    """How many epochs each trial has told, by its folder's name."""
    files = out.glob("trials/*/history.jsonl")
    return {file.parent.name: file.read_text(encoding="utf-8").count('"kind": "epoch"') for file in files}


def wait_for_epochs(process: subprocess.Popen[str], out: Path) -> None:
    """Until each worker is some epochs into its first trial."""
    end = time.monotonic() + 1200
    while len([count for count in epochs(out).values() if count >= 2]) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("database", [False, True], ids=["journal", "postgresql"])
def test_a_killed_worker_costs_no_trial(search: Path, tmp_path: Path, database: bool) -> None:
    out = tmp_path / "out"
    with (
        postgresql() if database else contextlib.nullcontext() as url,
        begun(search, out, storage=url) as process,
    ):
        wait_for_epochs(process, out)
        workers = psutil.Process(process.pid).children()
        assert len(workers) == 3
        workers[0].kill()
        told, said = process.communicate()
    assert process.returncode == 0, said
    assert told.splitlines()[-1] == str(out)
    assert "died (SIGKILL); another one begins" in said
    found = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert [trial["number"] for trial in found["trials"]] == list(range(16))
    assert {trial["status"] for trial in found["trials"]} == {"complete", "pruned"}
    assert sorted(trial["attempts"] for trial in found["trials"]) == [1] * 15 + [2]
    for trial in found["trials"]:
        run = json.loads((out / "trials" / f"{trial['number']:04d}" / "run.json").read_text(encoding="utf-8"))
        assert run["status"] == {"complete": "done", "pruned": "pruned"}[trial["status"]]
        assert "test" not in run.get("metrics", {})
    best, (first, second) = found["best"], found["seeds"]["runs"]
    assert best["value"] >= found["own"]
    assert first["validation"] == best["value"]
    assert {first["seed"], second["seed"]} == {0, 1}
    assert "run again gives" not in said
    assert found["cost"]["pruned_share"] <= 0.5
    print(json.dumps(found["cost"]))


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, EXIT_INTERRUPTED), (signal.SIGTERM, EXIT_TERMINATED)])
def test_a_stopped_search_goes_on(search: Path, tmp_path: Path, stop: signal.Signals, code: int) -> None:
    out = tmp_path / "out"
    with begun(search, out, "--trials", "4") as process:
        wait_for_epochs(process, out)
        before = epochs(out)
        process.send_signal(stop)
        _, said = process.communicate()
    assert process.returncode == code, said
    assert said.count("stopped: it waits again") == 3
    *others, last = said.splitlines()
    assert "zoo.run" not in said  # a trial is gone on with by its search
    assert others[-1] == {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}[stop]
    assert "zoo.sweep" in last
    assert "--trials 4" in last
    assert last.endswith("--resume")
    for name in before:
        run = json.loads((out / "trials" / name / "run.json").read_text(encoding="utf-8"))
        assert run["status"] in ("interrupted", "done")
    with begun(search, out, "--trials", "5", "--resume") as process:
        _, said = process.communicate()
    assert process.returncode == 0, said
    found = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert [trial["status"] for trial in found["trials"]] == ["complete"] * 5
    assert sorted(trial["attempts"] for trial in found["trials"])[-3:] == [2, 2, 2]
    assert set(epochs(out).values()) == {8}  # each epoch once, those before the stop too
