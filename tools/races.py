"""`python tools/races.py`: two runs begin in one folder at the same moment, again and again; one of them gets it.

Every other time the folder is new; else it holds a run that was killed, and both go on with it. The one that wins ends
in 0, the other in 6 and names the process and the host that it lost to. A JSON line a race: the exit codes, and whether
the loser named the winner; ends in 1 where a race ended otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import zoo.run
from tools.storage_calls import KILLED, before_forking, forked
from zoo.backend import activate

CALL = ["quickstart", "--profile", "smoke", "--set", "training.epochs=1", "--set", "data.limit={train: 64, test: 16}"]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--races", type=int, default=50)
    given = parser.parse_args(argv)
    before_forking()
    activate()  # once, for all children
    zoo.run.write_report = lambda folder, texts: (folder.write_text("report.html", ""), ())  # it takes seconds
    sound = True
    with tempfile.TemporaryDirectory() as base:
        killed = Path(base) / "killed"
        assert forked(lambda: begin(killed, told=None, at_once=None)) == KILLED
        for number in range(given.races):
            run = Path(base) / "run"
            if number % 2:
                shutil.copytree(killed, run)
            codes, named = raced(run, Path(base))
            sound &= codes == [0, 6] and named
            print(json.dumps([number, codes, named]), flush=True)
            shutil.rmtree(run)
    return 0 if sound else 1


def raced(run: Path, base: Path) -> tuple[list[int], bool]:
    """The exit codes of two that begin at once, and whether the one that lost named the other."""
    context = multiprocessing.get_context("fork")
    at_once = context.Barrier(2)
    both = [context.Process(target=begin, args=(run, base / str(place), at_once)) for place in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    codes = [process.exitcode or 0 for process in both]
    winner, loser = both[codes.index(min(codes))], codes.index(max(codes))
    told = (base / str(loser)).read_text(encoding="utf-8")
    return sorted(codes), f"being written to by process {winner.pid} on {socket.gethostname()}" in told


def begin(run: Path, told: Path | None, at_once: Barrier | None) -> None:
    """A run as its command has it; without company it is killed as soon as it has its folder."""
    create_run, resume = zoo.run.create_run, ["--resume"] if run.exists() else []

    def created(*given: Any, **named: Any) -> Any:
        if at_once is not None:
            at_once.wait()
        made = create_run(*given, **named)
        if at_once is None:
            os._exit(KILLED)
        return made

    zoo.run.create_run = created
    with contextlib.ExitStack() as entered:
        if told is not None:
            entered.enter_context(contextlib.redirect_stderr(entered.enter_context(told.open("w", encoding="utf-8"))))
            entered.enter_context(contextlib.redirect_stdout(sys.stderr))
        code = zoo.run.main([*CALL, "--out", str(run), *resume])
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
