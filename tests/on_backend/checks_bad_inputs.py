"""Bad inputs that are only seen once there is a backend: through the command line, on that of this process."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from damaged import KERAS
from nano import SHORT, Interrupting

import recipes
import zoo
import zoo.run
from zoo import cli
from zoo.data import writing
from zoo.data.locking import Lock
from zoo.finished import Run
from zoo.report.drawing import Chart
from zoo.training import session

pytestmark = pytest.mark.usefixtures("backend")

SMOKE = [*("quickstart", "--profile", "smoke"), *("--set", "training.epochs=3"), *("--set", "data.limit={train: 96}")]
assert SHORT == {"training.epochs": 3, "data.limit": {"train": 96}}


class Command:
    """A command in this process: its code, and what it said on stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._said = capsys

    def __call__(self, *call: object) -> tuple[int, str]:
        self._said.readouterr()
        code = cli.main([str(word) for word in call])
        out, err = self._said.readouterr()
        assert not re.search(r"Traceback|a bug of ours", out + err)
        return code, err

    def run(self, out: Path, *more: object) -> tuple[int, str]:
        return self("run", *SMOKE, "--out", out, *more)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was interrupted in its third epoch; nobody writes to its folder."""
    folder = tmp_path_factory.mktemp("half") / "run"
    with pytest.raises(KeyboardInterrupt):
        zoo.run.train(recipes.load("quickstart", profile="smoke", overrides=SHORT), folder, progress=Interrupting(3))
    return folder


@pytest.fixture
def begun(half: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(half, tmp_path / "begun"))


def status(folder: Path) -> str:
    return str(json.loads((folder / "run.json").read_text())["status"])


@contextmanager
def somebody() -> Iterator[None]:
    """As a user for whom permissions count, which they do not for root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_once_saved(folder: Path) -> Callable[[int], None]:
    """An fsync for which the disk has no room any more from the first whole checkpoint of a run on."""
    sync = os.fsync

    def synced(handle: int) -> None:
        if list((folder / "checkpoints").glob("step-*")):
            no_room()
        sync(handle)

    return synced


def out_of_memory(*_: object, **__: object) -> None:
    raise MemoryError


