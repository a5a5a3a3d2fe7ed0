"""What a person sees while a run goes on.

In come the listener's calls of the training loop; out come progress bars on a terminal and plain lines
elsewhere, all on stderr, so that stdout stays free for results.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column
from rich.text import Text

from zoo.recipe.showing import shown

BAR = 20
"""Columns of a bar."""
TOPIC, GAP = 9, "  "
"""Columns of a line's topic, and what stands behind it."""


TOLD = ("loss", "accuracy", "f1", "mean_absolute_error", "r2")
"""Figures that are told of an epoch, of those that the task has."""


class Screen:
    """Bars and lines on stderr; with `quiet` nothing at all."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._figures = ""

    def say(self, topic: str, text: str) -> None:
        """One line: what it is about, and what there is to know."""
        # In one piece: a live bar is drawn again after each, in the middle of a line that is not yet whole.
        self._console.print(Text.assemble((f"{topic:>{TOPIC}}", "bold"), GAP, self._wrapped(shown(text))))

    def _wrapped(self, text: str) -> str:
        """On a terminal lines of its width beside the topic; a long path stays whole, to be copied."""
        if not self._console.is_terminal:
            return text
        width = max(20, self._console.width - TOPIC - len(GAP))
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
        return ("\n" + " " * (TOPIC + len(GAP))).join(lines)

    @contextlib.contextmanager
    def bar(self, title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """A bar of so many items (None: told later); yields the function that moves it by a number of items."""
        columns = (
            TextColumn(f"{title:>{TOPIC}} "),
            BarColumn(BAR),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            # What there is no room for is cut here and nowhere else.
            TextColumn("{task.fields[figures]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        )
        # `transient`: a finished bar makes way for the line that says what came of it.
        live = self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, expand=True, disable=not live) as bar:
            task = bar.add_task(title, total=total, figures="")
            self._progress, self._task = bar, task
            try:
                yield lambda count: bar.advance(task, count)
            finally:
                self._progress = self._task = None

    def downloads(self) -> Downloads:
        """Bars for files that are fetched."""
        return Downloads(self._console)

    # --- the training loop's listener

    def on_begin(self, step: int, steps: int) -> None:
        if step:
            self.say("resume", f"goes on after step {step:,} of {steps:,}")
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=steps, completed=step)

    def on_step(self, step: int, epoch: int) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=step, figures=f"epoch {epoch}  {self._figures}")

    def on_row(self, row: Mapping[str, Any]) -> None:
        if row["kind"] == "step":
            rate = row["tokens"] / max(row["seconds"], 1e-9)
            self._figures = f"loss {row['loss']:.4f}  rate {row['learning_rate']:.1e}  {rate:,.0f} tokens/s"
            return
        self.say(f"epoch {row['epoch']}", epoch_line(row))

    def on_note(self, text: str) -> None:
        self.say("note", text)


class Downloads:
    """A bar for each file on its way, on stderr; `update` is what `zoo.data.sources` calls."""

    def __init__(self, console: Console | None = None) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        console = console or Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Downloads:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def update(self, name: str, done: int, total: int | None) -> None:
        """File `name` has `done` of `total` bytes; None is not known."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(escape(shown(name)), total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)


def epoch_line(row: Mapping[str, Any]) -> str:
    """A history row of kind `epoch` in words."""
    parts = [f"{split} {_figures(row[split])}" for split in ("train", "validation")]
    one = row["validation"].get("classes_predicted") == 1
    judged = ["best so far"] * row["best"] + ["one class predicted for all"] * one
    return "   ".join([*parts, f"{row['seconds']:.1f} s", *[", ".join(judged)] * bool(judged)])


def _figures(figures: Mapping[str, float]) -> str:
    told = {name: f"{name} {figures[name]:.4f}" for name in TOLD if name in figures}
    if "accuracy" in told and "majority_share" in figures:
        told["accuracy"] += f" (largest class {figures['majority_share']:.4f})"
    return " ".join(told.values())
