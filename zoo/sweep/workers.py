"""The worker processes of a search, from the side of who started them.

In come a command and how many workers there are to be; they end when no trial is left. One that dies is replaced; one
that ends in an error takes the others with it, and the error's kind is raised here. A signal is passed on, once, and
the workers save what they have: they are in sessions of their own, so that Ctrl-C in a terminal does not reach them
twice.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psutil

from zoo.errors import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    DataError,
    EnvironmentFault,
    OutputError,
    RecipeError,
    TrainingError,
    ZooError,
)
from zoo.runs.screen import Screen

__all__ = ["KINDS", "call", "environment", "keep"]

LONGEST = 2000
"""Characters of what a command said last."""
LOOK = 0.2
"""Seconds between two looks at the workers."""
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
"""What backends and their libraries take the number of their threads from."""
KINDS: Mapping[int, type[ZooError]] = {
    kind.exit_code: kind for kind in (RecipeError, DataError, EnvironmentFault, TrainingError, OutputError)
}
STOPPED = (EXIT_INTERRUPTED, EXIT_TERMINATED)


def environment(workers: int) -> dict[str, str]:
    """That of a worker: with its share of the processors where nobody has said how many threads it has."""
    cores = psutil.cpu_count(logical=False) or 1
    share = dict.fromkeys(THREADS, str(max(1, cores // workers))) if workers > 1 else {}
    return {**share, **os.environ}


def keep(
    command: Sequence[str], count: int, *, most_deaths: int, environment: Mapping[str, str], screen: Screen
) -> None:
    """Start so many workers, and wait until they have ended.

    Args:
        command: that of a worker, to which `--worker NUMBER` is added.
        most_deaths: how many may die before it is given up.

    Raises ZooError of the kind that a worker ended in; TrainingError where they die again and again.
    """
    running, begun, deaths = dict[int, subprocess.Popen[bytes]](), 0, 0

    def start() -> None:
        nonlocal begun
        begun += 1
        running[begun] = subprocess.Popen(
            [*command, "--worker", str(begun)], env=dict(environment), start_new_session=True, stdin=subprocess.DEVNULL
        )

    try:
        for _ in range(count):
            start()
        while running:
            time.sleep(LOOK)
            for number, process in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[number]
                if code < 0 or code in STOPPED:
                    deaths += 1
                    if deaths > most_deaths:
                        raise TrainingError(
                            f"{deaths} workers died, the last by {_named(code)}, expected a machine that bears them: "
                            "give fewer --workers, or see what its system log says of them, and go on with --resume"
                        )
                    screen.say("worker", f"{number} died ({_named(code)}); another one begins")
                    start()
                elif code:
                    kind = KINDS.get(code, ZooError)
                    raise kind(f"worker {number} ended in {code}, as it says above: repair it, and go on with --resume")
    except BaseException as error:
        _stop(list(running.values()), error)
        raise


def call(words: Sequence[str], *, environment: Mapping[str, str]) -> None:
    """Run Python with some words to its end, which tells nobody how it goes; ZooError of the kind that it ended in."""
    process = subprocess.Popen(
        [sys.executable, *words],
        env=dict(environment),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, told = process.communicate()
    except BaseException as error:
        _stop([process], error)
        raise
    if process.returncode:
        kind = KINDS.get(process.returncode, ZooError)
        raise kind(f"{shlex.join(words)} ended in {process.returncode}: {told.strip()[-LONGEST:]}")


def _stop(processes: Sequence[subprocess.Popen[Any]], error: BaseException) -> None:
    """Ask processes to stop as this one was asked, and wait until they have."""
    for process in processes:
        process.send_signal(signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
    for process in processes:
        process.wait()


def _named(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else "a signal to it alone"
