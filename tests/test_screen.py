"""What a person sees while a run goes on: on a terminal, as it would show it itself, and elsewhere in lines."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pyte
import pytest

from zoo.recipe.showing import hanging
from zoo.runs import stages
from zoo.runs.screen import Lines, Screen, epoch_line

ROOT = Path(__file__).parents[1]
PROGRAM = """
from zoo.runs.screen import Screen

screen = Screen()
epoch = {"kind": "epoch", "train": {"loss": 1.25, "accuracy": 0.5}, "seconds": 3.2, "best": True}
epoch["validation"] = {"loss": 1.25, "accuracy": 0.5, "f1": 0.4}
with screen.bar("train") as advance:
    screen.on_begin(0, 1000)
    row = {"loss": 1.25, "learning_rate": 1e-5, "seconds": 0.1, "tokens": 1000}
    for step in range(1, 1001):
        screen.on_step(step, 1 + step // 501, 10, lambda: 1.25, False)
        if step % 100 == 0:
            screen.on_row({"kind": "step", "step": step, **row})
        if step % 500 == 0:
            with screen.bar("validate", 100) as judged:
                for _ in range(10):
                    judged(10)
                    screen._progress.refresh()
            screen._progress.refresh()
            screen.on_row({**epoch, "epoch": step // 500, "step": step})
    screen.on_wait("compiling", 3.0)
    screen.on_note("a note " + "of many words " * 20)
    screen._progress.refresh()
    if LEAVE:
        import os
        os._exit(0)
screen.say("report", "/a/path/that/is/" + "long/" * 30 + "report.html")
"""


def seen(columns: int, *, leave: bool, **told: str) -> list[str]:
    """The lines on a terminal, at the end or, with `leave`, while the bar is live; `told` by the environment."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **told}
    command = [sys.executable, "-c", PROGRAM.replace("LEAVE", str(leave))]
    process = subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    terminal = pyte.Screen(columns, 40)
    stream = pyte.ByteStream(terminal)
    while data := _read(ours):
        stream.feed(data)
    os.close(ours)
    assert process.wait() == 0
    return [line.rstrip() for line in terminal.display if line.strip()]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""


def test_an_epoch_that_predicts_one_class_is_not_best_without_that_word() -> None:
    seen_so = {"loss": 0.2, "accuracy": 0.94, "majority_share": 0.94, "f1": 0.0, "classes_predicted": 1}
    row = {"train": {"loss": 0.3, "accuracy": 0.9}, "validation": seen_so, "seconds": 1.0, "best": True}
    assert "accuracy 94.0% (the commonest alone 94.0%)" in epoch_line(row)
    assert epoch_line(row).endswith("best so far, one class predicted for all")
    told = epoch_line({**row, "validation": {**seen_so, "classes_predicted": 2}})
    assert told.endswith("best so far")


@pytest.mark.parametrize(("columns", "told"), [(60, {}), (80, {}), (110, {}), (110, {"COLUMNS": "160"})])
def test_lines_stay_whole_above_a_live_bar(columns: int, told: dict[str, str]) -> None:
    """Also where the environment says another width than the terminal has: it once tore each line."""
    live = seen(columns, leave=True, **told)
    assert [line[:9].strip() for line in live if line[:9].strip()] == ["epoch 1", "epoch 2", "note", "train"]
    assert "1000/1000" in live[-1]
    assert "compiling" in live[-1]
    *lines, _ = live
    assert not any("━" in line for line in lines)
    # Words stay whole, and what belongs to a topic stands beside it.
    words = " ".join(line[11:] for line in lines).split()
    assert words.count("50.0%") == 4
    assert words.count("words") == 20
    assert all(len(line) <= columns for line in lines)


def test_a_finished_bar_makes_way_and_a_path_stays_whole() -> None:
    columns = 80
    last = seen(columns, leave=False)
    assert not any("━" in line for line in last)
    path = "".join(line.ljust(columns) for line in last[-3:])
    assert "long/" * 30 + "report.html" in path


def test_a_command_stays_whole() -> None:
    command = "python -m zoo.run " + "a/long/path/" * 9 + " --resume"
    assert hanging(command, 80, 11) == command
    assert "\n" in hanging("a word " * 20, 80, 11)


class Kept(Lines):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def say(self, topic: str, text: str) -> None:
        self.lines.append((topic, text))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_line_every_few_seconds(clock: list[float]) -> None:
    kept = Kept()
    with kept.bar("tokenize", 1000) as advance:
        for _ in range(10):
            clock[0] += 1.5
            advance(100)
    kept.on_begin(0, 10)  # of no stage: nothing to say
    assert kept.lines == [
        ("tokenize", "400 of 1,000 rows (40%)  67 rows/s  0:00:09 left"),
        ("tokenize", "800 of 1,000 rows (80%)  67 rows/s  0:00:03 left"),
    ]
    with kept.bar("predict") as advance:
        clock[0] += stages.EVERY
        advance(2000)
    assert kept.lines[2:] == [("predict", "2,000 rows  400 rows/s")]
    with kept.downloads() as files:
        files.update("a.bin", 0, 10_000_000)
        clock[0] += stages.EVERY
        files.update("a.bin", 5_000_000, 10_000_000)
        files.update("b.bin", 0, None)
    assert kept.lines[3:] == [("fetch", "a.bin  5.0 MB of 10.0 MB (50%)  1.0 MB/s  0:00:05 left"), ("fetch", "b.bin")]


def test_the_lines_of_training(clock: list[float]) -> None:
    """First steps of a shape, and the validation between two steps, are in no rate."""
    kept = Kept()
    with kept.bar("train", unit="steps"):
        kept.on_begin(10, 100)
        for step, seconds, first in ((11, 30.0, True), (12, 6.0, False), (13, 20.0, True), (14, 2.0, False)):
            if step == 14:
                with kept.bar("validate", 10) as advance:
                    clock[0] += 20.0
                    advance(5)
                    clock[0] += 20.0
                    advance(5)  # what comes next says that it is done
            clock[0] += seconds
            kept.on_step(step, 1, 600, lambda: 0.5, first)
    assert kept.lines == [
        ("resume", "goes on after step 10 of 100"),
        ("train", "10 of 100 steps (10%)"),
        ("train", "11 of 100 steps (11%)  epoch 1  loss 0.5000  the first of its length"),
        ("train", "12 of 100 steps (12%)  epoch 1  loss 0.5000  100 tokens/s  0:08:48 left"),
        ("train", "13 of 100 steps (13%)  epoch 1  loss 0.5000  the first of its length"),
        ("validate", "5 of 10 rows (50%)  0 rows/s  0:00:20 left"),
        ("train", "14 of 100 steps (14%)  epoch 1  loss 0.5000  300 tokens/s  0:02:52 left"),
    ]


def test_what_is_waited_for_says_for_how_long(clock: list[float]) -> None:
    """Every few seconds, also where nothing is counted; what is compiled is in no rate."""
    kept = Kept()
    kept.on_wait("compiling", 100.0)  # of no stage: nothing to say
    with kept.bar("build"):
        for second in range(1, 8):
            clock[0] += 1.0
            kept.on_wait("trying", second)
    with kept.bar("train", unit="steps"):
        kept.on_begin(0, 3)
        for second in range(1, 13):
            clock[0] += 1.0
            kept.on_wait("compiling", second)
        kept.on_step(1, 1, 600, lambda: 0.5, True)
        clock[0] += 6.0
        kept.on_step(2, 1, 600, lambda: 0.5, False)
    assert kept.lines == [
        ("build", "trying for 5 s"),
        ("train", "0 of 3 steps (0%)"),
        ("train", "0 of 3 steps (0%)  compiling for 5 s"),
        ("train", "0 of 3 steps (0%)  compiling for 10 s"),
        ("train", "2 of 3 steps (67%)  epoch 1  loss 0.5000  100 tokens/s  0:00:06 left"),
    ]


def test_the_loss_is_asked_for_by_lines_alone_and_a_long_run_says_little(clock: list[float]) -> None:
    kept, asked = Kept(), list[float]()

    def loss() -> float:
        asked.append(clock[0])
        return 0.5

    with kept.bar("train", unit="steps"):
        kept.on_begin(0, 200_000)
        for step in range(1, 200_001):
            clock[0] += 1.0
            kept.on_step(step, 1, 600, loss, False)
    assert asked[:3] == [5.0, 10.0, 15.0]
    assert len(asked) + 1 == len(kept.lines)
    assert len(kept.lines) < 800  # of two days


def test_elsewhere_than_on_a_terminal_there_are_lines(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as some set it for whatever they run
    for quiet in (False, True):
        with Screen(quiet=quiet).bar("predict", 4) as advance:
            clock[0] += stages.EVERY
            advance(2)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("2 of 4 rows (50%)") == told.err.count("\n") == 1
