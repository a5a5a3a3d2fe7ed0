"""What run.json, history.jsonl, predictions.jsonl and audit.json hold: their types, and reading them.

In come the bytes of one JSON object; out comes the object as it stands there, once it is sure that every key that is
known has its type. Keys may be missing, as of a run that is broken off, and there may be others, of another version.
Refused, as OutputError that names the file: what is no JSON, of another type, or not finite.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # typing's own has too little for pydantic before Python 3.12
)

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from zoo.errors import OutputError
from zoo.tasks import AnyTask

Count = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Figures = dict[str, Number | None]
"""Figures by name; None stands for one that is not finite."""


Label = str | list[str] | dict[str, Number]
"""A class, the classes of a text or of its words, or numbers by name."""


class Owner(TypedDict):
    pid: int
    host: str


class TokenLengths(TypedDict):
    edges: list[Number]
    counts: list[Count]
    max_length: Count


class Data(TypedDict, total=False):
    rows: dict[str, Count]
    copies: Count
    sha256: str
    label_names: list[str]
    label_counts: dict[str, list[Count]]
    truncated: dict[str, Count]
    windows: dict[str, Count]
    token_lengths: TokenLengths
    notes: list[str]


class Expected(TypedDict, total=False):
    accuracy: Number | None
    f1: Number | None
    exact_match: Number | None
    hours: Number | None
    seeds: Count
    source: str | None


class Trained(TypedDict, total=False):
    epochs: Count
    steps: Count
    best_epoch: Count
    stopped_early: bool
    stopped_because: str | None
    lengths: list[Count]


class Calibration(TypedDict):
    temperature: Number
    rows: Count
    note: str | None
    validation: dict[Literal["before", "after"], Figures]
    test: NotRequired[dict[Literal["before", "after"], Figures]]


class Memory(TypedDict, total=False):
    peak_bytes: Count | None
    of: str


class StageState(TypedDict):
    name: str
    folder: Annotated[str, Field(pattern=r"^[0-9]+-[A-Za-z0-9_-]+$")]
    status: Literal["waiting", "running", "done", "failed", "interrupted"]


class PartState(TypedDict):
    name: str
    folder: Annotated[str, Field(pattern=r"^(draw|fold)-[0-9]+$")]
    status: Literal["waiting", "running", "done", "failed", "interrupted"]


class Spread(TypedDict):
    mean: Number
    deviation: Number
    low: NotRequired[Number]
    high: NotRequired[Number]
    values: list[Number]


class Pooled(TypedDict):
    of: Literal["draw", "fold"]
    figures: dict[str, Spread]


class RunFile(TypedDict, total=False):
    """run.json; docs/run-folder.md says what each key means."""

    version: Count
    status: Literal["running", "done", "failed", "interrupted", "pruned"]
    owner: Owner | None
    error: str | None
    started: str
    profile: str | None
    finished: str | None
    backend: str
    device: str
    precision: str
    precision_trial: dict[str, Number] | None
    parameters: dict[Literal["all", "trained"], Count]
    compiled: bool
    compile_trial: dict[str, Number] | None
    platform: str
    seed: int
    fingerprint: str
    versions: dict[str, str]
    task: AnyTask
    dataset: Data
    class_weights: dict[str, Number] | None
    resampled: dict[str, Count] | None
    expected: Expected | None
    metrics: dict[str, Figures]
    never_predicted: list[str]
    calibration: Calibration | None
    threshold: Number | list[Number] | None
    training: Trained
    timing: dict[str, Number]
    padding_fraction: Number
    memory: Memory
    stages: list[StageState]
    parts: list[PartState]
    pooled: Pooled


class StepRow(TypedDict):
    kind: Literal["step"]
    step: Count
    epoch: Count
    loss: Number | None
    accuracy: NotRequired[Number | None]
    learning_rate: Number
    seconds: Number
    tokens: Count


class EpochRow(TypedDict):
    kind: Literal["epoch"]
    step: Count
    epoch: Count
    train: Figures
    validation: Figures
    seconds: Number
    best: bool


class Answer(TypedDict):
    text: str
    start: Count
    end: Count
    score: Number


class PredictionRow(TypedDict):
    id: str
    label: Label
    prediction: Label
    probabilities: NotRequired[list[Number] | list[list[Number] | None]]
    words: NotRequired[list[list[Count]]]
    values: NotRequired[dict[str, Number]]
    starts: NotRequired[list[Count]]
    answers: NotRequired[list[Answer]]
    no_answer_score: NotRequired[Number]


class FoldRow(PredictionRow):
    fold: Count


class DoubtRow(TypedDict):
    id: str
    place: str
    split: str
    label: Label | None
    text: str


class LabelErrorRow(DoubtRow):
    suggested: Label
    probability: Number


class AlikeGroup(TypedDict):
    count: Count
    similarity: Number
    across: bool
    contradicting: bool
    rows: list[DoubtRow]


class TellingWord(TypedDict):
    kind: str
    word: str
    label: str
    count: Count
    agreeing: Count
    rows: list[DoubtRow]


class AuditFile(TypedDict):
    """audit.json; docs/audit.md says what each key means."""

    counts: dict[str, Count]
    task: str | None
    rows: dict[str, Count]
    source: str | None
    judged: Count
    label_errors: list[LabelErrorRow]
    groups: list[AlikeGroup]
    telling: list[TellingWord]
    left_out: dict[str, str]
    seconds: dict[str, Number]


HISTORY, PREDICTIONS, RUN = "history.jsonl", "predictions.jsonl", "run.json"
AUDIT, OUT_OF_FOLD = "audit.json", "out_of_fold.jsonl"

_KINDS: dict[str, TypeAdapter[Any]] = {
    RUN: TypeAdapter(RunFile),
    HISTORY: TypeAdapter(Annotated[StepRow | EpochRow, Field(discriminator="kind")]),
    PREDICTIONS: TypeAdapter(PredictionRow),
    OUT_OF_FOLD: TypeAdapter(FoldRow),
    AUDIT: TypeAdapter(AuditFile),
}


VERSION = 2
"""Of run.json; version 1 did not say so, and had compilation in the seconds of training."""


def as_now(run: dict[str, Any]) -> dict[str, Any]:
    """What a run.json of any version says, as it is written now."""
    timing = run.get("timing", {})
    if run.get("version", 1) > 1 or "train_seconds" not in timing:
        return run
    steps = timing["train_seconds"] - timing.get("compile_seconds", 0.0)
    return run | {"version": VERSION, "timing": timing | {"train_seconds": max(0.0, steps)}}


def read_audit(folder: Path) -> dict[str, Any] | None:
    """What audit.json says; None where there was no audit. Raises as the module says."""
    try:
        return read_object((folder / AUDIT).read_bytes(), folder, AUDIT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{folder / AUDIT} cannot be read ({error}): restore it or audit again") from error


def read_object(text: bytes, folder: Path, name: str, line: int | None = None) -> dict[str, Any]:
    """The object of run.json or audit.json, or of a line (from 1) of the others; raises as the module says."""
    try:
        _KINDS[name].validate_json(text, strict=True)
        found: dict[str, Any] = json.loads(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        fault = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first["loc"] else first["msg"]
    except ValueError as error:  # a number of thousands of digits under a key of another version
        fault = str(error)
    else:
        return found
    place = f" line {line}" if line is not None else ""
    raise OutputError(f"{folder / name}{place} is damaged ({fault}): restore it or train again")
