"""Runs whose weights several CPU devices of jax share out, beside one device; prints, a JSON a line, what came of it.

`KERAS_BACKEND=jax python divided_runs.py FOLDER CASE ...`: cases are of CASES, `steps`, `held`, `resumed`, `exported`.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import jax
import numpy as np
import shared_runs
from nano import Interrupting

import zoo
import zoo.report.report
import zoo.training.session
from zoo.backend import activate
from zoo.backend.compiled_program import collectives
from zoo.finished import Run
from zoo.models.divided import dimension
from zoo.recipe import Recipe
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import estimate
from zoo.training.optimizer import build_optimizer
from zoo.training.prepare import prepare

# 51 rows in batches of 8: the last batch of an epoch has 3, which two groups of devices cannot share equally.
ROWS: dict[str, Any] = {"data.limit": {"train": 57, "test": 16}}
SMALL = {"num_layers": 2, "num_heads": 4, "hidden_dim": 64, "intermediate_dim": 256, "vocabulary": "nano_uncased"}
CASES: dict[str, dict[str, Any]] = {
    "bert": {},
    "distilbert": {"model.backbone": {"family": "distilbert", **SMALL}},
    "roberta": {"model.backbone": {"family": "roberta", **SMALL, "vocabulary": "nano_bpe"}},
    "in parts": {"training.accumulate": 2, "training.remat": True},
    "adversarial": {"training.adversarial": {"epsilon": 1.0}},
    "r_drop": {"training.r_drop": {}, "training.average": {"type": "ema", "decay": 0.9}},
    "mixup": {"training.mixup": {}, "training.optimizer": {"type": "adafactor"}},
    "lora": {"training.lora": {}},
    "lora, dropped": {"training.lora": {"dropout": 0.1}},
    "frozen": {"training.freeze": {"layers": 1, "embeddings": True}},
    "unfrozen": {"training.unfreeze": {"epochs": 1}, "training.optimizer": {"type": "muon"}},
    "biases": {"training.train": "biases", "training.optimizer": {"type": "lamb"}},
    "native": {"training.dropout_masks": "native"},
}


def recipe(devices: int, parts: int, **more: Any) -> Recipe:
    ways = {"training.devices": devices, "training.model_parallel": parts}
    own = {"training.optimizer.learning_rate": 1e-3, "model.backbone": {"family": "bert", **SMALL}}
    return shared_runs.recipe(**ROWS, **ways, **own | more)


def losses(run: Run) -> np.ndarray:
    return np.array([row["loss"] for row in run.history if row["kind"] == "step"])


def far(run: Run, other: Run) -> dict[str, float | int]:
    """Largest differences, that of losses relative, and over how many steps."""
    found, expected = losses(run), losses(other)
    values = (each.probabilities(shared_runs.TEXTS) for each in (run, other))
    return {
        "steps": len(found),
        "loss": float(np.abs(found / expected - 1.0).max()),
        "probability": float(np.abs(np.subtract(*values)).max()),
        "learned": float(np.ptp(expected)),
    }


def compared(case: str, folder: Path) -> None:
    """A run on one device and on two pairs that share a model each; the first case also on one pair."""
    one = zoo.train(recipe(1, 1, **CASES[case]), folder / case / "1", progress=False)
    for devices in (2, 4) if case == "bert" else (4,):
        run = zoo.train(recipe(devices, 2, **CASES[case]), folder / case / f"{devices}", progress=False)
        print(json.dumps({"case": f"{case}, {devices} devices", **far(run, one)}))


def resumed(folder: Path) -> None:
    """Stopped within an epoch, and gone on with on other devices."""
    saved = {"training.checkpoint": {"minutes": None, "steps": 4}}
    one = zoo.train(recipe(1, 1), folder / "whole", progress=False)
    for first, second in (((4, 2), (1, 1)), ((1, 1), (2, 2)), ((2, 1), (4, 4))):
        out = folder / f"{first}-{second}"
        try:
            zoo.train(recipe(*first, **saved), out, progress=Interrupting(2))
        except KeyboardInterrupt:
            gone_on = zoo.train(recipe(*second, **saved), out, resume=True, progress=False)
            print(json.dumps({"case": f"{first} then {second}", **far(gone_on, one)}))
    other = zoo.train(recipe(2, 2, seed=1), folder / "other", progress=False)
    print(json.dumps({"case": "another seed", **far(other, one)}))


def bytes_by_device(arrays: Iterable[Any]) -> list[int]:
    found = [0] * jax.device_count()
    for array in arrays:
        for shard in array.addressable_shards:
            found[shard.device.id] += shard.data.nbytes
    return found


def held(*counts: tuple[int, int]) -> None:
    """Three steps on so many devices, so many of them to a model: losses, what the devices send each other in a step,
    and bytes on each: of weights that are cut, of their moments, of all state, and of the whole process."""
    backend = activate()
    for devices, parts in counts:
        of = recipe(devices, parts)
        session = prepare(of, backend=backend)
        optimizer = build_optimizer(
            of.training.optimizer, session.trained.trainable_variables, num_layers=2, rates=session.rates()
        )
        trainer = backend.trainer(
            session.trained, optimizer, session.objective.loss, precision="float32", devices=devices
        )
        losses = list[float]()
        for batch in itertools.islice(session.epoch_batches(0), 3):
            losses.append(float(trainer.step(batch.inputs, batch.labels, batch.weights)[0]))
        gc.collect()
        live = bytes_by_device(jax.live_arrays())
        trainer.commit()
        cut = {v.path: v for v in session.model.variables if dimension(v.path) is not None}
        ends = tuple(f"{path.replace('/', '_')}_{name}_moment" for path in cut for name in ("first", "second"))
        moments = [v.value for v in optimizer.variables if v.path.endswith(ends)]
        assert len(moments) == 2 * len(cut)
        state = [v.value for v in (*session.model.variables, *optimizer.variables)]
        told = {
            "losses": losses,
            "sent": sent(trainer, batch),
            "weights": bytes_by_device(v.value for v in cut.values()),
            "moments": bytes_by_device(moments),
            "state": bytes_by_device(state),
            "live": live,
            "estimated": estimate(of, Dimensions.of(session.blueprint.backbone), 51).state_bytes,
            "gradients": 4 * sum(int(np.prod(v.shape)) for v in session.trained.trainable_variables),
        }
        print(json.dumps({"case": f"held by {devices}, {parts} to a model", "devices": devices, **told}))
        del session, optimizer, trainer, state, moments, cut, batch


def sent(trainer: Any, batch: Any) -> dict[str, tuple[int, int]]:
    """Of each kind of collective how many a step has, and the bytes of their results on a device."""
    with trainer._mesh.used():
        state = tuple([v.value for v in group] for group in trainer._groups)
        arrays = trainer._mesh.shared((dict(batch.inputs), batch.labels, batch.weights))
        text = trainer._step.lower(trainer._mesh.everywhere(state), *arrays).compile().as_text()
    return {kind: (each.count, each.bytes) for kind, each in collectives(text).items()}


def exported(folder: Path) -> None:
    """A run in bfloat16 with adapters, whose model is made anew at its end, and packed rows; reported and exported."""
    of = recipe(2, 2, **{"training.precision": "bfloat16", "training.lora": {}, "training.packing": True})
    run = zoo.train(of, folder / "run", progress=False)
    done = run.export("onnx")
    told = run.folder.run
    print(
        json.dumps(
            {
                "case": "exported",
                "agreement": done.agreement,
                "report": (run.path / "report.html").is_file(),
                **{key: told[key] for key in ("status", "devices", "model_parallel")},
                "log": "2 devices, 2 to a model, each cpu" in (run.path / "log.txt").read_text(),
            }
        )
    )


def main() -> None:
    folder = Path(sys.argv[1])
    zoo.report.report.draw_each = lambda *_: ({}, [])  # type: ignore[attr-defined]
    zoo.training.session.SHAPES = 1
    for case in sys.argv[2:]:
        if case in CASES:
            compared(case, folder)
        else:
            {
                "steps": lambda: held((1, 1), (4, 2)),
                "held": lambda: held((1, 1), (2, 2), (4, 4)),
                "resumed": lambda: resumed(folder),
                "exported": lambda: exported(folder),
            }[case]()


if __name__ == "__main__":
    main()
