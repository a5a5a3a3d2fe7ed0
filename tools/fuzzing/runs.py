"""The run whose folder and server are thrown at: nano, finished, and the same one stopped in its last epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zoo
from zoo.recipe import recipe_from
from zoo.report import report
from zoo.runs.screen import Screen

RECIPE: Mapping[str, Any] = {
    "name": "fuzzed",
    "data": {"dataset": "smoke_reviews", "limit": {"train": 32, "validation": 8, "test": 8}},
    "tokens": {"max_length": 16},
    "model": {
        "backbone": {
            "family": "bert",
            "num_layers": 1,
            "num_heads": 2,
            "hidden_dim": 8,
            "intermediate_dim": 16,
            "vocabulary": "nano_uncased",
        }
    },
    "training": {"epochs": 2, "batch_size": 8, "precision": "float32", "compile": "auto"},
}


@dataclass(frozen=True)
class Runs:
    """Their folders: `done`, and `half`."""

    done: Path
    half: Path


class _Stopping(Screen):
    """Presses Ctrl-C in the second epoch."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


def make_runs(folder: Path) -> Runs:
    """Train both, on the backend of this process; from now on it paints no pictures: they take longer than the rest."""

    def unpainted(*_: object, **__: object) -> tuple[dict[str, Any], Sequence[str]]:
        return {}, []

    report.draw_each = unpainted  # type: ignore[assignment]
    runs = Runs(folder / "done", folder / "half")
    recipe = recipe_from(RECIPE)
    zoo.train(recipe, runs.done, progress=False)
    try:
        zoo.train(recipe, runs.half, progress=_Stopping())
    except KeyboardInterrupt:
        return runs
    raise AssertionError("it was not stopped")
