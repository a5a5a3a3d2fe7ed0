"""A run's figures for other programs, written while it goes on, beside its own files.

In come the rows of history as they occur, and the test's figures at the end; out come TensorBoard's event files in
RUN/tensorboard. A run that goes on writes them anew from the history that is kept, so that no step stands twice.
Refused: a logger that is unknown or not installed.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from zoo.backend import without_tensorflow
from zoo.data.storage import storage_errors
from zoo.errors import EnvironmentFault, RecipeError
from zoo.recipe.faults import not_among
from zoo.results.run_folder import RunFolder


class Logger(Protocol):
    """What is told of a run, between entering it and leaving it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def begin(self, kept: Sequence[Mapping[str, Any]]) -> None:
        """Training begins, after these rows of an earlier part of the run."""

    def row(self, row: Mapping[str, Any]) -> None:
        """A row of history.jsonl."""

    def end(self, step: int, test: Mapping[str, float]) -> None:
        """The figures of the test split, after so many steps."""


class TensorBoard:
    """Event files, which `tensorboard --logdir RUN` shows, also while the run goes on."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def begin(self, kept: Sequence[Mapping[str, Any]]) -> None:
        target = self._folder.path / "tensorboard"
        with storage_errors(self._folder.path):
            for earlier in target.glob("events.out.tfevents.*"):
                earlier.unlink()
            with without_tensorflow():  # it would import it to write files
                from tensorboard.summary import Writer

                self._writer = Writer(str(target))
        for row in kept:
            self._add(row["step"], scalars(row))
        self._flush()

    def row(self, row: Mapping[str, Any]) -> None:
        self._add(row["step"], scalars(row))
        self._flush()

    def end(self, step: int, test: Mapping[str, float]) -> None:
        self._add(step, {f"test/{name}": value for name, value in test.items()})
        self._flush()

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        with storage_errors(self._folder.path):
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, step)

    def _flush(self) -> None:
        with storage_errors(self._folder.path):
            self._writer.flush()


LOGGERS: dict[str, type[TensorBoard]] = {"tensorboard": TensorBoard}
"""Name of a logger, which is that of its package and of the extra that installs it."""


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a row of history by tag: `train/loss`, `train/tokens_per_second`, `validation/f1`, ...

    Rows of steps give the tags of `train`, rows of epochs those of `train_epoch` and `validation`; what is None in
    history is left out.
    """
    if row["kind"] == "step":
        rate = row["tokens"] / max(row["seconds"], 1e-9)
        groups = {"train": {name: row[name] for name in ("loss", "accuracy", "learning_rate")}}
        groups["train"]["tokens_per_second"] = rate
    else:
        groups = {"train_epoch": dict(row["train"]), "validation": row["validation"]}
        groups["train_epoch"]["seconds"] = row["seconds"]
    return {
        f"{group}/{name}": value
        for group, values in groups.items()
        for name, value in values.items()
        if value is not None
    }


def refuse_loggers(names: Sequence[str]) -> None:
    """RecipeError for a logger that there is none of, EnvironmentFault for one that is not installed."""
    for name in names:
        if name not in LOGGERS:
            raise RecipeError(f"log: {not_among(name, LOGGERS)}")
        if importlib.util.find_spec(name) is None:
            raise EnvironmentFault(f"{name} is not installed, which --log {name} needs: pip install 'text-zoo[{name}]'")


@contextlib.contextmanager
def logging_to(names: Sequence[str], folder: RunFolder) -> Iterator[list[Logger]]:
    """The loggers of these names, for one run; each is closed at its end, however it ends."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(LOGGERS[name](folder)) for name in dict.fromkeys(names)]
