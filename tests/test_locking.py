"""One run a folder: whoever else comes is told whose it is, on any file system."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from zoo.data import locking
from zoo.data.locking import Lock
from zoo.errors import OutputError
from zoo.runs.opening import open_run
from zoo.runs.run_folder import RunFolder, create_run

RECIPE = "name: mine\n"
STEP = {"kind": "step", "step": 20, "epoch": 1, "loss": 0.5, "learning_rate": 1e-5, "seconds": 1.0, "tokens": 9}


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


@pytest.mark.parametrize("resume", [False, True])
def test_two_runs_in_one_folder(tmp_path: Path, resume: bool) -> None:
    folder = create_run(tmp_path / "mine", RECIPE)
    with pytest.raises(OutputError, match=f"written to by process {os.getpid()} on "):
        create_run(folder.path, RECIPE, resume=resume)
    assert folder.run["status"] == "running"


def test_of_two_that_start_at_once_one_is_refused_and_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, take, first = tmp_path / "runs" / "mine", Lock.take, list[RunFolder]()

    def overtaken(lock: Lock) -> bool:
        monkeypatch.setattr(Lock, "take", take)
        first.append(create_run(path, RECIPE))
        first[0].append_history(STEP)
        return take(lock)

    monkeypatch.setattr(Lock, "take", overtaken)
    with pytest.raises(OutputError, match="being written to"):
        create_run(path, RECIPE)
    assert names(path) == [".lock", ".owner", "history.jsonl", "recipe.yaml", "run.json"]


def test_a_folder_that_another_takes_away_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one whose run was refused, say by a full disk, between the making and the locking of this one."""
    path, take = tmp_path / "runs" / "mine", Lock.take

    def too_late(lock: Lock) -> bool:
        monkeypatch.setattr(Lock, "take", take)
        path.rmdir()
        path.parent.rmdir()
        return take(lock)

    monkeypatch.setattr(Lock, "take", too_late)
    assert create_run(path, RECIPE).run["status"] == "running"
    with pytest.raises(OutputError, match="cannot be written"):
        create_run("/proc/nowhere", RECIPE)


def test_a_process_that_dies_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    code = f"import os; from zoo.runs.run_folder import create_run; f = create_run({str(path)!r}, ''); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert open_run(path).run["status"] == "running"
    assert create_run(path, RECIPE, resume=True).run["owner"]["pid"] == os.getpid()


