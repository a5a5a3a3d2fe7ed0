"""The recipe's `tasks`: several tasks at once on one backbone, each with data and head of its own.

In comes plain data, out goes one `OneTask` a name. Refused: what kinds.py refuses, and here tasks whose outputs are not
of texts, heads that come with the preset, and data that do not go with the head.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, Tag

from zoo.recipe.data_group import Data
from zoo.recipe.heads import HEADS, ClassifierHead, Head, JointHead, TaskName
from zoo.recipe.kinds import Clash, Config, Positive, Score, kind_or

__all__ = [
    "ExpectedOfTask",
    "OneTask",
    "Sampling",
    "clashes_of_several",
    "data_of",
    "expected_figures",
    "monitors_of",
    "told_data",
    "with_heads",
]


class Proportional(Config):
    """Every row of every task once an epoch."""

    type: Literal["proportional"] = "proportional"
    """Kind of sampling."""


class Temperature(Config):
    """Rows of each task in proportion to a root of their number: small tasks are seen more often, large ones less (the
    multilingual BERT of Devlin et al. 2019 draws its languages so)."""

    type: Literal["temperature"] = "temperature"
    """Kind of sampling."""
    temperature: Annotated[float, Field(ge=1.0, le=1000.0, allow_inf_nan=False)] = 2.0
    """Which root: 1 is `proportional`, and the larger it is, the nearer to `equal`."""


class Equal(Config):
    """As many rows of each task."""

    type: Literal["equal"] = "equal"
    """Kind of sampling."""


Sampling = Annotated[
    Annotated[Proportional, Tag("proportional")]
    | Annotated[Temperature, Tag("temperature")]
    | Annotated[Equal, Tag("equal")],
    kind_or("proportional"),
]


class OneTask(Config):
    """One of several tasks: what is learned, from which rows, and how much it counts."""

    task: TaskName = "classification"
    """What is learned of a text: one of the tasks that have an answer for the whole of it."""
    data: Data
    """Where its rows come from: the keys of a recipe's own `data`."""
    head: Head = ClassifierHead()
    """What turns the encoder's output into its logits: the keys of `model.head`."""
    weight: Positive = 1.0
    """How much a row of it counts in the loss."""

    def clashes(self) -> Iterator[Clash]:
        head = self.head
        if head.task != self.task:
            message = f"got {head.type}, a head for {head.task}, expected one for task: {self.task}"
            yield Clash(("head.type", "task"), message)
        if head.each != "text" or not head.labelled or head.paired:
            message = f"got {self.task}, expected a task with one answer a text: several at once share a batch of texts"
            yield Clash(("task",), message)
        if head.init != "seed":
            message = f"got {head.init}, expected seed: a preset has one head, and it is not known whose"
            yield Clash(("head.init",), message)
        if self.data.unsaid:
            yield Clash(("data.dataset", "data.files"), "got nothing, expected a data set or files of this task")
        elif self.data.files is not None and self.data.files.label is None:
            yield Clash(("data.files.label",), f"got null, expected the column of the label, for task: {self.task}")
        if self.data.files is not None:
            for clash in head.clashes_with(self.data.files):
                yield Clash((*(f"data.files.{key}" for key in clash.keys), "head.type"), clash.message)
        if self.data.few_shot is not None:
            message = f"got {self.data.few_shot.rows} rows a class, expected null: rows are drawn for one task alone"
            yield Clash(("data.few_shot",), message)
        if self.data.folds is not None:
            message = f"got {self.data.folds}, expected null: rows are held out of one task alone"
            yield Clash(("data.folds",), message)


class ExpectedOfTask(Config):
    """What one of several tasks is expected to reach."""

    accuracy: Score | None = None
    """Test accuracy, 0 to 1."""
    f1: Score | None = None
    """Test F1, 0 to 1."""


def monitors_of(tasks: Mapping[str, OneTask]) -> tuple[str, ...]:
    """The figures of each task that can pick the best epoch, as `imdb.accuracy`."""
    return tuple(f"{name}.{figure}" for name, each in tasks.items() for figure in each.head.watchable)


