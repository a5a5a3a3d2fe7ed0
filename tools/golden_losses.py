"""The losses of the first steps, kept in the repository: a change of the code that is none of the model leaves them as
they are.

    python tools/golden_losses.py           # compare on three backends; exit 1 where a loss is another
    python tools/golden_losses.py --write   # write tests/golden/*.txt anew

A case is a recipe at its smallest, dropout on. On the machine that wrote a file the losses are the same to the last
bit; elsewhere, where sums are made in another order, to LIMIT. The tests hold each backend against its file.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import recipes  # noqa: E402
from zoo.backend import own_process, versions  # noqa: E402
from zoo.data.this_machine import processor  # noqa: E402
from zoo.models.inference import to_host  # noqa: E402
from zoo.training.prepare import prepare  # noqa: E402

BACKENDS = ("jax", "tensorflow", "torch")
FOLDER = ROOT / "tests" / "golden"
STEPS = 20
LIMIT = 1e-5
"""Largest difference of a loss on another machine than the one that wrote the file."""
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}
"""One thread sums in one order."""
EVERYWHERE: dict[str, Any] = {
    "training.epochs": None,
    "training.steps": STEPS,
    "training.precision": "float32",
    "model.backbone.num_layers": 1,
    "data.limit": {"train": 64},
    "tokens.max_length": 12,  # batches of two lengths: most of what is done here is to compile
}
BERT: dict[str, Any] = {
    "data.dataset": "smoke_reviews",
    "model.backbone.hidden_dim": 32,
    "model.backbone.intermediate_dim": 64,
    "model.backbone.vocabulary": "nano_uncased",
    "training.batch_size": 8,
}
"""What the quickstart's profile was when its losses were first written down."""
LENGTHS = (8, 12)
"""What batches are padded to, beside the longest that a recipe has: a session would take one length for so few steps,
and sums are made in another order."""
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "classification-bert": ("quickstart", BERT),
    "classification-bert-packed": ("quickstart", BERT | {"training.packing": True}),
    "classification-distilbert": ("imdb_distilbert", {}),
    "multilabel-bert": ("goemotions_bert", {}),
    "regression-bert": ("amazon_stars_bert", {}),
    "classification-roberta-pairs-binary": ("sst2_roberta", {"model.head": {"type": "binary", "dropout": 0.1}}),
    "tokens-bert": ("ner_bert", {}),
    "span-bert-windows": ("squad_bert", {"tokens.max_length": 32}),
    "masked-bert": ("imdb_masked", {"model.backbone.hidden_dim": 32, "model.backbone.intermediate_dim": 64}),
}
"""Name -> shipped recipe, of which the profile smoke is taken, and what is changed in it."""


def measured(cases: Collection[str] = tuple(CASES)) -> dict[str, list[float]]:
    """Losses by case, on the active backend."""
    return {case: list(losses(*CASES[case])) for case in cases}


def losses(name: str, changes: Mapping[str, Any]) -> Iterator[float]:
    """The loss of each step of a recipe's run."""
    session = prepare(recipes.load(name, profile="smoke", overrides=EVERYWHERE | dict(changes)))
    longest = session.recipe.tokens.max_length
    session.lengths = (*(length for length in LENGTHS if length < longest), longest)
    optimizer = session.optimizer(session.rates())
    trainer = session.backend.trainer(session.trained, optimizer, session.task.loss, precision=session.precision)
    batches = itertools.chain.from_iterable(map(session.epoch_batches, itertools.count()))
    for batch in itertools.islice(batches, STEPS):
        loss, _ = trainer.step(batch.inputs, batch.labels, batch.weights)
        yield float(to_host(loss))


def path_of(backend: str) -> Path:
    return FOLDER / f"losses-{backend}.txt"


def origin(backend: str) -> str:
    """What has to be equal for losses to be equal to the last bit."""
    named = ", ".join(f"{name} {number}" for name, number in versions("keras", "numpy", backend).items())
    return f"{processor()}; {named}"


def write(backend: str, found: Mapping[str, Sequence[float]]) -> None:
    """Write the file of a backend: a line a step, `case step loss`."""
    lines = [f"# {origin(backend)}", "# written by tools/golden_losses.py --write"]
    lines += [f"{case} {step} {loss!r}" for case, row in found.items() for step, loss in enumerate(row, 1)]
    path_of(backend).write_text("\n".join([*lines, ""]), encoding="utf-8")


def kept(backend: str) -> dict[str, list[float]]:
    """Losses by case, as the file of a backend has them."""
    found: dict[str, list[float]] = {}
    for line in path_of(backend).read_text(encoding="utf-8").splitlines()[2:]:
        case, _, loss = line.split(" ")
        found.setdefault(case, []).append(float(loss))
    return found


def differences(backend: str, found: Mapping[str, Sequence[float]], cases: Collection[str] = tuple(CASES)) -> list[str]:
    """A line for each of the cases whose losses are not those of the file."""
    first = path_of(backend).read_text(encoding="utf-8").splitlines()[0]
    limit = 0.0 if first == f"# {origin(backend)}" else LIMIT
    golden = {case: row for case, row in kept(backend).items() if case in cases}
    told = [f"{case}: is not in both" for case in golden.keys() ^ found.keys()]
    for case in golden.keys() & found.keys():
        off = np.abs(np.subtract(golden[case], found[case]))
        if not off.max() <= limit:
            told.append(f"{case}: step {int(np.argmax(off > limit)) + 1} is {off.max():.1e} off, at most {limit:g}")
    return told


def main(argv: Sequence[str] | None = None) -> int:
    """Start a process a backend, or be one; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the files anew")
    parser.add_argument("--backend", choices=BACKENDS, help="only this one, in this process")
    given = parser.parse_args(argv)
    if given.backend is None:
        words = [sys.executable, __file__, *["--write"] * given.write, "--backend"]
        codes = [
            subprocess.run(
                [*words, name], env=os.environ | ENVIRONMENT | {"KERAS_BACKEND": name}, check=False
            ).returncode
            for name in BACKENDS
        ]
        return max(codes)
    own_process()
    found = measured()
    if given.write:
        write(given.backend, found)
        return 0
    told = differences(given.backend, found)
    print("\n".join(told) if told else f"{given.backend}: {len(found)} cases as they were")
    return 1 if told else 0


if __name__ == "__main__":
    raise SystemExit(main())