def no_locks(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOLCK) -> None:
    """As on a network file system whose server knows no locks."""

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life, and their want, in tenths of a second."""
    monkeypatch.setattr(locking, "SILENCE", 0.5)
    monkeypatch.setattr(locking, "RENEWED", 0.1)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_what_has_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    no_locks(monkeypatch, number)
    lock = Lock.of_folder(tmp_path)
    assert lock.take()
    owner = lock.owner()
    assert owner is not None
    assert owner.pid == os.getpid()
    lock.release()
    assert names(tmp_path) == []
    with Lock.beside(tmp_path / "cached").held():
        assert "cached.owner" in names(tmp_path)
    assert "cached.owner" not in names(tmp_path)


@pytest.mark.usefixtures("hasty")
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_locks(monkeypatch)
    path = tmp_path / "mine"
    with create_run(path, RECIPE) as folder:
        time.sleep(0.7)  # it lives
        with pytest.raises(OutputError, match=f"written to by process {os.getpid()} on "):
            create_run(path, RECIPE)
        folder.append_history(STEP)
    assert names(path) == ["history.jsonl", "recipe.yaml", "run.json"]
    code = (
        "import fcntl, os; from zoo.runs.run_folder import create_run; from zoo.data import locking\n"
        "def refuse(*_): raise OSError(37, 'no locks')\n"
        "fcntl.flock, locking.SILENCE, locking.RENEWED = refuse, 0.5, 0.1\n"
        f"f = create_run({str(path)!r}, '', resume=True); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert ".owner" in names(path)
    started = time.monotonic()
    assert create_run(path, RECIPE, resume=True).run["owner"]["pid"] == os.getpid()
    assert time.monotonic() - started < locking.SILENCE, "of this machine it is known that it is gone"


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("alive", [True, False])
def test_an_owner_on_another_machine(tmp_path: Path, alive: bool) -> None:
    """Whose lock this machine does not see: while it shows signs of life it keeps the folder, and no longer."""
    theirs = Lock.of_folder(tmp_path)
    assert theirs.take()
    (tmp_path / ".lock").unlink()
    marker = (tmp_path / ".owner").read_text().splitlines(keepends=True)
    theirs.release()
    marker = ["pid=4711\n" if line.startswith("pid=") else line for line in marker]
    marker = ["host=elsewhere\n" if line.startswith("host=") else line for line in marker]
    (tmp_path / ".owner").write_text("".join(marker))
    done = threading.Event()

    def live() -> None:
        while not done.wait(0.1):
            os.utime(tmp_path / ".owner")

    other = threading.Thread(target=live)
    if alive:
        other.start()
        try:
            with pytest.raises(OutputError, match="being written to by process 4711 on elsewhere, expected one run"):
                create_run(tmp_path, RECIPE)
        finally:
            done.set()
            other.join()
    else:
        assert create_run(tmp_path, RECIPE).run["owner"]["pid"] == os.getpid()


@pytest.mark.usefixtures("hasty")
def test_who_was_taken_for_gone_writes_nothing_more(tmp_path: Path) -> None:
    """As a machine that slept, or that lost its network for a minute."""
    folder = create_run(tmp_path, RECIPE)
    marker = (tmp_path / ".owner").read_text().replace(f"pid={os.getpid()}", "pid=4711")
    (tmp_path / ".owner").unlink()
    (tmp_path / ".owner").write_text(marker)
    deadline = time.monotonic() + 5
    while not folder._lock.lost and time.monotonic() < deadline:  # type: ignore[union-attr]
        time.sleep(0.05)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="now written to by process 4711"), folder:
        folder.append_history(STEP)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def race(base: Path, rounds: int, barrier: Barrier, told: SimpleQueue[tuple[int, int, str]]) -> None:
    """Tries to begin a run in each folder, at the same time as another."""
    for number in range(rounds):
        barrier.wait()
        try:
            folder: RunFolder | None = create_run(base / str(number), RECIPE)
            told.put((number, os.getpid(), "won"))
        except OutputError as error:
            folder = None
            told.put((number, os.getpid(), str(error)))
        barrier.wait()
        if folder is not None:
            folder.finish("done")


def test_of_two_that_race_one_wins(tmp_path: Path) -> None:
    """The other names it; whole commands race fifty times by `python tools/races.py`."""
    rounds, context = 5, multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(2), context.SimpleQueue()
    racing = [context.Process(target=race, args=(tmp_path, rounds, barrier, told)) for _ in range(2)]
    for process in racing:
        process.start()
    found = [told.get() for _ in range(2 * rounds)]
    for process in racing:
        process.join()
    for number in range(rounds):
        ((winner, _),) = [(pid, text) for at, pid, text in found if at == number and text == "won"]
        ((_, refused),) = [(pid, text) for at, pid, text in found if at == number and text != "won"]
        assert f"being written to by process {winner} on " in refused


@pytest.mark.parametrize("waiting", [False, True])
def test_an_owner_that_never_wrote_its_name_is_gone_after_a_while(
    waiting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kill, or a full disk, between the making of its file and the writing leaves it."""
    monkeypatch.setattr(locking, "RENEWED", 0.05)
    lock = Lock.beside(tmp_path / "table")
    owner = tmp_path / "table.owner"
    owner.touch()
    if waiting:
        threading.Timer(0.3, lambda: os.utime(owner, (0, 0))).start()  # a minute later
        with lock.held():
            assert owner.read_bytes()
        return
    monkeypatch.setattr(locking, "SILENCE", 0.1)
    os.utime(owner)
    assert not Lock.beside(tmp_path / "table").take()
    os.utime(owner, (0, 0))
    assert lock.take()
    lock.release()
