"""Ctrl-C and SIGTERM: how a command ends by them.

While a command works they raise KeyboardInterrupt or Terminated where the program stands, so that `finally` and `with`
clean up (`stoppable`), and then the process leaves (`leave`). Before, while modules are imported, and after it there is
nothing to clean up, and it leaves at once (`leave_at_once`); so it does at a second signal. What must not be cut, as a
training step, holds them back (`held_back`). A signal that was ignored
when the process began, as in a job that a shell put into the background, stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from zoo.errors import EXIT_INTERRUPTED, EXIT_TERMINATED

AGAIN = 0.5
"""Seconds after which what was raised is raised again where it was lost."""
DOUBLED = 0.2
"""Seconds within which a second signal is the same one: timeout(1) signals a process, and then its group."""


class Terminated(BaseException):
    """SIGTERM arrived."""


EXITS = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_TERMINATED}
WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


def leave_at_once() -> None:
    """From now on either signal ends the process, with its exit code and a word on stderr."""
    for number in _heeded():
        signal.signal(number, _leave)


class Stop:
    """Which signal has asked a command to stop; None while none has."""

    signal: signal.Signals | None = None
    since = 0.0


class Hold:
    """How many blocks of this process hold signals back, and the command that they would stop; None is no command."""

    blocks = 0
    of: Stop | None = None


def leave(code: int) -> NoReturn:
    """End the process, cleaned up as it is, before Python takes down what is imported.

    What was interrupted may crash then: jax 0.10 does, within a compilation, and the exit code is no longer ours.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader may be gone, or it is closed
            stream.flush()
    os._exit(code)


@contextmanager
def stoppable(stop: Stop) -> Iterator[None]:
    """Have either signal raise within the block, again and again until it gets through; `stop` tells which it was.

    A module that is being imported is finished first. What is raised can be lost: a finaliser or a callback of the
    garbage collector (jax has one) cannot pass it on, and there are bare excepts in libraries. Python's word on that is
    kept off stderr once the command is to stop.
    """
    before, unraisable = dict[signal.Signals, Any](), sys.unraisablehook
    outer, Hold.of = Hold.of, stop

    def ask(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if stop.signal is None:
            stop.signal, stop.since = signal.Signals(number), now
            again(number, frame)
        elif now - stop.since > DOUBLED:
            _leave(number, frame)

    def again(number: int, frame: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        error = sys.exception()
        while error is not None and not isinstance(error, KeyboardInterrupt | Terminated):
            error = error.__context__
        # Nobody is cleaning up after it yet; and no library is being imported, whose compiled part would abort on it.
        if error is None and stop.signal is not None and not Hold.blocks and not _importing(frame):
            raise RAISED[stop.signal]

    def lost(told: sys.UnraisableHookArgs) -> None:
        if stop.signal is None:
            unraisable(told)

    handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = dict.fromkeys(_heeded(), ask)
    try:
        if handlers:
            sys.unraisablehook = lost
            for number, handler in (handlers | {signal.SIGALRM: again}).items():
                before[number] = signal.signal(number, handler)
        yield
    finally:
        Hold.of = outer
        if handlers:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            for number in before:
                signal.signal(number, before[number])
            sys.unraisablehook = unraisable


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Within the block a signal of `stoppable` raises nothing, it raises once the block has ended; the value says
    whether one has come. A second signal ends the process at once as ever. Where no command runs, as in a notebook,
    nothing is held back and nothing comes."""
    stop = Hold.of
    Hold.blocks += 1
    try:
        yield lambda: stop is not None and stop.signal is not None
    finally:
        Hold.blocks -= 1
    if stop is not None and stop.signal is not None and not Hold.blocks:
        raise RAISED[stop.signal]


def _importing(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _heeded() -> list[signal.Signals]:
    """The signals that are not ignored; none in another thread than the main one, which has no say in it."""
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in EXITS if signal.getsignal(number) is not signal.SIG_IGN]


def _leave(number: int, frame: object) -> None:
    shown = "\x1b[?25h" if os.isatty(2) else ""  # a bar on its way had hidden the cursor
    os.write(2, f"{shown}{WORDS[signal.Signals(number)]}\n".encode())
    os._exit(EXITS[signal.Signals(number)])
