"""Measured processes: each fresh, started and stopped by us.

In come a recipe and who is to do it; out come the process's answers. A process that ends early, or says nothing that
can be read, raises `Failed` with its exit code and the last thing it said on stderr.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.device import one_of_several

Answer = dict[str, Any]

HERE = Path(__file__).resolve().parent
SCRIPTS = {"zoo": HERE / "measure.py", "hf": HERE / "peers" / "hf_trainer.py"}
PAUSE_SECONDS = 0.25
"""Before each block, so that the threads of the process before it have gone to sleep."""
QUIT_SECONDS = 20.0
"""How long a process may take to end by itself, so that it gives an accelerator back in order."""
LONGEST_FAULT = 300
"""Characters of stderr that a failure tells."""


class Failed(Exception):  # the house speaks of faults
    """A process that did not do what it was asked; the message says why, for the table."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Who does a recipe: the zoo on a backend, or a peer in a setting.

    name is what tables and keys call it; options are those of its script beside the recipe's.
    """

    name: str
    kind: str
    backend: str | None = None
    options: tuple[str, ...] = ()

    @property
    def is_peer(self) -> bool:
        return self.kind != "zoo"


def command(contender: Contender, recipe: str, profile: str | None, changes: tuple[str, ...]) -> list[str]:
    """The command line of a contender on a recipe.

    Args:
        recipe: name or path.
        profile: one of the recipe's, or None.
        changes: KEY=VALUE, as --set takes them.
    """
    words = [sys.executable, str(SCRIPTS[contender.kind]), recipe]
    words += ["--profile", profile] if profile else []
    for change in changes:
        words += ["--set", change]
    return [*words, *contender.options]


def environment(contender: Contender) -> dict[str, str]:
    """The environment of a contender: ours, with its backend and none of ours.

    All see the same one device of several. None takes an accelerator's memory beforehand, as jax and TensorFlow do:
    what a process was given and does not use would count as its peak.
    """
    given = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    given |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    given |= one_of_several(given)
    return given | ({"KERAS_BACKEND": contender.backend} if contender.backend else {})


def once(words: list[str], variables: dict[str, str]) -> Answer:
    """Run a process to its end; the line of JSON that it printed."""
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(_reason(done.returncode, done.stderr))
    return _parsed(done.stdout.splitlines()[-1] if done.stdout else "")


class Live:
    """A process that does a block whenever it is asked, and nothing between.

    Args:
        words, variables: its command line and environment.
        seconds: it is killed then, and what it was asked raises Failed; None lets it live.
    """

    def __init__(self, words: list[str], variables: dict[str, str], seconds: float | None = None) -> None:
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # as long-lived as the process
        self._process = subprocess.Popen(
            [*words, "--speed-only", "--serve"],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )
        self._seconds, self._late = seconds, threading.Event()
        self._timer = threading.Timer(seconds or 0.0, self._too_late)
        if seconds is not None:
            self._timer.start()
        try:
            self.ready = self._read()
        except BaseException:
            self.stop()
            raise

    def ask(self, question: str) -> Answer:
        """The answer to one of the questions that `ready` names under `answers`."""
        time.sleep(PAUSE_SECONDS)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._last_words()) from None
        answer = self._read()
        if "error" in answer:
            raise Failed(str(answer["error"]))
        return answer

    def quit(self) -> None:
        """Let the process end by itself, if it does so soon."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.stdin.write("quit\n")
            self._process.stdin.flush()
            self._process.wait(QUIT_SECONDS)

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._timer.cancel()
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def _read(self) -> Answer:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(self._last_words())
        return _parsed(line)

    def _too_late(self) -> None:
        self._late.set()
        self._process.kill()

    def _last_words(self) -> str:
        code = self._process.wait()
        if self._late.is_set():
            return f"it took longer than {self._seconds:g} s and was ended"
        self._stderr.seek(0)
        return _reason(code, self._stderr.read())


def _parsed(line: str) -> Answer:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Failed(f"the process said {line[:80]!r}, expected a line of JSON")
    return found


def _reason(code: int, stderr: str) -> str:
    """Exit code and last line of stderr, without the folders of this machine."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    for folder in (str(HERE.parent), str(Path.home())):
        last = last.replace(folder, "...")
    how = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
    return f"{how}: {last[-LONGEST_FAULT:]}"