def clashes_of_several(
    task: str,
    tasks: Mapping[str, OneTask],
    sampling: Proportional | Temperature | Equal | None,
    data: Data,
    *,
    packing: bool,
    expected: Mapping[str, ExpectedOfTask],
) -> Iterator[Clash]:
    """What in a recipe does not go with its `tasks`, or without any."""
    if not tasks:
        if task == JointHead.task:
            yield Clash(("tasks",), "got nothing, expected two tasks or more by name, for task: joint")
        elif data.unsaid:
            yield Clash(("data.dataset", "data.files"), "got nothing, expected `data.dataset` or `data.files`")
        if sampling is not None:
            yield Clash(("sampling", "tasks"), f"got {sampling.type}, expected null without `tasks`")
        if expected:
            yield Clash(("expected.tasks", "tasks"), "got figures of tasks, expected none without `tasks`")
        return
    if task != JointHead.task:
        yield Clash(("task", "tasks"), f"got {task} beside tasks, expected none: each of them says what it is")
    if len(tasks) == 1:
        yield Clash(("tasks",), f"got {', '.join(tasks)} alone, expected two or more: one goes without `tasks`")
    if data != Data():
        yield Clash(("data", "tasks"), "got data beside tasks, expected none: each of them has its own")
    if packing and sampling is not None and sampling.type != "proportional":
        message = f"got true beside sampling: {sampling.type}, expected false: packed epochs have every row once"
        yield Clash(("training.packing", "sampling.type"), message)
    for name, figures in expected.items():
        if name not in tasks:
            yield Clash((f"expected.tasks.{name}",), f"got {name}, expected one of {', '.join(tasks)}")
            continue
        head = tasks[name].head
        for figure in ("accuracy", "f1"):
            value = getattr(figures, figure)
            if value is not None and figure not in head.measured:
                message = f"got {value:g}, expected null: {head.type} has none"
                yield Clash((f"expected.tasks.{name}.{figure}", f"tasks.{name}.head.type"), message)


def data_of(recipe: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The group `data` of a recipe in plain values by the name of its task, an empty one where it has one task."""
    tasks = recipe.get("tasks") or {}
    return {name: each["data"] for name, each in tasks.items()} or {"": recipe["data"]}


def expected_figures(expected: Mapping[str, Any] | None) -> dict[str, float]:
    """The figures that a recipe expects of test, by name; those of several tasks as `imdb.accuracy`."""
    given = expected or {}
    groups = {"": given, **{f"{name}.": each for name, each in (given.get("tasks") or {}).items()}}
    return {
        f"{start}{name}": group[name]
        for start, group in groups.items()
        for name in ("accuracy", "f1", "exact_match")
        if group.get(name) is not None
    }


def told_data(recipe: Mapping[str, Any]) -> str:
    """What the data of a recipe in plain values are called."""
    return ", ".join(data.get("dataset") or data["files"]["train"] for data in data_of(recipe).values())


def with_heads(given: Any) -> Any:
    """The recipe's plain data with the heads of its tasks, where it does not say which."""
    if not isinstance(given, Mapping):
        return given
    tasks = given.get("tasks")
    if isinstance(tasks, Mapping) and tasks:
        given = {"task": JointHead.task, **given, "tasks": {name: _with_head(each) for name, each in tasks.items()}}
    task, model = given.get("task"), given.get("model")
    if not isinstance(task, str) or not isinstance(model, Mapping):
        return given
    return {**given, "model": _with_head(model, task)}


def _with_head(group: Any, task: Any = None) -> Any:
    """A group that has a head, of this task or of the one that it names."""
    if not isinstance(group, Mapping):
        return group
    task = group.get("task") if task is None else task
    head = group.get("head", {})
    if not isinstance(task, str) or task not in HEADS or not isinstance(head, Mapping) or "type" in head:
        return group
    return {**group, "head": {**head, "type": HEADS[task]}}
