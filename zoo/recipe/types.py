"""What a recipe is: frozen, strict, keyword-only types.

In comes plain data (from `reading.py`); out goes a `Recipe`. Refused: unknown keys, a string or a
boolean where a number belongs, numbers out of range, contradictions between keys. The text under
each field is its documentation; schema.json and the tables of docs/recipe.md are made from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from zoo.recipe.backbone_group import Backbone
from zoo.recipe.composing import clashes_of_data, clashes_with_dropout, clashes_with_head, clashes_with_pairs
from zoo.recipe.data_group import Data
from zoo.recipe.heads import ClassifierHead, ContrastiveHead, Head, TaskName
from zoo.recipe.kinds import (
    Clash,
    Config,
    Count,
    Name,
    Positive,
    Score,
    Text,
    all_clashes,
)
from zoo.recipe.several import ExpectedOfTask, OneTask, Sampling, clashes_of_several, monitors_of, with_heads
from zoo.recipe.staging import Overlay
from zoo.recipe.training_group import Training

SCHEMA_VERSION = 1
MAX_STAGES = 20
"""Runs in a row of one recipe."""
Backend = Literal["jax", "tensorflow", "torch"]


class Tokens(Config):
    """How texts become token ids."""

    max_length: Annotated[int, Field(ge=4, le=8192)] = 128
    """Tokens a row at most, special tokens counted."""
    long: Literal["cut", "window"] = "cut"
    """What becomes of a text that is longer: it is cut, or seen whole, through several rows. Of a pair it is the second
    text that each window has a part of."""
    stride: Count | None = None
    """With `long: window`: text tokens from the start of one window to that of the next, as BERT's doc_stride; None is
    half a window."""
    pool: Literal["mean", "max"] = "mean"
    """With `long: window`: how the outputs of a text's windows become those of the text, where a text has one answer.
    Training takes each window with the text's label, and a text counts as much as any other."""
    truncation: Literal["head", "tail", "head_tail"] = "head"
    """Which part of a long text stays: its start, its end, or both (Sun et al. 2019, section 5.3.1)."""
    head: Count | None = None
    """With head_tail: text tokens kept from the start; None keeps a quarter of `max_length`."""
    pair_truncation: Literal["longest_first", "only_first", "only_second"] = "longest_first"
    """Which text of a pair gives way when both are too long together: the longer one, or always the same one, and then
    a row in which the other one alone leaves no room is refused. A single text is cut all the same."""

    def clashes(self) -> Iterator[Clash]:
        if self.head is not None and self.truncation != "head_tail":
            yield Clash(("head", "truncation"), f"got {self.head}, expected null with truncation: {self.truncation}")
        elif self.head is not None and self.head > self.max_length - 3:
            room = self.max_length - 3
            yield Clash(("head", "max_length"), f"got {self.head}, expected at most {room}, to leave room for a tail")
        if self.stride is not None and self.long == "cut":
            yield Clash(("stride", "long"), f"got {self.stride}, expected null with long: cut")
        elif self.stride is not None and self.stride > self.max_length - 2:
            most = self.max_length - 2
            yield Clash(
                ("stride", "max_length"), f"got {self.stride}, expected at most {most}: words would be left out"
            )
        if self.long == "window" and self.truncation != "head":
            yield Clash(
                ("truncation", "long"), f"got {self.truncation}, expected head with long: window: nothing is cut"
            )
        if self.long == "window" and self.pair_truncation != "longest_first":
            message = f"got {self.pair_truncation}, expected longest_first with long: window: nothing is cut"
            yield Clash(("pair_truncation", "long"), message)


class Model(Config):
    """Backbone and head."""

    backbone: Backbone
    """The encoder."""
    head: Head = ClassifierHead()
    """What turns the encoder's output into logits."""

    def clashes(self) -> Iterator[Clash]:
        if self.head.init == "preset" and self.backbone.preset is None:
            yield Clash(("head.init", "backbone.preset"), "got preset, expected seed: a fresh backbone has none")


class Expected(Config):
    """What this recipe is expected to reach; `benchmarks/compare.py` and the README's table read it."""

    accuracy: Score | None = None
    """Test accuracy, 0 to 1."""
    f1: Score | None = None
    """Test F1, 0 to 1: of class 1 with two classes, the macro average with more; of answers that of their words."""
    exact_match: Score | None = None
    """Of answers: share of test questions that are answered exactly, 0 to 1."""
    hours: Positive | None = None
    """Wall-clock training time in hours."""
    tasks: dict[Name, ExpectedOfTask] = Field(default_factory=dict)
    """Of several tasks: what each is expected to reach, by name."""
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """Seeds over which accuracy, F1 and hours are judged: as many whole runs, each from a seed of its own."""
    source: Text
    """Who published or measured these figures, and with what settings."""


