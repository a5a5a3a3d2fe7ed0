"""What a person sees while a run goes on, on terminals as wide as they are: as a terminal itself would show it."""

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

from zoo.runs.screen import epoch_line

ROOT = Path(__file__).parents[1]
PROGRAM = """
from zoo.runs.screen import Screen

screen = Screen()
epoch = {"kind": "epoch", "train": {"loss": 1.25, "accuracy": 0.5}, "seconds": 3.2, "best": True}
epoch["validation"] = {"loss": 1.25, "accuracy": 0.5, "f1": 0.4}
with screen.bar("train") as advance:
    screen.on_begin(0, 1000)
    for step in range(1, 1001):
        screen.on_step(step, 1 + step // 501)
        if step % 100 == 0:
            rates = {"loss": 1.25, "learning_rate": 1e-5, "seconds": 0.1, "tokens": 1000}
            screen.on_row({"kind": "step", "step": step, **rates})
        if step % 500 == 0:
            screen._progress.refresh()
            screen.on_row({**epoch, "epoch": step // 500, "step": step})
    screen.on_note("a note " + "of many words " * 20)
    screen._progress.refresh()
    if LEAVE:
        import os
        os._exit(0)
screen.say("report", "/a/path/that/is/" + "long/" * 30 + "report.html")
"""


def seen(columns: int, *, leave: bool) -> list[str]:
    """The lines on a terminal, at the end or, with `leave`, while the bar is live."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment |= {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
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
    assert "accuracy 0.9400 (largest class 0.9400)" in epoch_line(row)
    assert epoch_line(row).endswith("best so far, one class predicted for all")
    told = epoch_line({**row, "validation": {**seen_so, "classes_predicted": 2}})
    assert told.endswith("best so far")


@pytest.mark.parametrize("columns", [60, 80, 110])
def test_lines_stay_whole_above_a_live_bar(columns: int) -> None:
    live = seen(columns, leave=True)
    assert [line[:9].strip() for line in live if line[:9].strip()] == ["epoch 1", "epoch 2", "note", "train"]
    assert "1000/1000" in live[-1]
    *lines, _ = live
    assert not any("━" in line for line in lines)
    # Words stay whole, and what belongs to a topic stands beside it.
    words = " ".join(line[11:] for line in lines).split()
    assert words.count("0.5000") == 4
    assert words.count("words") == 20
    assert all(len(line) <= columns for line in lines)


def test_a_finished_bar_makes_way_and_a_path_stays_whole() -> None:
    columns = 80
    last = seen(columns, leave=False)
    assert not any("━" in line for line in last)
    path = "".join(line.ljust(columns) for line in last[-3:])
    assert "long/" * 30 + "report.html" in path
