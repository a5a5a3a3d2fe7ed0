"""One recipe, one backend, this process.

    KERAS_BACKEND=torch python benchmarks/measure.py quickstart --profile cpu                # a whole run
    KERAS_BACKEND=torch python benchmarks/measure.py quickstart --profile cpu --speed-only   # blocks of steps
    ... --speed-only --serve                                                                 # a block on demand

In comes a recipe; out comes a line of JSON on stdout, with --serve one for each line on stdin (protocol.py). What it
refuses, and the exit codes, are those of zoo.run.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import zoo
from benchmarks import protocol
from benchmarks.protocol import Answer
from zoo.backend import own_process
from zoo.data.backbones import bring
from zoo.data.batches import Batch
from zoo.data.dataset import load_dataset
from zoo.models import inference
from zoo.models.inference import to_host
from zoo.recipe import Recipe
from zoo.runs import account
from zoo.runs.opening import open_whole
from zoo.runs.run import BATCH
from zoo.training.prepare import activated, prepare


class ZooSubject:
    """A recipe's session, warmed up over all its shapes."""

    def __init__(self, recipe: Recipe) -> None:
        watch = account.Stopwatch()
        bring(recipe)
        with watch.measure("data"):
            dataset = load_dataset(recipe)
        with watch.measure("import"):
            backend = activated(recipe)
        self._session = prepare(recipe, dataset, backend=backend, stage=watch.measure)
        self._predictor = backend.predictor(self._session.model, precision=self._session.precision)
        self._texts = dataset.test.texts[: protocol.PREDICT_ROWS]
        self._pairs = None if dataset.test.pairs is None else dataset.test.pairs[: protocol.PREDICT_ROWS]
        labels = self._labels()  # under the weights that the peer begins with, too
        session = self._session
        self._trainer = session.trainer()
        self._blocks = 0
        begun = time.perf_counter()
        self._pool = list(islice(self._session.epoch_batches(0), protocol.POOL))
        self._making_seconds = (time.perf_counter() - begun) / len(self._pool)
        first, step_seconds = protocol.warm_up(self._pool, lambda batch: "{}x{}".format(*batch.shape), self._timed)
        self._trainer.commit()
        cells = sum(math.prod(batch.shape) for batch in self._pool)
        self._scale = protocol.scale_of(accelerated=backend.accelerated)
        self._steps = protocol.steps_of_block(step_seconds, self._scale)
        self.ready: Answer = {
            "seconds": watch.seconds,
            "compile_seconds": first,
            "shapes": len(first),
            "padding_fraction": 1.0 - sum(batch.tokens for batch in self._pool) / cells,
            "steps_per_block": self._steps,
            "precision": self._session.precision,
            **({"way": backend.steps(session.compiled)} if backend.accelerated else {}),
            "labels": labels,
            **account.environment(backend, self._session.precision, recipe.seed, "", dataset),
        }
        self.actions: Mapping[str, Callable[[], Answer]] = {
            "train": self._train,
            "predict": self._predict,
            "ceiling": self._ceiling,
            "memory": lambda: account.memory(backend),
        }
        del self.ready["fingerprint"]  # of a run, which this is not

    def _train(self) -> Answer:
        sizes = [batch.tokens for batch in self._pool]
        places = protocol.block_of(sizes, self._steps, self._blocks, repeated=self._scale.repeated)
        block = [self._pool[place] for place in places]
        self._blocks += 1
        lengths = self._session.tables["train"].lengths[np.concatenate([batch.rows for batch in block])]
        begun = time.perf_counter()
        for batch in block:
            value, _ = self._trainer.step(batch.inputs, batch.labels, batch.weights)
        to_host(value)
        # The batches were made before; the training loop makes each between two steps.
        seconds = time.perf_counter() - begun + len(block) * self._making_seconds
        self._trainer.commit()  # prediction reads the variables
        return protocol.trained(seconds, len(block), lengths, self._session.blueprint.backbone)

    def _predict(self) -> Answer:
        begun = time.perf_counter()
        self._labels()
        return {"seconds": time.perf_counter() - begun, "examples": len(self._texts)}

    def _ceiling(self) -> Answer:
        from keras import ops

        precision = self._session.precision
        dtype = "bfloat16" if precision == "bfloat16" else "float32"
        rows = self._session.recipe.training.batch_size * self._session.lengths[-1]
        with self._session.backend.multiplying(precision):
            return protocol.best_product(
                protocol.product_shapes(self._session.blueprint.backbone, rows, self._scale),
                draw=lambda matrix: ops.convert_to_tensor(matrix, dtype=dtype),
                multiply=ops.matmul,
                wait=lambda product: to_host(product[:1, :1]),
                timed_seconds=self._scale.timed_seconds,
            )

    def _labels(self) -> list[int]:
        """Class numbers of the texts, the way from text to class that a finished run takes."""
        table = self._session.tokenizer.encode(self._texts, self._pairs, self._session.recipe.tokens)
        logits = inference.logits(
            self._predictor, table, names=self._session.names, batch_size=min(BATCH, len(self._texts))
        )
        task = self._session.task
        found: list[int] = task.decided(task.values(logits)).tolist()
        return found

    def _timed(self, batch: Batch) -> float:
        begun = time.perf_counter()
        value, _ = self._trainer.step(batch.inputs, batch.labels, batch.weights)
        to_host(value)
        return time.perf_counter() - begun


def whole_run(recipe: Recipe, out: str | None) -> Answer:
    """Train the recipe; its figures as run.json has them, and the seconds to the accuracy that it expects.

    Args:
        recipe: what to train.
        out: the run's folder; None leaves none.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(out or Path(scratch) / "run")
        run, whole = zoo.train(recipe, folder, progress=False), open_whole(folder)
        told = run.folder.run | whole.run  # of one in parts the figures of all, on what the first of them ran
        epochs = [row for row in run.history if row["kind"] == "epoch"]
        rows = whole.predictions  # draws have means, and no rows of their own
        counts = protocol.tallied(told["metrics"]["test"], rows, run.task.names) if rows else None
    kept = ("backend", "device", "precision", "seed", "fingerprint", "versions", "padding_fraction", "memory")
    return {
        **{key: told[key] for key in ("version", "timing", *kept)},
        "test": told["metrics"]["test"],
        "tally": counts,
        "time_to_target_seconds": protocol.seconds_to_target(recipe, epochs),
    }


def main(argv: Sequence[str] | None = None) -> int:
    options = protocol.arguments("Measure a recipe on the backend of KERAS_BACKEND.").parse_args(argv)
    own_process()
    return protocol.run(options, whole=lambda recipe: whole_run(recipe, options.out), subject=ZooSubject)


if __name__ == "__main__":
    raise SystemExit(main())