class Keys(Config):
    """All that decides a run."""

    # Not Literal[1]: that takes `true` and 1.0 for 1.
    version: Annotated[int, Field(ge=1, le=SCHEMA_VERSION, json_schema_extra={"x-expected": "1"})] = SCHEMA_VERSION
    """Version of the recipe format."""
    name: Name
    """Name of the recipe: letters, digits, `_` and `-`."""
    task: Literal[TaskName, "joint"] = "classification"
    """What is learned of a text: its class, which of several classes it has, numbers, a class of each word, the
    answers to questions, or its hidden tokens; `joint`, which follows from `tasks`, is several of these at once."""
    tasks: dict[Name, OneTask] = Field(default_factory=dict)
    """Several tasks at once on one backbone, by name, in place of `data` and `model.head`."""
    sampling: Sampling | None = None
    """With `tasks`: how many rows of each an epoch has; None is proportional."""
    backend: Backend | None = None
    """Keras backend; None takes KERAS_BACKEND, else the first that is installed."""
    data: Data = Data()
    """Where the rows come from."""
    tokens: Tokens = Tokens()
    """How texts become token ids."""
    model: Model
    """Backbone and head."""
    training: Training = Training()
    """How the model is fitted."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Draws splits, batch order, head weights and dropout."""
    expected: Expected | None = None
    """What this recipe is expected to reach."""
    stages: Annotated[tuple[Overlay, ...], Field(strict=False, max_length=MAX_STAGES)] = ()
    """Runs in a row, each a group with a `name` and dotted keys: what is laid over the recipe for this stage, as a
    profile is, each value in place of what stood there. A stage begins with the backbone that the one before ended
    with, unless it names its own; one of another `task` has the head of that task; `expected` is that of the last."""
    profiles: dict[Name, dict[str, Any]] = Field(default_factory=dict)
    """Overlays of dotted keys, by name: the same recipe at another scale (`--profile`). The value of a key
    replaces, whole, what stood there; `expected` holds without a profile only, unless the profile has its own."""

    def __eq__(self, other: object) -> bool:
        """Whether both decide the same run: the profiles on offer do not count."""
        if not isinstance(other, Keys):
            return NotImplemented
        return self.model_dump(exclude={"profiles"}) == other.model_dump(exclude={"profiles"})

    __hash__ = None  # type: ignore[assignment]  # profiles are dicts

    def clashes(self) -> Iterator[Clash]:
        names = [stage.name for stage in self.stages]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Clash(("stages",), f"got {name} twice, expected a name of its own for each stage")
        backbone = self.model.backbone
        positions = backbone.max_positions or 512
        if backbone.preset is None and self.tokens.max_length > positions:
            message = f"got {self.tokens.max_length}, expected at most the backbone's {positions} positions"
            yield Clash(("tokens.max_length", "model.backbone.max_positions", "model.backbone.preset"), message)
        head = self.model.head
        if head.task != self.task:
            message = f"got {head.type}, a head for {head.task}, expected one for task: {self.task}"
            yield Clash(("model.head.type", "task"), message)
        if head.each == "token" and self.training.packing:
            yield Clash(
                ("training.packing", "model.head.type"),
                f"got true, expected false with head {head.type}: packed rows have outputs for texts, not for tokens",
            )
        monitors = (*head.watchable, *monitors_of(self.tasks))
        if self.training.distil is not None and not head.taught:
            message = f"got a teacher, expected null with head {head.type}: its outputs are no scores of classes"
            yield Clash(("training.distil", "model.head.type"), message)
        if self.training.monitor not in (None, *monitors):
            message = f"got {self.training.monitor}, expected one of {', '.join(monitors)}"
            yield Clash(("training.monitor", "model.head.type"), message)
        for name in ("accuracy", "f1", "exact_match"):
            value = getattr(self.expected, name, None)
            if value is not None and name not in head.measured:
                yield Clash(
                    (f"expected.{name}", "model.head.type"), f"got {value:g}, expected null: {head.type} has none"
                )
        yield from clashes_with_head(self.training, head, windows=self.tokens.long == "window")
        yield from clashes_with_dropout(self.training, backbone, head)
        if head.paired:
            yield from clashes_with_pairs(self.training, windows=self.tokens.long == "window")
        yield from clashes_of_data(self.data, head)
        yield from clashes_of_several(
            *(self.task, self.tasks, self.sampling, self.data),
            packing=self.training.packing,
            expected=self.expected.tasks if self.expected is not None else {},
        )
        if self.data.files is not None and self.data.files.label is None and head.labelled:
            message = f"got null, expected the column of the label, for task: {head.task}"
            yield Clash(("data.files.label", "model.head.type"), message)
        if self.data.files is not None:
            for clash in head.clashes_with(self.data.files):
                yield Clash((*(f"data.files.{key}" for key in clash.keys), "model.head.type"), clash.message)

    @property
    def repeats(self) -> int:
        """How often each row of train comes in an epoch, where they are not drawn."""
        return self.model.head.repeats if isinstance(self.model.head, ContrastiveHead) else 1

    @property
    def monitor(self) -> str:
        """The validation figure that picks the best epoch."""
        return self.training.monitor or self.model.head.monitors[0]

    @model_validator(mode="before")
    @classmethod
    def _has_heads(cls, given: Any) -> Any:
        return with_heads(given)

    @model_validator(mode="after")
    def _nothing_clashes(self) -> Self:
        clashes = tuple(all_clashes(self, ""))
        if clashes:
            text = "; ".join(f"{clash.keys[0]}: {clash.message}" for clash in clashes)
            raise PydanticCustomError("clash", "{text}", {"text": text, "clashes": clashes})
        return self
