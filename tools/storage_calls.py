"""Storage calls of an action that kill its process, or that fail as those of a full or broken disk do.

In come a folder, a number and an action; the action runs in a forked child, whose call of that number that would change
something in the folder is its last, before it is made, or is refused. Both go on in Python alone: all that the zoo
writes goes through its files and the functions of `os`.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

KILLED = 9
FEWER = 100
"""Exit code of a child that made fewer calls."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate"}

Way = Literal["once", "full"]
"""How a call fails: by an error of the disk and no other after it, or by a full disk that stays full."""


def before_forking() -> None:
    """Say what a process needs that is to fork, before it imports a backend: one with jax in it does not, nor one of
    whose torch several threads have computed."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ["OMP_NUM_THREADS"] = "1"


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


def killed_at(number: int, folder: Path, action: Callable[[], object]) -> bool:
    """Whether the action was killed at that call, from 1; False where it makes fewer. Its own error fails the test."""
    code = forked(lambda: (sys.addaudithook(_killer(number, str(folder))), action()))
    assert code in (0, KILLED), f"call {number}: the action itself ended in {code}"
    return code == KILLED


def failed_at(number: int, folder: Path, action: Callable[[], object], way: Way) -> int | None:
    """The exit code of an action whose call of that number, from 1, fails; None where it makes fewer."""

    def act() -> None:
        with failing(number, folder, way) as calls:
            action()
        if len(calls) < number:
            os._exit(FEWER)

    code = forked(act)
    return None if code == FEWER else code


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


@contextlib.contextmanager
def failing(number: int, folder: Path, way: Way) -> Iterator[list[str]]:
    """The block, in which one call fails, or all from it on but those that remove and close; gives what was called.

    A write leaves half of what it was to write, and a close closes, as those of a disk do.
    """
    calls: list[str] = []

    def met(name: str, place: Any) -> None:
        """Count a call, and refuse it where it is the one."""
        where = os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else os.path.abspath(os.fsdecode(place))
        if not where.startswith(str(folder)):
            return
        calls.append(f"{name} {os.path.relpath(where, folder)}")
        if way == "once" and len(calls) == number:
            raise OSError(errno.EIO, os.strerror(errno.EIO), where)
        if way == "full" and len(calls) >= number and name not in ("close", "remove"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), where)

    class Raw(io.FileIO):
        def write(self, content: Any) -> int:
            try:
                met("write", self.fileno())
            except OSError:
                super().write(bytes(content)[: len(content) // 2])
                raise
            return super().write(content)

        def close(self) -> None:
            fault = None
            if not self.closed:
                try:
                    met("close", self.fileno())
                except OSError as error:
                    fault = error
            super().close()
            if fault is not None:
                raise fault

    opened, made, closed = io.open, os.open, os.close

    def open_stream(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if not set(mode) & set("wax+"):
            return opened(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int):
            met("open", file)
        raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        stream: Any = raw if buffering == 0 else (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return stream if "b" in mode else io.TextIOWrapper(stream, encoding, errors, newline)

    def open_number(path: Any, flags: int, *given: Any, **named: Any) -> int:
        if flags & WRITING and not isinstance(path, int) and named.get("dir_fd") is None:
            met("open", path)
        return made(path, flags, *given, **named)

    def close_number(number: int) -> None:
        fault = None
        try:
            met("close", number)
        except OSError as error:
            fault = error
        closed(number)
        if fault is not None:
            raise fault

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(place: Any, *given: Any, **named: Any) -> Any:
            if named.get("dir_fd") is None:  # shutil.rmtree removes what a folder that it has open holds
                met(name, place)
            return function(place, *given, **named)

        return call

    patched = {
        **{(os, name): watched("rename", getattr(os, name)) for name in ("rename", "replace")},
        **{(os, name): watched("remove", getattr(os, name)) for name in ("remove", "unlink", "rmdir")},
        **{(os, name): watched(name, getattr(os, name)) for name in ("fsync", "mkdir", "write")},
        (os, "open"): open_number,
        (os, "close"): close_number,
        (io, "open"): open_stream,
        (builtins, "open"): open_stream,
    }
    before = {(module, name): getattr(module, name) for module, name in patched}
    try:
        for (module, name), function in patched.items():
            setattr(module, name, function)
        yield calls
    finally:
        for (module, name), function in before.items():
            setattr(module, name, function)
