"""A run's figures for other programs, written while it goes on, beside its own files.

In come the rows of history as they occur, and the test's figures at the end; out come TensorBoard's event files in
RUN/tensorboard, or a run of MLflow in RUN/mlruns, or where MLFLOW_TRACKING_URI says. A run that goes on writes them
anew from the history that is kept, so that no step stands twice. Refused: a logger that is unknown or not installed,
a tracking server that does not answer.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from zoo.backend import without_tensorflow
from zoo.data.writing import storage_errors
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.recipe import Recipe, load_recipe
from zoo.recipe.faults import not_among
from zoo.recipe.flattening import flat
from zoo.recipe.hiding import hide_line
from zoo.runs.run_folder import Pruned, RunFolder

FAMILY = "ZOO_MLFLOW_PARENT"
"""Variable of the environment with the id of the run of MLflow of which runs are parts, as those of a search are."""
NO_FIGURES = ("kind", "step", "epoch", "seconds", "tokens")
"""What a row of kind `step` has beside loss, learning rate and the task's own figures."""


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
        self._add(step, finite("test", test))
        self._flush()

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        with storage_errors(self._folder.path):
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, step)

    def _flush(self) -> None:
        with storage_errors(self._folder.path):
            self._writer.flush()


class MLflow:
    """A run of MLflow: the recipe's keys as parameters, the figures as metrics.

    Each part of a run that was interrupted is a run of its own, the later ones with the history that was kept.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._client: Any = None
        self._run = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._run:
            return
        stopped = isinstance(error, Pruned) or not isinstance(error, Exception)
        status = "FINISHED" if error is None else "KILLED" if stopped else "FAILED"
        try:
            with _problems(self._folder.path):
                self._client.set_terminated(self._run, status)
        except OutputError as second:
            if error is None:
                raise
            error.add_note(str(second))  # the first error is the one to tell

    def begin(self, kept: Sequence[Mapping[str, Any]]) -> None:
        recipe = load_recipe(self._folder.path / "recipe.yaml")
        parent = os.environ.get(FAMILY)
        with _problems(self._folder.path):
            self._client = _client(self._folder.path)
            name = self._folder.path.resolve().name
            self._run = _created(self._client, recipe, name, {"mlflow.parentRunId": parent} if parent else {})
        for row in kept:
            self.row(row)

    def row(self, row: Mapping[str, Any]) -> None:
        self._add(row["step"], scalars(row))

    def end(self, step: int, test: Mapping[str, float]) -> None:
        self._add(step, finite("test", test))

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        with _problems(self._folder.path):
            self._client.log_batch(self._run, [Metric(name, value, now, step) for name, value in values.items()])


class Family:
    """A run of MLflow under which the runs of a search stand; what it holds itself is how the search ended."""

    def __init__(self, folder: Path, recipe: Recipe, name: str, known: str | None) -> None:
        """`known`: its id, of a search that goes on; None begins one."""
        self._folder = folder
        with _problems(folder):
            self._client = _client(folder)
            self.run = known or _created(self._client, recipe, name, {})

    @property
    def environment(self) -> dict[str, str]:
        """What makes the runs of other processes parts of it."""
        return {FAMILY: self.run, "MLFLOW_TRACKING_URI": _address(self._folder)}

    def end(self, figures: Mapping[str, float], values: Mapping[str, Any]) -> None:
        """Hold the figures and the values of the best recipe; it is finished."""
        with _problems(self._folder):
            for name, figure in figures.items():
                self._client.log_metric(self.run, name, figure)
            for key, value in values.items():
                self._client.set_tag(self.run, f"best.{key}", str(value))
            self._client.set_terminated(self.run, "FINISHED")


def _client(folder: Path) -> Any:
    # It would tell its makers of each use, and refuses folders unless one says that they are meant.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=_address(folder))


def _created(client: Any, recipe: Recipe, name: str, tags: Mapping[str, str]) -> str:
    """The id of a new run among those of the recipe, with its keys."""
    from mlflow.entities import Param

    known = client.get_experiment_by_name(recipe.name)
    experiment = known.experiment_id if known else client.create_experiment(recipe.name)
    run: str = client.create_run(experiment, run_name=name, tags=tags).info.run_id
    keys = flat(recipe.model_dump(exclude={"profiles"}))
    client.log_batch(run, params=[Param(key, str(value)) for key, value in keys.items()])
    return run


def _address(folder: Path) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or (folder.resolve() / "mlruns").as_uri()


@contextlib.contextmanager
def _problems(folder: Path) -> Iterator[None]:
    """What MLflow raises within, as OutputError."""
    from mlflow.exceptions import MlflowException

    try:
        with storage_errors(folder):
            yield
    except MlflowException as error:
        # Without its cause, which goes to log.txt and may hold the password of an address.
        raise OutputError(
            f"MLflow does not take the figures: {hide_line(str(error.message))}; see that what MLFLOW_TRACKING_URI "
            "names answers, and go on with --resume"
        ) from None


LOGGERS: dict[str, Callable[[RunFolder], Logger]] = {"tensorboard": TensorBoard, "mlflow": MLflow}
"""Name of a logger, which is that of its package and of the extra that installs it."""


def scalars(row: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a row of history by tag: `train/loss`, `train/tokens_per_second`, `validation/f1`, ...

    Rows of steps give the tags of `train`, rows of epochs those of `train_epoch` and `validation`.
    """
    if row["kind"] == "step":
        rate = row["tokens"] / max(row["seconds"], 1e-9)
        figures = {name: value for name, value in row.items() if name not in NO_FIGURES}
        return finite("train", {**figures, "tokens_per_second": rate})
    return finite("train_epoch", {**row["train"], "seconds": row["seconds"]}) | finite("validation", row["validation"])


def finite(group: str, figures: Mapping[str, float | None]) -> dict[str, float]:
    """Those of the figures that are numbers, by `group/name`; history has None for others."""
    return {f"{group}/{name}": value for name, value in figures.items() if value is not None and math.isfinite(value)}


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