class TestTraining:
    """Ends in 5."""

    def test_a_loss_that_is_not_finite(self, command: Command, tmp_path: Path) -> None:
        """Never 0; named are step, epoch, learning rate and batch."""
        code, err = command.run(tmp_path / "run", "--set", "training.optimizer.learning_rate=1.0e+20")
        assert code == 5
        told = (
            r"loss or its gradient became \w+ at step \d+ \(epoch 1, learning rate \S+e\+\d+\), whose batch is train/"
        )
        assert re.search(told, err)
        assert "lower training.optimizer.learning_rate" in err
        assert status(tmp_path / "run") == "failed"
        assert not (tmp_path / "run" / "model").exists()

    def test_out_of_memory(self, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(session.inference, "logits", out_of_memory)
        code, err = command.run(tmp_path / "run")
        assert code == 5
        assert "training.eval_batch_size=16" in err
        assert status(tmp_path / "run") == "failed"


class TestOutput:
    """Ends in 6."""

    def test_what_is_no_place_for_a_run(self, command: Command, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        code, err = command.run(tmp_path / "file")
        assert (code, f"{tmp_path}/file is a file, expected a folder for the run" in err) == (6, True)
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("mine")
        for more in ((), ("--resume",)):
            code, err = command.run(tmp_path / "mine", *more)
            assert (code, f"{tmp_path}/mine" in err, "choose another --out" in err or "leave out --resume" in err) == (
                *(6, True, True),
            )
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]

    @pytest.mark.usefixtures("half")  # one that has run has loaded what another user may not read
    def test_a_folder_of_somebody_else(self, command: Command) -> None:
        with tempfile.TemporaryDirectory() as base:
            folder = Path(base)
            folder.chmod(0o555)
            with somebody():
                code, err = command.run(folder / "run")
            assert (code, f"{folder}/run cannot be written (Permission denied)" in err) == (6, True)
            assert not list(folder.iterdir())
            folder.chmod(0o755)

    def test_two_runs_in_one_folder(self, command: Command, begun: Path) -> None:
        other = Lock.of_folder(begun)
        assert other.take()
        try:
            code, err = command.run(begun, "--resume")
        finally:
            other.release()
        assert (code, f"{begun} is being written to by process {os.getpid()} on {socket.gethostname()}" in err) == (
            *(6, True),
        )

    def test_a_disk_that_is_full(
        self, command: Command, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """From the start nothing is left; during a save what was saved before is gone on with."""
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", no_room)
            code, err = command.run(tmp_path / "run")
        assert (code, f"{tmp_path}/run" in err, "the disk is full" in err) == (6, True, True)
        assert not (tmp_path / "run").exists()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_once_saved(tmp_path / "run"))
            code, err = command.run(tmp_path / "run")
        assert (code, "the disk is full" in err) == (6, True)
        assert not list((tmp_path / "run").rglob(".*"))
        code, err = command.run(tmp_path / "run", "--resume")
        assert code == 0
        assert "goes on after step" in err
        again = zoo.load_run(tmp_path / "run")
        assert again.metrics == whole.metrics
        assert (again.path / "model" / "weights.safetensors").read_bytes() == (
            whole.path / "model" / "weights.safetensors"
        ).read_bytes()

    @pytest.mark.parametrize(
        ("more", "told"),
        [
            (("--set", "training.batch_size=4"), r"training\.batch_size: the run was begun with 16, now it is 4"),
            (("--set", "data.limit={train: 90}"), r"data\.limit\.train: the run was begun with 96, now it is 90"),
        ],
    )
    def test_resume_with_another_recipe(self, command: Command, begun: Path, more: Sequence[str], told: str) -> None:
        code, err = command.run(begun, "--resume", *more)
        assert code == 6
        assert re.search(told, err)
        assert f"{begun}: put these back to go on, or choose another --out" in err
        assert status(begun) in ("interrupted", "failed")

    def test_data_that_changed_since_the_run_began(self, command: Command, begun: Path) -> None:
        told = json.loads((begun / "run.json").read_text())
        told["dataset"]["sha256"] = "0" * 64
        (begun / "run.json").write_text(json.dumps(told))
        code, err = command.run(begun, "--resume")
        assert (code, "the rows have changed since the run was begun" in err) == (6, True)

    def test_no_checkpoint_that_can_be_read(self, command: Command, begun: Path) -> None:
        for path in (begun / "checkpoints").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:-1])
        code, err = command.run(begun, "--resume")
        assert (code, "no checkpoint can be read: start again" in err, str(begun / "checkpoints") in err) == (
            6,
            True,
            True,
        )

    def test_leftovers_and_a_plot_that_fails(
        self, command: Command, whole: Run, begun: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a kill left half written goes, and without pictures the figures are those of the run with them."""
        half_written = begun / "checkpoints" / f".step-00000018.x{writing.PARTIAL}"
        half_written.mkdir()
        (half_written / "optimizer.safetensors").write_bytes(b"half")
        (begun / f".run.json.x{writing.PARTIAL}").write_bytes(b"{")
        monkeypatch.setattr(Chart, "png", no_room)
        code, err = command.run(begun, "--resume")
        assert (code, "No space left" in err) == (0, True)
        assert not list(begun.rglob(".*"))
        assert zoo.load_run(begun).metrics == whole.metrics
        assert status(begun) == "done"


class TestWeights:
    """Ends in 4, of a run's own in 6."""

    @pytest.mark.parametrize("damage", [lambda content: content[:-4], lambda content: b"", lambda content: content[:9]])
    def test_cut_weights_of_a_run(
        self, command: Command, whole: Run, tmp_path: Path, damage: Callable[[bytes], bytes]
    ) -> None:
        copy = Path(shutil.copytree(whole.path, tmp_path / "run"))
        weights = copy / "model" / "weights.safetensors"
        weights.write_bytes(damage(weights.read_bytes()))
        code, err = command("predict", copy, "--text", "a film")
        assert (code, "weights.safetensors" in err) == (6, True)

    def test_cut_weights_of_a_preset(self, command: Command, references: Path, tmp_path: Path) -> None:
        own = Path(shutil.copytree(references / "bert-gelu", tmp_path / "hf"))
        weights = own / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4])
        for name, content in {
            "config.json": json.dumps(KERAS),
            "assets/tokenizer/vocabulary.txt": (own / "vocab.txt").read_text(),
            "model.weights.h5": "\x89HDF",
        }.items():
            (tmp_path / "keras" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "keras" / name).write_text(content)
        for layout, file in {"hf": "model.safetensors", "keras": "model.weights.h5"}.items():
            change = f"model.backbone={{family: bert, preset: {tmp_path / layout}}}"
            code, err = command.run(tmp_path / f"run of {layout}", "--set", change)
            assert (code, f"{tmp_path / layout / file}" in err) == (4, True), err
            assert not (tmp_path / f"run of {layout}" / "model").exists()
