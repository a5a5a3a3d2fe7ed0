"""The quickest number type of matrix products, and whether to compile a step, by trial on the device at hand.

In come a model's config, a batch's shape and the active backend; out comes a `Trial`. The step that is tried is the
backend's own, of a model with one of the transformer layers; a few seconds at most, and kept in the cache, unless the
machine was busy: its steps wait for each other then, and all ways look alike.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np

from zoo.backend import Backend
from zoo.data import trials
from zoo.data.this_machine import busy, processor
from zoo.data.trials import Trial, Tried
from zoo.models import inference
from zoo.models.backbone import BackboneConfig
from zoo.models.blueprint import Blueprint
from zoo.models.builder import assemble_model
from zoo.recipe.estimate import Precision
from zoo.recipe.heads import ClassifierHead
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer

SECONDS = 1.5
"""How long steps are timed, all together, after the first of each precision."""
MOST_ROUNDS = 8
VOCABULARY = 1024
"""Token ids of the tried model: the table of embeddings is float32 in all."""
MOST_FLOPS = 2e10
"""Floating point operations of a tried step on a CPU: of a larger batch some rows are tried."""

Way = TypeVar("Way", bound=str)
Compile = Literal["on", "off"]


def quicker_precision(
    config: BackboneConfig, backend: Backend, *, rows: int, length: int, work: Literal["train", "predict"]
) -> Trial[Precision] | None:
    """What was measured here of such a step, now or before; None where the device multiplies float32 alone.

    Args:
        config: of the encoder.
        backend: the active one.
        rows, length: of a batch.
        work: a step of training, or a prediction.
    """
    tried = _tried(config, backend, rows, length, work)
    return _trial(tried, config, backend, {name: (name, None) for name in backend.precisions()})


def quicker_compiled(
    config: BackboneConfig, backend: Backend, *, rows: int, length: int, precision: Precision
) -> Trial[Compile] | None:
    """What was measured here of a training step, compiled and not; None where there is nothing to choose.

    Arguments are those of `quicker_precision`; precision: of the step.
    """
    tried = replace(_tried(config, backend, rows, length, "train"), compiled_in=precision)
    ways: dict[Compile, Step] = {"on" if compiled else "off": (precision, compiled) for compiled in backend.compiles()}
    return _trial(tried, config, backend, ways)


Step = tuple[Precision, bool | None]
"""Precision of a step, and whether it is compiled; None does as the backend usually does."""


def _tried(
    config: BackboneConfig, backend: Backend, rows: int, length: int, work: Literal["train", "predict"]
) -> Tried:
    return Tried(
        work=work,
        backend=backend.name,
        rows=rows,
        length=length,
        hidden_dim=config.hidden_dim,
        num_heads=config.num_heads,
        intermediate_dim=config.intermediate_dim,
    )


def _trial(tried: Tried, config: BackboneConfig, backend: Backend, ways: Mapping[Way, Step]) -> Trial[Way] | None:
    if len(ways) == 1:
        return None
    device = backend.device() if backend.accelerated else processor()
    found = trials.kept(tried, device, tuple(ways))
    if found is None:
        found = Trial(device=device, seconds=_measured(tried, config, backend, ways))
        if backend.accelerated or not busy():
            with contextlib.suppress(OSError):  # in a cache that cannot be written it is not kept, and measured again
                trials.keep(tried, found)
    return found


def _measured(tried: Tried, config: BackboneConfig, backend: Backend, ways: Mapping[Way, Step]) -> dict[Way, float]:
    small = replace(config, num_layers=1, vocabulary_size=VOCABULARY)
    rows = tried.rows if backend.accelerated else min(tried.rows, _rows_within(small, tried))
    steps = {name: _step(small, backend, *way, tried, rows) for name, way in ways.items()}
    for step in steps.values():  # compiles, and brings memory up
        step()
        step()
    seconds = dict.fromkeys(steps, float("inf"))
    begun = time.perf_counter()
    for round_number in range(MOST_ROUNDS):
        if round_number and time.perf_counter() - begun > SECONDS:
            break
        for name, step in steps.items():  # in turns, so that a busy machine is as busy for all
            started = time.perf_counter()
            step()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds


def _rows_within(config: BackboneConfig, tried: Tried) -> int:
    weights = 4 * config.hidden_dim**2 + 2 * config.hidden_dim * config.intermediate_dim
    a_row = (6 if tried.work == "train" else 2) * weights * tried.length
    return max(1, int(MOST_FLOPS / a_row))


def _step(
    config: BackboneConfig, backend: Backend, precision: Precision, compiled: bool | None, tried: Tried, rows: int
) -> Callable[[], object]:
    """A function that does one step, to its end."""
    head = ClassifierHead(dropout=0.1)
    model = assemble_model(Blueprint(backbone=config, head=head, units=2), precision=precision, seed=0)
    random = np.random.Generator(np.random.PCG64(0))
    for variable in model.trainable_variables:  # zeros would be quicker to multiply on some devices
        variable.assign(random.normal(0.0, 0.02, variable.shape).astype(np.float32))
    full: dict[str, Any] = {
        "token_ids": random.integers(0, VOCABULARY, (rows, tried.length), dtype=np.int32),
        "padding_mask": np.ones((rows, tried.length), np.int32),
        "segment_ids": np.zeros((rows, tried.length), np.int32),
    }
    inputs = {name: full[name] for name in inference.input_names(model)}
    if tried.work == "predict":
        predict = backend.predictor(model, precision=precision)
        return lambda: inference.to_host(predict(inputs))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=1, rates=[1e-5])
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision=precision, compiled=compiled)
    labels, weights = np.zeros(rows, np.int32), np.ones(rows, np.float32)
    return lambda: inference.to_host(trainer.step(inputs, labels, weights)[0])
