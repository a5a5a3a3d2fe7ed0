"""`python killed.py FOLDER STRIDE`: a run, killed at each STRIDEth storage call of its last epoch and its end, goes on.

It prints a JSON line for each call: its number, the exit code of what went on, and what of it is not as in the run that
was never killed. The report is left out: it takes seconds, and its files are drawn anew whenever a run goes on.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from killing import KILLED, forked, killed_at

import recipes
import zoo
import zoo.run
from zoo.backend import activate
from zoo.runs.run_folder import RunFolder
from zoo.runs.screen import Screen

FEW = {"training.epochs": 2, "data.limit": {"train": 96}}
RECIPE = recipes.load("quickstart", profile="smoke", overrides=FEW | {"training.log_every": 100})


def main(base: Path, stride: int) -> None:
    zoo.run.write_report = lambda folder, texts: (folder.write_text("report.html", ""), ())  # type: ignore[assignment]
    activate()  # once, for all children
    whole, begun = base / "whole", base / "begun"
    assert forked(lambda: zoo.train(RECIPE, out=whole)) == 0
    assert forked(lambda: zoo.train(RECIPE, out=begun, progress=KilledInSecondEpoch(quiet=True))) == KILLED
    assert list(begun.glob("checkpoints/step-*"))
    for number in itertools.count(1, stride):
        run = base / str(number)
        shutil.copytree(begun, run)
        if not killed_at(number, run, lambda run=run: go_on(run)):
            break
        print(json.dumps([number, forked(lambda run=run: go_on(run)), differences(run, whole)]), flush=True)
        shutil.rmtree(run)


def go_on(run: Path) -> None:
    zoo.train(RECIPE, out=run, resume=True)


class KilledInSecondEpoch(Screen):
    """Of the first there is a checkpoint then."""

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        if epoch == 2:
            os._exit(KILLED)


def differences(run: Path, whole: Path) -> list[str]:
    """What of a run is not as in another, and what is left over in its folder."""
    names = ("model/weights.safetensors", "model/model.json", "model/manifest.json", "predictions.jsonl", "recipe.yaml")
    found = [name for name in names if (run / name).read_bytes() != (whole / name).read_bytes()]
    one, other = RunFolder(run), RunFolder(whole)
    found += [key for key in ("metrics", "status", "training") if one.run[key] != other.run[key]]
    found += ["history.jsonl"] if timeless(one) != timeless(other) else []
    return found + sorted({path.name for path in run.iterdir()} ^ {path.name for path in whole.iterdir()})


def timeless(run: RunFolder) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.history]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
