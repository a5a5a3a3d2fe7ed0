"""What a person sees while a run goes on.

In come the listener's calls of the training loop; out come progress bars on a terminal, and elsewhere (a pipe, a file,
a notebook) lines, one every few seconds: all on stderr, so that stdout stays free for results.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, Self

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

from zoo.recipe.showing import hanging, shown
from zoo.runs.stages import LineStage, Stage, Unit, waited
from zoo.tasks.shown import Kind, figure

BAR, SHORT_BAR = 20, 10
"""Columns of a bar, and of one on a terminal that is not WIDE."""
WIDE = 100
"""Columns of a terminal from which on there is room for all figures."""
TOPIC, GAP = 9, "  "
"""Columns of a line's topic, and what stands behind it."""


TOLD: Mapping[str, Kind] = {
    "loss": "number",
    "mean": "share",
    "accuracy": "share",
    "f1": "share",
    "mean_absolute_error": "amount",
    "r2": "number",
}
"""Figures that are told of an epoch, of those that the task has, and what they are."""
OF_TASK: Mapping[str, Kind] = {"accuracy": "share", "r2": "number"}
"""Those of each of several tasks."""


class Lines:
    """Tells in lines how a run goes; a subclass says in `say` where a line goes."""

    def __init__(self) -> None:
        self._stages: list[Stage] = []

    def say(self, topic: str, text: str) -> None:
        """One line: what it is about, and what there is to know."""
        raise NotImplementedError

    @contextlib.contextmanager
    def bar(self, title: str, total: int | None = None, unit: Unit = "rows") -> Iterator[Callable[[int], None]]:
        """A stage of so many rows or steps (None: not known, or told later); yields the function that moves it by a
        number of them. Within a stage there may be another one."""
        with self._within(LineStage(lambda text: self.say(title, text), total, unit)) as stage:
            yield stage.advance

    @contextlib.contextmanager
    def _within(self, stage: Stage) -> Iterator[Stage]:
        begun = time.monotonic()
        self._stages.append(stage)
        try:
            yield stage
        finally:
            self._stages.remove(stage)
            for outer in self._stages:
                outer.paused(time.monotonic() - begun)

    def downloads(self) -> Downloads:
        """What tells of files that are fetched."""
        return LineDownloads(self)

    # --- the training loop's listener

    def on_begin(self, step: int, steps: int) -> None:
        if step:
            self.say("resume", f"goes on after step {step:,} of {steps:,}")
        for stage in self._stages[-1:]:
            stage.begin(step, steps)

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        for stage in self._stages[-1:]:
            stage.step(step, epoch, tokens, loss, first)

    def on_wait(self, what: str, seconds: float) -> None:
        for stage in self._stages[-1:]:
            stage.wait(what, seconds)

    def on_row(self, row: Mapping[str, Any]) -> None:
        if row["kind"] == "epoch":
            self.say(f"epoch {row['epoch']}", epoch_line(row))
            return
        for stage in self._stages[-1:]:
            stage.row(row)

    def on_note(self, text: str) -> None:
        self.say("note", text)

    def on_stage(self, name: str, number: int, count: int) -> None:
        """A stage of a recipe begins: number counts from 1."""
        self.say("stage", f"{number} of {count}: {name}")

    def on_part(self, name: str, number: int, count: int) -> None:
        """One of several trainings with other rows each begins, as `draw-1`: number counts from 1."""
        self.say(name.partition("-")[0], f"{number} of {count}")


