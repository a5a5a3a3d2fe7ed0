"""Says of what takes long, and cannot say itself how far it is, that it goes on: of a compiler at work.

In comes what is waited for; out it goes every second, with the seconds so far, to whoever tells people. That is done by
a thread, as a compiler comes back once it is done; while it is at work it lets other threads run.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["Firsts", "Tell", "waiting"]

SECOND = 1.0
"""Between two calls, unless the caller says otherwise."""

Tell = Callable[[str, float], None]
"""What is waited for, and for how many seconds already."""


@contextlib.contextmanager
def waiting(what: str, tell: Tell | None, *, every: float | None = None) -> Iterator[None]:
    """Call `tell` again and again from another thread while the block goes on, in which nothing else is to be told.

    Args:
        what: what is waited for.
        tell: what it raises is raised at the end of the block, and it is not called again; None: nobody is told.
        every: seconds between two calls; None is one second.
    """
    if tell is None:
        yield
        return
    begun, done, wrong = time.monotonic(), threading.Event(), list[Exception]()

    def go_on() -> None:
        try:
            while not done.wait(SECOND if every is None else every):
                tell(what, time.monotonic() - begun)
        except Exception as error:  # noqa: BLE001  # it belongs to whoever waits
            wrong.append(error)

    thread = threading.Thread(target=go_on, name="waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    for error in wrong:
        raise error


class Firsts:
    """The first batch of each shape, which is waited for where the backend compiles it."""

    def __init__(self, *, compiles: bool) -> None:
        self._compiles = compiles
        self._seen: set[tuple[int, int]] = set()

    @contextlib.contextmanager
    def computing(self, shape: tuple[int, int], tell: Tell | None) -> Iterator[bool]:
        """Around the computation of a batch of this shape; whether something is compiled for it.

        An error leaves it as a shape that is still to be compiled.
        """
        if not self._compiles or shape in self._seen:
            yield False
            return
        with waiting(f"compiling a batch of {shape[0]} rows of {shape[1]} tokens", tell):
            yield True
        self._seen.add(shape)
