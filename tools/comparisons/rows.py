"""What is equal to what: the rows of docs/trust.md, and how each is worked out of what the processes left.

In come the figures of measured.py and the run folders of runs.py; out come, for each row, the measured difference on
each backend and whether it is within the row's limit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.finished import Run
from zoo.recipe.staging import stage_folder


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    what is compared, with what (`against`), in which `unit` (none: a number as it is) the difference is counted, the
    largest that passes, and whether the smaller form has it too.
    """

    key: str
    what: str
    against: str
    unit: str
    limit: float
    small: bool = True

    def notices(self, moved: Mapping[str, float], backends: tuple[str, ...]) -> bool:
        """Whether these figures, of a model of which a weight was moved, are beyond the limit on all backends."""
        return all(moved.get(backend, -np.inf) > self.limit for backend in backends)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A row and what was measured, by backend; a backend may be missing where its process failed."""

    row: Row
    measured: Mapping[str, float]

    def failed(self, backends: tuple[str, ...]) -> bool:
        """Whether any backend is beyond the limit, or has no figure."""
        return not all(self.measured.get(backend, np.inf) <= self.row.limit for backend in backends)


KINDS = {
    "bert_uncased": "BERT uncased (MiniLM's vocabulary)",
    "bert_cased": "BERT cased (a vocabulary of the reviews)",
    "distilbert": "DistilBERT (MiniLM's vocabulary)",
    "roberta": "RoBERTa (a vocabulary of the reviews)",
}
FAMILIES = {"bert": "BERT", "distilbert": "DistilBERT", "roberta": "RoBERTa"}
TASKS = {"masked": "masked language model", "tokens": "a class a token", "span": "answers"}
SMALL = ("bert-masked", "distilbert-tokens", "roberta-span")
"""The models of tasks that the smaller form has: one family each."""
MODELS = {
    **{family: f"{name}, nano" for family, name in FAMILIES.items()},
    "minilm": "MiniLM, real weights and reviews",
    **{
        f"{family}-{task}": f"{name}, nano, {what}" for task, what in TASKS.items() for family, name in FAMILIES.items()
    },
}
"""Folder of reference.py -> what it holds. `<family>-<task>`, and classifiers."""
RUNS = {
    "ner_bert": "words",
    "squad_bert": "answers",
    "imdb_masked": "masked language model",
    "multitask": "three tasks at once",
    "imdb_adapted": "masked, then classes",
    "distil_imdb": "teacher, then student",
}
"""Shipped recipe -> what its whole run learns."""
SMALL_RUNS = ("ner_bert", "squad_bert", "imdb_masked")
"""Those that the smaller form has."""
CLASSIFIERS = (*FAMILIES, "minilm")
FORWARD = {
    "padded": "last hidden states, padded batch",
    "unpadded": "last hidden states, single rows",
    "logits": "logits, head imported",
}

ROWS = (
    *(
        Row(
            key=f"tokens/{kind}",
            what=f"{name}: token ids and segments",
            against="transformers' tokenizer",
            unit="rows",
            limit=0,
        )
        for kind, name in KINDS.items()
    ),
    *(
        Row(
            key=f"forward/{model}/{part}",
            what=f"{name}: {text}",
            against="transformers",
            unit="",
            limit=1e-4,
            small=model in (*CLASSIFIERS, *SMALL),
        )
        for model, name in MODELS.items()
        for part, text in FORWARD.items()
        if part == "logits" or model in CLASSIFIERS
    ),
    *(
        Row(
            key=f"steps/{model}/{part}",
            what=f"{name}: {text}",
            against="transformers, torch.optim.AdamW",
            unit="",
            limit=limit,
            small=model in (*CLASSIFIERS, *SMALL),
        )
        for model, name in MODELS.items()
        for part, text, limit in (
            ("weights", "weights after one step", 1e-5),
            ("losses", "loss of each of 20 steps", 1e-4),
        )
    ),
    Row(
        key="masks/positions",
        what="portable dropout masks, bit by bit",
        against="the same generator in NumPy",
        unit="positions",
        limit=0,
    ),
    Row(
        key="whole/losses",
        what="a whole run with dropout: loss of each step",
        against="the other two backends",
        unit="",
        limit=1e-3,
    ),
    Row(
        key="whole/predictions",
        what="a whole run with dropout: test rows with another class, or a probability off by 0.001",
        against="the other two backends",
        unit="% of rows",
        limit=5e-3,
    ),
    *(
        Row(
            key=f"whole/{name}/{part}",
            what=f"a whole run of {name} ({learned}): {text}",
            against="the other two backends",
            unit="",
            limit=limit,
            small=name in SMALL_RUNS,
        )
        for name, learned in RUNS.items()
        for part, text, limit in (
            ("losses", "loss of each step", 1e-4 if name == "imdb_masked" else 1e-3),  # where one weight shows little
            ("figures", "figures of all splits", 1e-3),
        )
    ),
    Row(
        key="resume/losses",
        what="a run resumed here that another backend began: loss of each step",
        against="that backend, uninterrupted",
        unit="",
        limit=1e-3,
    ),
    Row(
        key="again/files",
        what="the same run again: weights, predictions, metrics, history",
        against="itself",
        unit="files",
        limit=0,
    ),
)


VISIBLE = 1e-3
"""Difference of a probability that counts; few rows change their class for so little as one moved weight."""


MOVED_WHOLE = "torch"
"""The backend whose whole runs are trained with a weight moved too: one of three, and all comparisons with it fail. It
has nothing to compile again."""


def runs_in(folder: Path) -> list[Run]:
    """The run of a folder, or that of each of its stages."""
    stages = zoo.load_recipe(folder / "recipe.yaml").stages
    places = [folder / stage_folder(number, stage.name) for number, stage in enumerate(stages)]
    return [zoo.load_run(place) for place in places or [folder]]


def losses(folder: Path) -> np.ndarray:
    """The training loss of each step, [steps]; of a run with stages those of all of them."""
    return np.array([row["loss"] for run in runs_in(folder) for row in run.history if row["kind"] == "step"])


def figures(folder: Path) -> dict[tuple[int, str, str], float]:
    """Every figure that is a number, by the number of the stage, its split and its name."""
    return {
        (number, split, name): value
        for number, run in enumerate(runs_in(folder))
        for split, found in run.metrics.items()
        for name, value in found.items()
        if isinstance(value, int | float)
    }


def run_differences(folder: Path, begun: Mapping[str, str], *, moved: bool) -> dict[str, dict[str, float]]:
    """The rows that compare runs, by key and backend.

    Args:
        folder: of runs.py.
        begun: by backend, the one whose half run it resumed.
        moved: whether of the runs of which a weight was moved.
    """
    again, resumed = ("again-moved", "resumed-moved") if moved else ("again", "resumed")
    places = {b: folder / b / ("whole-moved" if moved and b == MOVED_WHOLE else "whole") for b in begun}
    backends = list(begun)
    keys = ("whole/losses", "whole/predictions", "resume/losses", "again/files")
    found: dict[str, dict[str, float]] = {key: {} for key in keys}
    whole = {backend: losses(place) for backend, place in places.items()}
    predicted = {backend: zoo.load_run(place).folder.predictions for backend, place in places.items()}
    for backend in backends:
        others = [other for other in backends if other != backend]
        found["whole/losses"][backend] = max(
            (_largest(whole[backend], whole[other]) for other in others), default=np.inf
        )
        found["whole/predictions"][backend] = max(
            (_share_otherwise(predicted[backend], predicted[other]) for other in others), default=np.inf
        )
        uninterrupted = losses(folder / begun[backend] / "whole")
        found["resume/losses"][backend] = _largest(losses(folder / backend / resumed), uninterrupted)
        found["again/files"][backend] = _differing_files(folder / backend / "short", folder / backend / again)
    for name in RUNS:
        tasks = {b: folder / b / ("tasks-moved" if moved and b == MOVED_WHOLE else "tasks") / name for b in backends}
        if all(place.exists() for place in tasks.values()):
            found |= _between(f"whole/{name}", tasks)
    return found


def _between(key: str, places: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """How far the run of each backend is from those of the others."""
    steps = {backend: losses(place) for backend, place in places.items()}
    told = {backend: figures(place) for backend, place in places.items()}
    found: dict[str, dict[str, float]] = {f"{key}/losses": {}, f"{key}/figures": {}}
    for backend in places:
        others = [other for other in places if other != backend]
        found[f"{key}/losses"][backend] = max(_largest(steps[backend], steps[other]) for other in others)
        found[f"{key}/figures"][backend] = max(_largest_figure(told[backend], told[other]) for other in others)
    return found


def _largest_figure(one: Mapping[Any, float], other: Mapping[Any, float]) -> float:
    """The largest difference of a figure; infinite where they are not of the same names."""
    if one.keys() != other.keys():
        return float("inf")
    return _largest(*(np.array([each[name] for name in one]) for each in (one, other)))


def _largest(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max()) if one.shape == other.shape else float("inf")


def _share_otherwise(one: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> float:
    """Share of the rows of two predictions.jsonl with another class or a probability that is visibly another."""

    def differs(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
        off = np.abs(np.subtract(a["probabilities"], b["probabilities"])).max()
        return bool(a["prediction"] != b["prediction"] or off > VISIBLE)

    return float(np.mean([differs(a, b) for a, b in zip(one, other, strict=True)]))


def _differing_files(one: Path, other: Path) -> int:
    """How many of a run's results differ by a byte; the time that a step took is none."""

    def content(run: Path) -> list[object]:
        history = [{k: v for k, v in row.items() if k != "seconds"} for row in zoo.load_run(run).history]
        metrics = json.dumps(zoo.load_run(run).metrics)
        files = ("model/weights.safetensors", "predictions.jsonl")
        return [*((run / name).read_bytes() for name in files), metrics, history]

    return sum(a != b for a, b in zip(content(one), content(other), strict=True))
