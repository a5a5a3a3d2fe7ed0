"""Steps of a nano model on two devices of a CPU on TensorFlow; prints, as JSON, what became of the copies of variables.

apart: the largest difference between the two devices' copies. unmoved: paths of variables that no step changed. told:
whether what is read is the first copy, and what is assigned is in both. known: whether an optimizer that is built on
variables with copies goes on with them.
"""

from __future__ import annotations

import json
import os
from typing import Any

os.environ["ZOO_CPU_DEVICES"] = "2"

import numpy as np
import shared_runs

from zoo.backend.tensorflow_mirrors import places
from zoo.models.weights import SEED, to_numpy
from zoo.training.prepare import prepare


def copies(variable: Any) -> list[np.ndarray]:
    return [copy.numpy() for copy in variable.value.values]


def main() -> None:
    session = prepare(shared_runs.recipe(**{"training.devices": 2}))
    assert len(places()) == 2
    before = {variable.path: to_numpy(variable).copy() for variable in session.model.variables}
    steps = list(session.epoch_batches(0))
    optimizers = list[Any]()
    for _ in range(2):
        optimizers.append(session.optimizer(session.rates()))
        trainer = session.backend.trainer(
            session.trained, optimizers[-1], session.objective.loss, precision="float32", devices=2
        )
        for batch in steps:
            trainer.step(batch.inputs, batch.labels, batch.weights)
        trainer.commit()
    variables = [*session.model.variables, *optimizers[0].variables, *optimizers[1].variables]
    apart = max(float(np.abs(np.subtract(*map(np.float64, copies(variable)))).max()) for variable in variables)
    unmoved = [path for path, value in before.items() if np.array_equal(value, to_numpy(moved(session, path)))]
    first = next(variable for variable in session.model.variables if variable.name != SEED)
    told = np.array_equal(to_numpy(first), copies(first)[0])
    first.assign(np.full(first.shape, 3.0, np.float32))
    told &= all((copy == 3.0).all() for copy in copies(first))
    known = [int(to_numpy(optimizer.iterations)) for optimizer in optimizers] == [len(steps)] * 2
    print(json.dumps({"apart": apart, "unmoved": unmoved, "told": bool(told), "known": known}))


def moved(session: Any, path: str) -> Any:
    return next(variable for variable in session.model.variables if variable.path == path)


if __name__ == "__main__":
    main()
