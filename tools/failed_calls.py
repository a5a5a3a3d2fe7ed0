"""`python tools/failed_calls.py`: each storage call of a run's last epoch and its end fails, and the run is taken up.

That is the evaluation of the epoch, the save of a checkpoint, the last evaluation, the model, the report. A call kills
its process before it is made (`kill`), fails by an error of the disk (`once`), or is refused by a disk that stays full
from it on (`full`). One whose call failed ends in 6, or in 0 where nothing was lost by it. Then the run goes on, and
has to end as the run that was left alone: weights, predictions, figures, history, to the last bit.

It prints a JSON line for each call: way, number, exit code, that of what went on, and what is not as it was to be; and
ends in 1 where there is anything. Every call takes an hour on two cores. Pictures are drawn once and written each time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import recipes
import zoo
import zoo.report.report
from tools.storage_calls import KILLED, before_forking, failed_at, forked, killed_at
from zoo.backend import activate
from zoo.runs.run_folder import RunFolder
from zoo.runs.screen import Screen

FEW = {"training.epochs": 2, "data.limit": {"train": 96}}
RECIPE = recipes.load("quickstart", profile="smoke", overrides=FEW | {"training.log_every": 100})
WAYS = ("kill", "once", "full")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stride", type=int, default=1, help="take every so many-th call")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    given = parser.parse_args(argv)
    before_forking()
    with tempfile.TemporaryDirectory() as base:
        return 0 if survived(Path(base), given.ways, given.stride) else 1


def survived(base: Path, ways: Sequence[str], stride: int) -> bool:
    """Whether each call of each way was; `base` is a folder for the runs."""
    activate()  # once, for all children
    whole, begun = base / "whole", base / "begun"
    zoo.train(RECIPE, out=whole, progress=False)
    draw_once(RunFolder(whole))
    assert forked(lambda: zoo.train(RECIPE, out=begun, progress=KilledInSecondEpoch(quiet=True))) == KILLED
    assert list(begun.glob("checkpoints/step-*"))
    sound = True
    for way in ways:
        for number in itertools.count(1, stride):
            run = base / "run"
            shutil.copytree(begun, run)
            code = stopped(way, number, run)
            if code is None:
                break
            again, lost = forked(lambda run=run: go_on(run)), differences(run, whole)
            sound &= code in ((KILLED,) if way == "kill" else (0, 6)) and again == 0 and not lost
            print(json.dumps([way, number, code, again, lost]), flush=True)
            shutil.rmtree(run)
        shutil.rmtree(run)
    return sound


def stopped(way: str, number: int, run: Path) -> int | None:
    """How a run ends of which this call kills or fails; None where it makes fewer."""
    if way == "kill":
        return KILLED if killed_at(number, run, lambda: go_on(run)) else None
    return failed_at(number, run, lambda: go_on(run), "full" if way == "full" else "once")


def go_on(run: Path) -> None:
    zoo.train(RECIPE, out=run, resume=True, progress=False)


class KilledInSecondEpoch(Screen):
    """Once the checkpoint of the first is written."""

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        if epoch == 2:
            for thread in threading.enumerate():
                if thread.name == "checkpoint":
                    thread.join()
            os._exit(KILLED)


def draw_once(whole: RunFolder) -> None:
    """Have all reports take the pictures of this run's: to draw them takes seconds."""
    draw_each, drawn = zoo.report.report.draw_each, list[object]()

    def draw(*given: object) -> object:
        if not drawn:
            drawn.append(draw_each(*given))
        return drawn[0]

    zoo.report.report.draw_each = draw
    zoo.report.report.write_report(whole)


def differences(run: Path, whole: Path) -> list[str]:
    """What of a run is not as in another, and what is left over in its folder."""
    names = ("model/weights.safetensors", "model/model.json", "model/manifest.json", "predictions.jsonl", "recipe.yaml")
    found = [name for name in names if (run / name).read_bytes() != (whole / name).read_bytes()]
    one, other = RunFolder(run), RunFolder(whole)
    found += [key for key in ("metrics", "status", "training") if one.run[key] != other.run[key]]
    found += ["history.jsonl"] if timeless(one) != timeless(other) else []
    return found + sorted({path.name for path in run.rglob("*")} ^ {path.name for path in whole.rglob("*")})


def timeless(run: RunFolder) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.history]


if __name__ == "__main__":
    sys.exit(main())
