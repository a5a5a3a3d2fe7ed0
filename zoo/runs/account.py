"""What run.json says of a run beside its figures: versions, memory, fingerprint, time.

In come the pieces of a finished session; out come plain values for JSON.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from zoo.backend import Backend, versions
from zoo.data.dataset import Dataset
from zoo.data.tokens import TokenTable
from zoo.tasks import Task
from zoo.tasks.calibrated import Temperature, reliability_of
from zoo.training.checkpoint import Clock

PACKAGES = ("text-zoo", "keras", "keras-hub", "jax", "jaxlib", "tensorflow", "torch", "numpy", "tokenizers")


PARTS = ("data", "import", "tokenize", "build", "evaluate")
"""Parts of a run's time, beside its steps; no second is in two of them."""


class Stopwatch:
    """Seconds by name, and since it was made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add what the block takes to `name`."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

    def total(self) -> float:
        return time.perf_counter() - self._begun


def environment(backend: Backend, precision: str, seed: int, recipe_text: str, dataset: Dataset) -> dict[str, Any]:
    """backend, device, precision, seed, fingerprint, versions and platform."""
    return {
        "backend": backend.name,
        "device": backend.device(),
        "precision": precision,
        "seed": seed,
        "fingerprint": fingerprint(recipe_text, dataset.sha256),
        "versions": {"python": platform.python_version(), **versions(*PACKAGES), backend.name: backend.version()},
        "platform": platform.platform(),
    }


def fingerprint(recipe_text: str, data_sha256: str) -> str:
    """sha256 over recipe, data and the zoo's own source: equal for runs that mean the same."""
    digest = hashlib.sha256(recipe_text.encode())
    digest.update(data_sha256.encode())
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def data_account(dataset: Dataset, tables: Mapping[str, TokenTable], max_length: int) -> dict[str, Any]:
    """rows, targets and lengths of the splits, as run.json and the report have them."""
    splits = {name: getattr(dataset, name) for name in ("train", "validation", "test")}
    return {
        "rows": {name: len(split) for name, split in splits.items()},
        "copies": dataset.copies,
        "sha256": dataset.sha256,
        **dataset.task.account({name: split.labels for name, split in splits.items()}),
        "truncated": {name: table.truncated for name, table in tables.items()},
        "windows": {name: len(table) for name, table in tables.items()},
        "token_lengths": {**histogram(tables["train"].full), "max_length": max_length},
        "notes": list(dataset.notes),
    }


def by_name(names: Sequence[str], values: np.ndarray | None) -> dict[str, float] | None:
    """Values by name, or None."""
    return None if values is None else dict(zip(names, values.tolist(), strict=True))


def calibrated(
    temperature: Temperature, task: Task, splits: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, Any]:
    """The temperature, and how well probabilities hold before and after.

    Args:
        splits: outputs and targets by split, as they are once the model is divided by the temperature.
    """
    found: dict[str, Any] = {"temperature": temperature.value, "rows": temperature.rows, "note": temperature.note}
    for split, (outputs, targets) in splits.items():
        before = reliability_of(task, outputs * temperature.value, targets)
        found[split] = {"before": before, "after": reliability_of(task, outputs, targets)}
    return found


def calibration_told(calibration: Mapping[str, Any]) -> str:
    """That in a line."""
    if calibration["note"] is not None:
        return f"no temperature: {calibration['note']}"
    told = [f"temperature {calibration['temperature']:.3g}, on {calibration['rows']:,} rows of validation"]
    for split in (split for split in ("validation", "test") if split in calibration):
        before, after = (calibration[split][when]["expected_calibration_error"] for when in ("before", "after"))
        told.append(f"{split} calibration error {before:.1%}, now {after:.1%}")
    return "; ".join(told)


def histogram(lengths: ArrayLike, bins: int = 50) -> dict[str, list[float]]:
    """Lengths `[rows]` in tokens as `edges` and `counts`, small enough for run.json.

    Bars are whole tokens wide. The last one holds what is longer than all others, 0.5% of the texts at most, so that
    one giant does not flatten the picture.
    """
    values = np.asarray(lengths)
    width = max(1, math.ceil((float(np.quantile(values, 0.995)) + 1) / (bins - 1)))
    top = width * (bins - 1)
    counts, edges = np.histogram(np.minimum(values, top), bins=bins, range=(0, top + width))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def elapsed(stopwatch: Stopwatch, earlier: Mapping[str, float]) -> dict[str, float]:
    """Seconds in all and by part, of a run that goes on those of its earlier parts included."""
    own = {"total": stopwatch.total(), **{name: stopwatch.seconds.get(name, 0.0) for name in PARTS}}
    return {f"{name}_seconds": earlier.get(f"{name}_seconds", 0.0) + value for name, value in own.items()}


def trained(clock: Clock) -> dict[str, float]:
    """Seconds of the steps that compiled something and of the others; over these, real examples and tokens a second."""
    seconds = clock.train_seconds
    return {
        "compile_seconds": clock.compile_seconds,
        "train_seconds": seconds,
        "examples_per_second": clock.examples / seconds if seconds else 0.0,
        "tokens_per_second": clock.tokens / seconds if seconds else 0.0,
    }


def memory(backend: Backend) -> dict[str, Any]:
    """Largest memory: of the accelerator where there is one, else of this process."""
    device = backend.peak_device_bytes()
    return process_memory() if device is None else {"peak_bytes": device, "of": "device"}


def process_memory() -> dict[str, Any]:
    """Largest memory of this process."""
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "of": "process"}
