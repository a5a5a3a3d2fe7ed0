"""How far a stage of a run is, in lines: a stage is tokenizing, training, an evaluation, a file that is fetched.

In come how many rows, steps or bytes are done; out comes a line every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, Protocol

from rich.filesize import decimal

Unit = Literal["rows", "steps", "bytes"]

EVERY = 5.0
"""Seconds between two lines of a stage."""
SHARE = 0.01
"""Of the time that a stage has taken: no line comes sooner after the last one, so that the log of days is no book."""


class Stage(Protocol):
    """Something that goes on."""

    def begin(self, done: int, total: int) -> None:
        """It goes from `done` to `total`."""

    def advance(self, count: int) -> None:
        """So many more are done."""

    def step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        """A step of training is done; see `Listener.on_step` of the training loop."""

    def wait(self, what: str, seconds: float) -> None:
        """Something in it goes on that cannot say how far it is, for so long already; from another thread."""

    def row(self, row: Mapping[str, Any]) -> None:
        """A row of kind `step` was written to the history."""

    def paused(self, seconds: float) -> None:
        """It stood still for so long, while another stage went on within it."""


class LineStage:
    """A stage of which a line is told whenever one is due: how far, its share, how fast, and how long it still takes.

    The rate, and from it the time that is left, is that since the line before; first steps of a shape count nothing.
    """

    def __init__(self, tell: Callable[[str], None], total: int | None = None, unit: Unit = "rows") -> None:
        self._tell, self._total, self._unit = tell, total, unit
        self._done = 0
        self._begun = time.monotonic()
        self._forget()

    def _forget(self) -> None:
        """A line was told: what is counted is counted from here."""
        self._at = self._moved = time.monotonic()
        self._apart = 0.0
        self._timed = self._tokens = 0

    def begin(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        self._line()

    def advance(self, count: int) -> None:
        self.reach(self._done + count, self._total)

    def reach(self, done: int, total: int | None) -> None:
        """So many of so many are done; None is not known."""
        self._timed += done - self._done
        self._done, self._total = done, total
        if self._due():
            self._line(f"{self._amount(self._timed / self._seconds())}/s")

    def step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        if first:  # it may have been compiled: it says nothing of the others
            self._apart += time.monotonic() - self._moved
        else:
            self._timed += step - self._done
            self._tokens += tokens
        self._done, self._moved = step, time.monotonic()
        if self._due():
            rate = f"{self._tokens / self._seconds():,.0f} tokens/s" if self._timed else "the first of its length"
            self._line(f"epoch {epoch}", f"loss {loss():.4f}", rate)

    def wait(self, what: str, seconds: float) -> None:
        if self._late():
            told = waited(what, seconds)
            self._tell(told if self._total is None else f"{self._far()}  {told}")
            self._forget()

    def row(self, row: Mapping[str, Any]) -> None:
        pass  # the next line asks for the loss itself

    def paused(self, seconds: float) -> None:
        self._apart += seconds
        self._moved += seconds

    def _due(self) -> bool:
        """Whether it is time for a line; at the end there is none, as what comes next says that it is done."""
        return self._done != self._total and self._late()

    def _late(self) -> bool:
        now = time.monotonic()
        return now - self._at >= max(EVERY, SHARE * (now - self._begun))

    def _seconds(self) -> float:
        """Seconds since the last line in which what is timed was done."""
        return max(time.monotonic() - self._at - self._apart, 1e-9)

    def _line(self, *figures: str) -> None:
        self._tell("  ".join([self._far(), *figures, *self._left()]))
        self._forget()

    def _far(self) -> str:
        if self._total is None:
            return self._amount(self._done)
        share = f" ({self._done / self._total:.0%})" if self._total else ""
        done = decimal(self._done) if self._unit == "bytes" else f"{self._done:,}"
        return f"{done} of {self._amount(self._total)}{share}"

    def _left(self) -> list[str]:
        rest = (self._total or 0) - self._done
        if rest <= 0 or self._timed <= 0:
            return []
        return [f"{timedelta(seconds=round(rest * self._seconds() / self._timed))} left"]

    def _amount(self, count: float) -> str:
        return decimal(round(count)) if self._unit == "bytes" else f"{count:,.0f} {self._unit}"


def waited(what: str, seconds: float) -> str:
    """What goes on, and for how long already."""
    return f"{what} for {seconds:.0f} s"
