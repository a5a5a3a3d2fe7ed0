"""Kills a process at a storage call of its own, as the kernel would: nothing is cleaned up behind it.

In come a folder, a number and an action; the action runs in a forked child, which is gone at its call of that number
that would change something in the folder, before it is made.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

KILLED = 9
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}


def killed_at(number: int, folder: Path, action: Callable[[], object]) -> bool:
    """Whether the action was killed at that call, from 1; False where it makes fewer. Its own error fails the test."""
    code = forked(lambda: (sys.addaudithook(_killer(number, str(folder))), action()))
    assert code in (0, KILLED), f"call {number}: the action itself ended in {code}"
    return code == KILLED


def forked(action: Callable[[], object]) -> int:
    """The exit code of a child that runs this: 0, that of its error, or 70."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, where there are threads
        child = os.fork()
    if child == 0:
        code = 0
        try:
            action()
        except BaseException as error:  # noqa: BLE001  # a child must not go on with its parent's work
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            code = getattr(error, "exit_code", 70)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killer(number: int, folder: str) -> Callable[[str, tuple[Any, ...]], None]:
    calls = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal calls
        if event == "open":
            changes = isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
        else:
            changes = event in CHANGES
        if not changes or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        # shutil.rmtree names what it removes by the folder it has open.
        within = event in ("os.remove", "os.rmdir") and arguments[-1] != -1
        if within or os.path.abspath(os.fsdecode(arguments[0])).startswith(folder):
            calls += 1
            if calls == number:
                os._exit(KILLED)

    return hook
