"""What a checkpoint every minute costs a run, in pairs: minutes with one and minutes without take turns in one process.

    python tools/save_cost.py --minutes 10                                  # imdb_bert --profile cpu, on torch
    python tools/save_cost.py --recipe quickstart --profile smoke --minutes 1 --block 5

A step is held against the median of those of its shape in the minutes without a checkpoint, so that the lengths of
texts do not count: the cost of a minute is what its steps took longer, of which the copy of all weights to the host is
a part, and the writing beside the steps that follow. It prints a line of JSON for each pair, and one of them all: the
mean of the pairs, and the 95% interval of that mean by Student's t.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import recipes
import zoo
from zoo.data.batches import Batch
from zoo.runs.screen import Screen
from zoo.score.seeds import seed_interval
from zoo.training.saving import Saving
from zoo.training.session import Session

Step = tuple[int, tuple[int, int], float]
"""The block that a step is of, its shape, and its seconds."""


class Timing(Screen):
    """Notes the seconds of each step, and ends the run when there are enough."""

    def __init__(self, block: float, seconds: float) -> None:
        super().__init__(quiet=True)
        self.shapes, self.steps = list[tuple[int, int]](), list[Step]()
        self._block, self._seconds = block, seconds
        self._begun = self._last = 0.0

    @property
    def block(self) -> int:
        """The number of the block that goes on, from 0."""
        return int((time.monotonic() - self._begun) / self._block)

    def on_begin(self, step: int, steps: int) -> None:
        self._begun = time.monotonic()
        super().on_begin(step, steps)

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        now = time.monotonic()
        if not first and self._last:
            self.steps.append((self.block, self.shapes[step - 1], now - self._last))
        self._last = now
        if now - self._begun > self._seconds:
            raise KeyboardInterrupt
        super().on_step(step, epoch, tokens, loss, first)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="imdb_bert")
    parser.add_argument("--profile", default="cpu")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training")
    parser.add_argument(
        "--block", type=float, default=60.0, help="seconds with a checkpoint at their beginning, or none"
    )
    given = parser.parse_args(argv)
    os.environ.setdefault("KERAS_BACKEND", "torch")
    timing = Timing(given.block, 60.0 * given.minutes)
    saved, epoch_batches = set[int](), Session.epoch_batches

    def due(self: Saving, step: int) -> bool:
        """At the beginning of every second block."""
        if timing.block % 2 == 0 or timing.block in saved or self.writing:
            return False
        saved.add(timing.block)
        return True

    def noted(self: Session, *given: Any) -> Iterator[Batch]:
        timing._last = 0.0  # an evaluation came between
        for batch in epoch_batches(self, *given):
            timing.shapes.append(batch.shape)
            yield batch

    Saving.due, Session.epoch_batches = due, noted  # type: ignore[method-assign]
    recipe = recipes.load(given.recipe, profile=given.profile, overrides={"training.epochs": 10_000})
    # `Timing` ends the run by an interrupt.
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
        zoo.train(recipe, out=Path(folder) / "run", progress=timing)
    pairs = list(costs(timing.steps))
    for pair in pairs:
        print(json.dumps(pair))
    differences = [pair["with"] - pair["without"] for pair in pairs]
    low, high = seed_interval(differences, share=False)
    print(json.dumps({"pairs": len(pairs), "cost": fmean(differences), "low": low, "high": high}))
    return 0


def costs(steps: Sequence[Step]) -> Iterator[dict[str, float]]:
    """By how much of their time the steps of each pair of blocks took longer than is usual for their shapes."""
    usual, blocks = defaultdict[tuple[int, int], list[float]](list), defaultdict[int, list[Step]](list)
    for step in steps:
        blocks[step[0]].append(step)
        if step[0] % 2 == 0:
            usual[step[1]].append(step[2])
    expected = {shape: median(seconds) for shape, seconds in usual.items()}

    def longer(block: int) -> float:
        known = [(seconds, expected[shape]) for _, shape, seconds in blocks[block] if shape in expected]
        return sum(seconds for seconds, _ in known) / sum(usual for _, usual in known) - 1.0

    for block in sorted(blocks)[1::2]:
        yield {"without": longer(block - 1), "with": longer(block)}


if __name__ == "__main__":
    sys.exit(main())
