"""What a device computes, beside a CPU, plain products and itself: the checks of on_device.py.

In comes the active backend; out comes an `Answer`: what it `said`, whether it is `right`, and figures; or `left_out`,
why it does not apply here. What raises is a failure.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np

import recipes
from benchmarks import kernels_on_device
from benchmarks.protocol import Answer
from tools import golden_losses
from zoo.backend import Backend, Precision, versions
from zoo.models.inference import to_host
from zoo.training.prepare import prepare

LIMITS: Mapping[Precision, float] = {"float32": golden_losses.LIMIT, "tf32": 1e-3, "bfloat16": 5e-3}
"""How far a loss may be from that of a CPU in float32. An H100 was 3.3e-6 and 2.5e-4 off in float32 and bfloat16."""
FEW = ("classification-bert", "classification-roberta-pairs-binary")
"""Cases of precisions other than float32."""
WITHOUT = 2e-2
"""How far a loss with kernels may be from one without: both round to bfloat16, at other places, in each of 20 steps."""
WIDE: dict[str, Any] = {
    "training.precision": "bfloat16",
    "model.backbone.num_layers": 2,
    "model.backbone.hidden_dim": 256,
    "model.backbone.intermediate_dim": 512,
    "model.backbone.num_heads": 4,
    "training.optimizer.learning_rate": 1e-4,
}
"""A model that is wide enough for every kernel."""
PARTS: dict[str, dict[str, Any]] = {
    "accumulate": {"training.accumulate": 2, "model.backbone.dropout": 0.0, "model.head.dropout": 0.0},
    "remat": {"training.remat": True},
}
"""What leaves a step what it is; in parts masks of dropout are others."""


def facts(backend: Backend, _: Precision) -> Answer:
    return {
        "said": backend.device(),
        "right": True,
        "precisions": list(backend.precisions()),
        "steps": backend.steps(backend.compiles()[0]),
        "versions": versions("keras", "keras-hub", backend.name),
    }


def losses(backend: Backend, precision: Precision) -> Answer:
    """20 steps of each family's model at its smallest, beside what a CPU computed in float32 (tests/golden)."""
    if precision not in backend.precisions():
        return {"left_out": f"{backend.device()} does not multiply so"}
    kept = golden_losses.kept(backend.name)
    cases = list(kept) if precision == "float32" else FEW
    found = {}
    for case in cases:
        name, changes = golden_losses.CASES[case]
        given = {**changes, **usual(backend), "training.precision": precision}
        here = list(golden_losses.losses(name, given))
        found[case] = _largest(here, kept[case])
    return judged(found, LIMITS[precision], f"losses of {len(cases)} cases from a CPU's in float32")


def with_and_without(backend: Backend, _: Precision) -> Answer:
    """20 steps in bfloat16 with the backend's kernels for a device, and with plain products."""
    found = []
    for chosen in kernels_on_device.both(backend):
        with (
            mock.patch("zoo.models.layers.kernels", lambda chosen=chosen: chosen),
            mock.patch("zoo.models.dropout.kernels", lambda chosen=chosen: chosen),
        ):
            found.append(trained({**WIDE, **usual(backend), **kernels_on_device.interpreted(backend)}))
    return judged({"losses": _largest(*found)}, WITHOUT, "losses of 20 steps with kernels from those without")


def parts(backend: Backend, _: Precision) -> Answer:
    """Steps in parts, of layers that are computed again, and compiled ones, beside usual ones, in float32."""
    found = {}
    for name, changes in PARTS.items():
        whole = {key: value for key, value in changes.items() if not key.startswith("training.")}
        one, other = (trained({**usual(backend), **given}) for given in (changes, whole))
        found[name] = _largest(one, other)
    if len(backend.compiles()) > 1:
        found["compile"] = _largest(*(trained({"training.compile": word}) for word in ("on", "off")))
    return judged(found, golden_losses.LIMIT, "losses of 20 steps in float32 from those of usual steps")


def usual(backend: Backend) -> dict[str, str]:
    """The backend's usual way to compute a step, said, so that none is tried."""
    return {"training.compile": "on" if backend.compiles()[0] else "off"}


def trained(changes: Mapping[str, Any]) -> list[float]:
    """The losses of 20 steps of the smallest recipe, changed so."""
    smallest = golden_losses.EVERYWHERE | golden_losses.BERT
    recipe = recipes.load("quickstart", profile="smoke", overrides=smallest | dict(changes))
    session = prepare(recipe)
    trainer = session.trainer()
    batches = itertools.chain.from_iterable(map(session.epoch_batches, itertools.count()))
    steps = itertools.islice(batches, golden_losses.STEPS)
    return [float(to_host(trainer.step(batch.inputs, batch.labels, batch.weights)[0])) for batch in steps]


def judged(found: Mapping[str, float], limit: float, what: str) -> Answer:
    """Figures against the most that they may be; what is not a number is too much."""
    worst = max(found, key=lambda name: np.inf if np.isnan(found[name]) else found[name])
    return {
        "said": f"{what}: at most {found[worst]:.1e} off ({worst}), allowed {limit:g}",
        "right": all(value <= limit for value in found.values()),
        "figures": dict(found),
        "limit": limit,
    }


def _largest(one: Sequence[float], other: Sequence[float]) -> float:
    return float(np.abs(np.subtract(one, other)).max())


CHECKS: Mapping[str, Callable[[Backend, Precision], Answer]] = {
    "facts": facts,
    "losses": losses,
    "kernels": lambda backend, _: _kernels(backend),
    "with_and_without": with_and_without,
    "no_read_back": lambda backend, _: kernels_on_device.no_read_back(backend),
    "parts": parts,
    "sharded": lambda backend, _: _sharded(backend),
}


def _kernels(backend: Backend) -> Answer:
    found, limit = kernels_on_device.errors(backend)
    return judged(found, limit, "norm of the difference from float64 over the norm")


def _sharded(backend: Backend) -> Answer:
    found = kernels_on_device.sharded(backend)
    if found is None:
        return {"left_out": "there is one device"}
    return judged(found, kernels_on_device.LIMIT, "attention of all devices together, from that of one")