class Screen(Lines):
    """Bars and lines on stderr; with `quiet` nothing at all."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__()
        self._console = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True, _environ=_environment())
        # FORCE_COLOR, which some set for whatever they run, makes no terminal of a file.
        self._live = self._console.is_interactive and sys.stderr.isatty()
        self._progress: Progress | None = None

    def say(self, topic: str, text: str) -> None:
        # In one piece: a live bar is drawn again after each, in the middle of a line that is not yet whole.
        self._console.print(Text.assemble((f"{topic:>{TOPIC}}", "bold"), GAP, self._wrapped(shown(text))))

    def _wrapped(self, text: str) -> str:
        """On a terminal lines of its width beside the topic."""
        if not self._console.is_terminal:
            return text
        return hanging(text, self._console.width, TOPIC + len(GAP))

    @contextlib.contextmanager
    def bar(self, title: str, total: int | None = None, unit: Unit = "rows") -> Iterator[Callable[[int], None]]:
        if not self._live:
            with super().bar(title, total, unit) as advance:
                yield advance
            return
        with self._drawn() as progress:
            task = progress.add_task(f"{title:>{TOPIC}} ", total=total, figures="")
            try:
                with self._within(BarStage(progress, task, wide=self._wide)) as stage:
                    yield stage.advance
            finally:
                progress.remove_task(task)

    @property
    def _wide(self) -> bool:
        return self._console.width >= WIDE

    @contextlib.contextmanager
    def _drawn(self) -> Iterator[Progress]:
        """Where bars are drawn, one below the other."""
        if self._progress is not None:
            yield self._progress
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(BAR if self._wide else SHORT_BAR),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            # What there is no room for is cut here and nowhere else.
            TextColumn("{task.fields[figures]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        )
        # `transient`: a finished bar makes way for the line that says what came of it.
        with Progress(*columns, console=self._console, transient=True, expand=True) as self._progress:
            try:
                yield self._progress
            finally:
                self._progress = None

    def downloads(self) -> Downloads:
        return BarDownloads(self._console) if self._live else super().downloads()


class BarStage:
    """A stage as a bar on a terminal."""

    def __init__(self, progress: Progress, task: TaskID, *, wide: bool) -> None:
        self._progress, self._task, self._wide, self._figures = progress, task, wide, ""

    def begin(self, done: int, total: int) -> None:
        self._progress.update(self._task, total=total, completed=done)

    def advance(self, count: int) -> None:
        self._progress.update(self._task, advance=count, figures=self._figures)

    def wait(self, what: str, seconds: float) -> None:
        self._progress.update(self._task, figures=waited(what, seconds))

    def step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        self._progress.update(self._task, completed=step, figures=f"epoch {epoch}  {self._figures}")

    def row(self, row: Mapping[str, Any]) -> None:
        rate = row["tokens"] / max(row["seconds"], 1e-9)
        learning = f"rate {row['learning_rate']:.1e}  " if self._wide else ""
        self._figures = f"loss {row['loss']:.4f}  {learning}{rate:,.0f} tokens/s"

    def paused(self, seconds: float) -> None:
        pass  # rich forgets how fast it was within half a minute


class Downloads(Protocol):
    """Files on their way, to be entered; `update` is what `zoo.data.sources` calls."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def update(self, name: str, done: int, total: int | None) -> None:
        """File `name` has `done` of `total` bytes; None is not known."""


class LineDownloads:
    """A line every few seconds of each file on its way."""

    def __init__(self, lines: Lines) -> None:
        self._lines, self._files = lines, dict[str, LineStage]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, name: str, done: int, total: int | None) -> None:
        if name not in self._files:
            self._files[name] = LineStage(lambda text: self._lines.say("fetch", f"{name}  {text}"), total, "bytes")
            if total is None:  # no more may be told of it
                self._lines.say("fetch", name)
        self._files[name].reach(done, total)


class BarDownloads:
    """A bar for each file on its way."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def update(self, name: str, done: int, total: int | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(escape(shown(name)), total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)


def _environment() -> Mapping[str, str]:
    """Without COLUMNS and LINES where the terminal says itself how large it is: a bar that is too long for it breaks
    into two lines, and cannot be drawn again."""
    with contextlib.suppress(OSError):
        if os.get_terminal_size(2).columns:
            return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return os.environ


def epoch_line(row: Mapping[str, Any]) -> str:
    """A history row of kind `epoch` in words."""
    parts = [f"{split} {_figures(row[split])}" for split in ("train", "validation")]
    one = row["validation"].get("classes_predicted") == 1
    judged = ["best so far"] * row["best"] + ["one class predicted for all"] * one
    return "   ".join([*parts, f"{row['seconds']:.1f} s", *[", ".join(judged)] * bool(judged)])


def _figures(figures: Mapping[str, Any]) -> str:
    rows = figures.get("rows")
    told = {name: f"{name} {figure(kind, figures[name], rows)}" for name, kind in TOLD.items() if name in figures}
    for name in figures:
        task, _, own = name.partition(".")
        if own in OF_TASK:
            told[name] = f"{name} {figure(OF_TASK[own], figures[name], figures.get(f'{task}.rows', rows))}"
    if "accuracy" in told and "majority_share" in figures:
        told["accuracy"] += f" (the commonest alone {figure('share', figures['majority_share'], rows)})"
    return " ".join(told.values())
