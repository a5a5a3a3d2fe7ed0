"""Runs on several devices of a CPU beside one; prints, a JSON a line, how far their losses are from each other.

`KERAS_BACKEND=jax python shared_batches.py FOLDER 2 4`, or tensorflow: a run on one device, on two and on four. With
`--more` also in parts; one on two that is stopped within an epoch and goes on on one, and the other way round; and with
another seed.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "ZOO_CPU_DEVICES": "8"}

import numpy as np
import shared_runs
from nano import Interrupting

import zoo
import zoo.report.report
from zoo.finished import Run
from zoo.recipe import Recipe

SAVED = {"training.checkpoint": {"minutes": None, "steps": 4}}


def recipe(devices: int, **more: Any) -> Recipe:
    return shared_runs.recipe(**SAVED, **{"training.devices": devices}, **more)


def losses(run: Run) -> np.ndarray:
    return np.array([row["loss"] for row in run.history if row["kind"] == "step"])


def far(run: Run, other: Run) -> dict[str, float | int]:
    """Largest differences, and over how many steps."""
    return {
        "steps": len(losses(run)),
        "loss": float(np.abs(losses(run) - losses(other)).max()),
        "probability": float(
            np.abs(run.probabilities(shared_runs.TEXTS) - other.probabilities(shared_runs.TEXTS)).max()
        ),
    }


def main() -> None:
    folder, more = Path(sys.argv[1]), sys.argv[-1] == "--more"
    counts = [int(word) for word in sys.argv[2 : -1 if more else None]]
    zoo.report.report.draw_each = lambda *_: ({}, [])  # type: ignore[attr-defined]
    one = zoo.train(recipe(1), folder / "1", progress=False)
    for count in counts:
        print(json.dumps({"devices": count, **far(zoo.train(recipe(count), folder / f"{count}", progress=False), one)}))
    if not more:
        return
    whole, shared = (
        zoo.train(recipe(count, **{"training.accumulate": 2}), folder / f"{count} in parts", progress=False)
        for count in (1, 2)
    )
    print(json.dumps({"devices": "2, in parts", **far(shared, whole)}))
    for first, second in ((2, 1), (1, 2)):
        out = folder / f"{first}-{second}"
        try:
            zoo.train(recipe(first), out, progress=Interrupting(2))
        except KeyboardInterrupt:
            gone_on = zoo.train(recipe(second), out, resume=True, progress=False)
            print(json.dumps({"devices": f"{first} then {second}", **far(gone_on, one)}))
    other = zoo.train(recipe(2, seed=1), folder / "other", progress=False)
    print(json.dumps({"devices": "2, another seed", **far(other, one)}))


if __name__ == "__main__":
    main()
