"""Whole runs on the backend of this process, for parity.py to compare.

    KERAS_BACKEND=jax python -m tools.comparisons.runs begin FOLDER REFERENCES [--small] [--perturb]
    KERAS_BACKEND=torch python -m tools.comparisons.runs resume FOLDER jax [--small] [--perturb]

`begin` prints what measured.py finds, a list of one JSON object, with `--perturb` of two: the second with a weight
moved. Then it trains FOLDER/<backend>/whole with dropout on and portable masks, copies it as it stands after the first
epoch to FOLDER/<backend>/half, and trains FOLDER/<backend>/short for a few steps with native masks. In
FOLDER/<backend>/tasks are runs of shipped recipes, one of each task that rows.py names.
`resume` goes on with the half run of another backend in FOLDER/<backend>/resumed, and trains FOLDER/<backend>/again as
`short` was trained.
With `--perturb` there are also whole-moved and tasks-moved (of one backend, see rows.py), resumed-moved and
again-moved: one weight is moved by 1e-2, of the head before a run, in the checkpoint before it is resumed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from safetensors.numpy import load_file, save_file

import recipes
import zoo
from tools.comparisons.measured import MOVED, measure, move_one_weight, weight_of
from tools.comparisons.rows import MOVED_WHOLE, RUNS, SMALL_RUNS
from zoo.backend import activate
from zoo.data.locking import MARKS
from zoo.data.manifest import write_manifest
from zoo.data.writing import PARTIAL
from zoo.models.blueprint import Blueprint
from zoo.models.builder import build_model
from zoo.recipe import Recipe
from zoo.runs.run_folder import CHECKPOINTS
from zoo.runs.screen import Screen
from zoo.training import prepare, session

SHORT_STEPS = 10
SHARED: dict[str, Any] = {
    "training.dropout_masks": "portable",
    "training.precision": "float32",
    "training.log_every": 1,
}
CHANGES: dict[str, dict[str, Any]] = {
    "squad_bert": {"training.epochs": 3, "training.optimizer.learning_rate": 1e-3},
    "imdb_masked": {"training.epochs": 4},
    "imdb_adapted": {"training.epochs": 3},
}
"""What is changed in the profile `smoke` of a recipe, of which a run makes much of a small difference: at its own rate
and length squad_bert moves a loss by 1.1e-3 where one weight is moved by 1e-6 on torch alone, imdb_masked by 3.9e-3.
In imdb_adapted the perplexities of backends were 7.6e-4 apart."""
SMALL: dict[str, Any] = {"training.epochs": 2, "data.limit": {"train": 64, "test": 32}}
"""What is in the smaller form."""


def recipe_of(*, small: bool) -> Recipe:
    """100 steps of the real MiniLM on real sentences, in two epochs of about 50; `small`: 69 of a nano BERT, in 3."""
    shared = SHARED | {"training.keep": "last"}
    if small:
        changes = {"training.epochs": 3, "training.optimizer.clip_norm": None}
        return recipes.load("quickstart", profile="smoke", overrides=shared | changes)
    changes = {
        "data.limit": {"train": 880, "test": 1000},
        "tokens.max_length": 48,
        "training.batch_size": 16,
        "training.epochs": None,
        "training.steps": 100,
    }
    return recipes.load("quickstart", overrides=shared | changes)


class Copying(Screen):
    """Copies the run's folder as it stands when the second epoch has begun."""

    def __init__(self, run: Path, copy: Path) -> None:
        super().__init__(quiet=True)
        self._run, self._copy = run, copy

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        if epoch == 2 and not self._copy.exists():
            while any((self._run / CHECKPOINTS).glob(f".*{PARTIAL}")):  # written beside the steps
                time.sleep(0.01)
            shutil.copytree(self._run, self._copy, ignore=shutil.ignore_patterns(*MARKS))


@contextmanager
def weight_moved() -> Iterator[None]:
    """Models that are built meanwhile have one weight of their head moved."""

    def built(blueprint: Blueprint, **named: Any) -> Any:
        model = build_model(blueprint, **named)
        move_one_weight(model, weight_of(blueprint.head))
        return model

    with mock.patch.object(prepare, "build_model", built):
        yield


def begin(folder: Path, *, small: bool, perturb: bool) -> None:
    """The run that the others are held against, its copy at half time, and a short one."""
    recipe = recipe_of(small=small)
    zoo.train(recipe, out=folder / "whole", progress=Copying(folder / "whole", folder / "half"))
    if perturb and folder.name == MOVED_WHOLE:
        with weight_moved():
            zoo.train(recipe, out=folder / "whole-moved", progress=False)
    zoo.train(short(recipe), out=folder / "short", progress=False)
    learn(folder / "tasks", small=small)
    if perturb and folder.name == MOVED_WHOLE:
        with weight_moved():
            learn(folder / "tasks-moved", small=small)


def learn(folder: Path, *, small: bool) -> None:
    """A run of each task, in the folder of its recipe's name."""
    for name in RUNS:
        if not small or name in SMALL_RUNS:
            changes = SHARED | (SMALL if small else CHANGES.get(name, {}))
            zoo.train(recipes.load(name, profile="smoke", overrides=changes), out=folder / name, progress=False)


def resume(folder: Path, begun: Path, *, small: bool, perturb: bool) -> None:
    """Go on with another backend's half run, and train the short one again."""
    recipe = recipe_of(small=small)
    shutil.copytree(begun / "half", folder / "resumed")
    zoo.train(recipe, out=folder / "resumed", resume=True, progress=False)
    zoo.train(short(recipe), out=folder / "again", progress=False)
    if perturb:
        target = folder / "resumed-moved"
        shutil.copytree(begun / "half", target)
        path = max(target.glob("checkpoints/step-*")) / "model.safetensors"
        arrays = load_file(path)
        arrays[weight_of(recipe.model.head)].reshape(-1)[0] += MOVED
        save_file(arrays, path)
        write_manifest(path.parent)
        zoo.train(recipe, out=target, resume=True, progress=False)
        with weight_moved():
            zoo.train(short(recipe), out=folder / "again-moved", progress=False)


def short(recipe: Recipe) -> Recipe:
    """A few steps as a recipe has them by default, with the backend's own masks."""
    changes = {"training.epochs": None, "training.steps": SHORT_STEPS, "training.dropout_masks": "native"}
    return recipe.override(changes)


def unpainted(*_: Any) -> tuple[dict[str, Any], list[str]]:
    """No charts: what is compared are numbers."""
    return {}, []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["begin", "resume"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("other", help="the folder of the references, or the backend whose half run is resumed")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--perturb", action="store_true")
    given = parser.parse_args()
    own = given.folder / activate().name
    with (
        mock.patch("zoo.report.report.draw_each", unpainted),
        mock.patch.object(session, "SHAPES", 1 if given.small else session.SHAPES),  # each is compiled
    ):
        if given.what == "begin":
            print(json.dumps(measure(Path(given.other), (False, True)[: 1 + given.perturb])))
            begin(own, small=given.small, perturb=given.perturb)
        else:
            resume(own, given.folder / given.other, small=given.small, perturb=given.perturb)
