"""What a compiler said of a recipe's training step on a device that is not here, kept in the cache.

In come the step and the `CompiledProgram`; out comes the program again, for `zoo.check`, which imports no backend.
Refused: nothing; a file that cannot be read counts as none.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from zoo.backend import CompiledProgram, versions
from zoo.data.sources import cache_folder
from zoo.data.writing import write_atomically
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import Precision
from zoo.recipe.types import Keys


@dataclass(frozen=True, kw_only=True)
class CompiledStep:
    """What was compiled: a training step on one device, by what decides its cost.

    machine is the device as `zoo.recipe.estimate` calls it; a rate of dropout that the recipe leaves to the preset is
    None.
    """

    machine: str
    family: str
    size: Dimensions
    rows: int
    length: int
    packing: bool
    accumulate: int
    remat: bool
    dropout_masks: str
    dropout: float | None
    attention_dropout: float | None
    precision: Precision
    optimizer: str
    strategies: dict[str, Any]
    """Which weights are trained, and how often a row is computed, by the recipe's keys."""


STRATEGIES = {"train", "freeze", "unfreeze", "lora", "average", "adversarial", "r_drop", "mixup"}
"""Keys of `training` beside those above that decide what a step computes."""


def step_of(recipe: Keys, size: Dimensions, machine: str, precision: Precision) -> CompiledStep:
    """The training step of a recipe whose backbone has this size."""
    backbone, training = recipe.model.backbone, recipe.training
    return CompiledStep(
        machine=machine,
        family=backbone.family,
        size=size,
        rows=training.batch_size,
        length=recipe.tokens.max_length,
        packing=training.packing,
        accumulate=training.least_parts,
        remat=training.remat,
        dropout_masks=training.dropout_masks,
        dropout=backbone.dropout,
        attention_dropout=backbone.attention_dropout,
        precision=precision,
        optimizer=training.optimizer.type,
        strategies=training.model_dump(mode="json", include=STRATEGIES),
    )


_KEPT = TypeAdapter(CompiledProgram)


def kept(step: CompiledStep) -> CompiledProgram | None:
    """What a compiler said of this step, under the versions that are here; None where none was asked."""
    try:
        return _KEPT.validate_json(_path(step).read_bytes())
    except (OSError, ValidationError):
        return None


def keep(step: CompiledStep, program: CompiledProgram) -> None:
    """Keep what a compiler said, in place of what it said of this step before."""
    with write_atomically(_path(step)) as stream:
        stream.write(_KEPT.dump_json(program, indent=1))


def _path(step: CompiledStep) -> Path:
    told = asdict(step) | versions("text-zoo", "keras", "jax")
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "compiled-for" / f"{step.machine.replace(' ', '-')}-{key}.json"
