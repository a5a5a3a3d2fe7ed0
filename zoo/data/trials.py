"""Which way to compute a step is the quickest one on a device, as it was measured there, kept in the cache.

In come the step that was tried and the seconds that it took by precision, or compiled and not; out come these figures
again, for the next run on the same device, and for `zoo.check`, which imports no backend. Nothing is chosen by what a
processor says of itself. Refused: nothing; a file that cannot be read counts as none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from zoo.backend import versions
from zoo.data.sources import cache_folder
from zoo.data.writing import write_atomically
from zoo.recipe.estimate import Precision

GAIN = 1.05
"""How many times as quick a way has to be before it is chosen over one that is named before it."""

Way = TypeVar("Way", bound=str)
"""Names of ways: precisions, or what `training.compile` may be."""
WORDS: Mapping[str, str] = {"on": "compiled", "off": "not compiled"}


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What was tried: a step of training or of prediction, of one transformer layer, on a batch.

    rows and length are those of the batch; hidden_dim, num_heads and intermediate_dim those of the layer. compiled_in
    is the precision in which a compiled step was tried beside one that is not; None where precisions were tried.
    """

    work: Literal["train", "predict"]
    backend: str
    rows: int
    length: int
    hidden_dim: int
    num_heads: int
    intermediate_dim: int
    compiled_in: Precision | None = None


@dataclass(frozen=True, kw_only=True)
class Trial(Generic[Way]):
    """Seconds of such a step on a device, by precision, the most exact first; or compiled and not, the usual first."""

    device: str
    seconds: Mapping[Way, float]

    @property
    def chosen(self) -> Way:
        """The quickest one, and of those that are about as quick the first."""
        found = next(iter(self.seconds))
        for name, seconds in self.seconds.items():
            if GAIN * seconds < self.seconds[found]:
                found = name
        return found

    def __str__(self) -> str:
        mine = self.seconds[self.chosen]
        others = []
        for name, seconds in self.seconds.items():
            less = "" if name in WORDS else " is less exact and"
            why = f", which{less} would have to be {GAIN - 1:.0%} quicker" if seconds < mine else ""
            if name != self.chosen:
                others.append(f"{1000 * seconds:.3g} {WORDS.get(name, f'in {name}')}{why}")
        return f"{1000 * mine:.3g} ms against {' and '.join(others)}, for a step of one layer on this device"


@dataclass(frozen=True, kw_only=True)
class Trials:
    """What was measured to choose a run's precision, and whether its steps are compiled; None is nothing."""

    precision: Trial[Precision] | None = None
    compiled: Trial[Literal["on", "off"]] | None = None


_KEPT = TypeAdapter(dict[str, dict[str, float]])


def kept(tried: Tried, device: str, ways: Sequence[Way]) -> Trial[Way] | None:
    """What was measured of this step on this device; None where not each of these ways was."""
    found = _read(tried).get(device, {})
    if not all(0.0 < found.get(name, 0.0) < float("inf") for name in ways):
        return None
    return Trial(device=device, seconds={name: found[name] for name in ways})


def keep(tried: Tried, trial: Trial[Way]) -> None:
    """Keep what was measured, beside what was measured on other devices."""
    found = _read(tried) | {trial.device: dict(trial.seconds)}
    with write_atomically(_path(tried)) as stream:
        stream.write(json.dumps(found, indent=1).encode())


def _read(tried: Tried) -> dict[str, dict[str, float]]:
    try:
        return _KEPT.validate_json(_path(tried).read_bytes())
    except (OSError, ValidationError):
        return {}


def _path(tried: Tried) -> Path:
    told = asdict(tried) | versions("text-zoo", "keras", tried.backend)
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "trials" / f"{tried.backend}-{tried.work}-{key}.json"
