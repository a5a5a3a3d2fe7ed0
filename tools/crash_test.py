"""`python tools/crash_test.py --kills 50 --backend jax`: runs that are killed at any moment and taken up again.

Each run is the command `zoo.run` in a process of its own, which is stopped by a real SIGKILL (of five, one is a
SIGTERM) at a random moment: a third of them while a checkpoint is written or in the last evaluation, model and report.
Then it is taken up by `--resume`, until it is done. It has to end as the run that was left alone: weights, optimizer,
states of dropout, predictions, figures and history to the last bit. A kill may cost the steps of one interval between
checkpoints, and where one was being written those that were done meanwhile; a SIGTERM, which ends in 143, none.

Three kinds of runs take turns: one with everything that a state can have (gradients in parts, a moving average, mixed
texts, layers that join in, early stopping), one of packed texts that ends with a mean of epochs (not on TensorFlow,
whose packed runs differ from each other by rounding), one in stages. It prints a line a kill, and ends in 1 where there
is any mismatch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import zoo.report.report
import zoo.run
from tools.failed_calls import differences
from zoo.backend import activate
from zoo.data.manifest import damage
from zoo.data.writing import PARTIAL
from zoo.runs.run_folder import CHECKPOINTS
from zoo.runs.screen import Screen
from zoo.runs.stages import Unit
from zoo.training.checkpoint import Checkpoints, State
from zoo.training.saving import Saving

STEPS = 8
"""Steps between two checkpoints."""
EACH = {
    "training.epochs": 3,
    "training.log_every": 3,
    "training.checkpoint": {"minutes": None, "steps": STEPS},
}
KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "everything": (
        "quickstart",
        {
            "training.accumulate": 2,
            "training.average": {"type": "ema", "decay": 0.9},
            "training.mixup": {},
            "training.unfreeze": {"layers": 1, "epochs": 1},
            "training.early_stopping": {"patience": 2},
        },
    ),
    "short": ("quickstart", {"training.epochs": 2, "training.accumulate": 2, "model.backbone.num_layers": 1}),
    "packed": ("quickstart", {"training.packing": True, "training.average": {"type": "best", "epochs": 2}}),
    "stages": ("imdb_adapted", {}),
}
"""A recipe, whose `smoke` is run, and what is changed in it."""
USUAL = ("everything", "packed", "stages")
"""The kinds that take turns; the short one is for those who have little time."""
DRIFTING = {"tensorflow": ("packed",)}
"""Kinds of which, on a backend, two runs that are left alone differ in their last digits: none is asked for."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--backend", choices=("jax", "tensorflow", "torch"), default="torch")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=USUAL)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args(argv)
    os.environ["KERAS_BACKEND"] = given.backend
    with tempfile.TemporaryDirectory() as base:
        kinds = [kind for kind in given.kinds if kind not in DRIFTING.get(given.backend, ())]
        test = CrashTest(Path(base), kinds, random.Random(given.seed))
        test.run(given.kills)
        print(json.dumps({"backend": given.backend, **test.summary()}))
        return 0 if test.sound else 1


@dataclass
class Child:
    """A process that trains, and what it has said of itself.

    step: the last one that is done of a training that goes on; None where none does. steps: how many it has done.
    saving, written: the steps of the last checkpoint that was begun, and of the last one that is on the disk. ending:
    whether a training is over, and its last evaluation has begun.
    """

    process: int
    pipe: int
    step: int | None = None
    steps: int = 0
    saving: int | None = None
    written: int | None = None
    ending: bool = False
    _half: bytes = b""

    def listen(self, seconds: float) -> bool:
        """Hear what it says for so long, at most until something is said; False once it is gone."""
        if not select.select([self.pipe], [], [], max(0.0, seconds))[0]:
            return True
        heard = os.read(self.pipe, 65536)
        *lines, self._half = (self._half + heard).split(b"\n")
        for line in lines:
            what, number = line.decode().split(" ")
            if what == "test":
                self.step, self.ending = None, True
            elif what == "begin":
                self.step, self.saving, self.written, self.ending = int(number), None, None, False
            elif what == "step":
                self.step, self.steps = int(number), self.steps + 1
            elif what == "saving":
                self.saving = int(number)
            else:
                self.written = int(number)
        return bool(heard)

    def ended(self) -> int:
        """Its exit code, once it is gone; that of a signal is negative."""
        os.close(self.pipe)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def started(kind: str, run: Path) -> Child:
    """The command in a child, which goes on with the run where there is one."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        code = 70
        try:
            os.close(reading)
            with run.with_name(run.name + ".log").open("ab") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            Telling.run, Telling.pipe = run, writing
            zoo.run.Screen = Telling  # type: ignore[misc]
            zoo.report.report.draw_each = lambda *_: ({}, [])  # half of what a run so small takes
            tell_of_checkpoints(lambda text: os.write(writing, f"{text}\n".encode()))
            name, changes = KINDS[kind]
            sets = [f"--set={key}={json.dumps(value)}" for key, value in (EACH | dict(changes)).items()]
            code = zoo.run.main([name, "--profile", "smoke", *sets, "--out", str(run), "--resume"])
        finally:
            os._exit(code)
    os.close(writing)
    return Child(process, reading)


class Telling(Screen):
    """Says into a pipe how far the run is, and keeps the last checkpoint of each training."""

    run: Path
    pipe: int

    def _say(self, text: str) -> None:
        os.write(self.pipe, f"{text}\n".encode())

    def on_begin(self, step: int, steps: int) -> None:
        self._say(f"begin {step}")
        super().on_begin(step, steps)

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        self._say(f"step {step}")
        super().on_step(step, epoch, tokens, loss, first)

    @contextmanager
    def bar(self, title: str, total: int | None = None, unit: Unit = "rows") -> Iterator[Callable[[int], None]]:
        if title == "test":
            for folder in self.run.rglob(CHECKPOINTS):
                (newest := Checkpoints(folder).newest()) and shutil.copytree(newest, self._kept(folder))
            self._say("test 0")
        with super().bar(title, total, unit) as advance:
            yield advance

    def _kept(self, checkpoints: Path) -> Path:
        """Where the last checkpoint of a training goes, which is not there yet."""
        kept = states(self.run) / checkpoints.parent.relative_to(self.run.parent).name
        shutil.rmtree(kept, ignore_errors=True)
        return kept


def tell_of_checkpoints(say: Callable[[str], object]) -> None:
    """Have said which checkpoint is begun, and which is on the disk."""
    save, write = Saving.save, Checkpoints.write

    def telling_save(self: Saving, state: State, kept: Sequence[int]) -> None:
        say(f"saving {state.progress.step}")
        save(self, state, kept)

    def telling_write(self: Checkpoints, state: State, kept: Sequence[int] = ()) -> None:
        write(self, state, kept)
        say(f"written {state.progress.step}")

    Saving.save, Checkpoints.write = telling_save, telling_write  # type: ignore[method-assign]


def kept_log(run: Path) -> Path:
    """What a run has said on stderr, where it stays."""
    return Path(shutil.copy(run.with_name(run.name + ".log"), tempfile.gettempdir()))


def states(run: Path) -> Path:
    """The folder beside a run with the last checkpoint of each training."""
    return run.with_name(run.name + ".states")


def different_states(run: Path, whole: Path) -> list[str]:
    """What of the last checkpoints of a run is not as in those of another."""
    found = []
    for one, other in zip(sorted(states(run).iterdir()), sorted(states(whole).iterdir()), strict=True):
        names = sorted(path.name for path in other.iterdir() if path.suffix == ".safetensors")
        found += [f"state/{name}" for name in names if (one / name).read_bytes() != (other / name).read_bytes()]
    return found


def trainings(run: Path, whole: Path) -> list[tuple[Path, Path]]:
    """The folders of a run's trainings, stages or itself, each with that of the other run."""
    stages = [path.parent.name for path in sorted(whole.glob("*/run.json"))]
    return [(run / name, whole / name) for name in stages or ["."]]


def writing(run: Path) -> bool:
    """Whether a checkpoint is being written, or was when the run was killed."""
    return any(run.rglob(f"{CHECKPOINTS}/.step-*{PARTIAL}"))


def saved_step(run: Path) -> int:
    """The step of the newest checkpoint that is whole; 0 where there is none."""
    found = [path for path in run.rglob(f"{CHECKPOINTS}/step-*") if damage(path) is None]
    return max((int(path.name.split("-")[1]) for path in found), default=0)


class CrashTest:
    """Kills in runs of several kinds below a folder."""

    def __init__(self, base: Path, kinds: Sequence[str], random: random.Random) -> None:
        activate()  # once, for all children
        self._base, self._kinds, self._random = base, kinds, random
        self._hits, self._lost = Counter[str](), list[int]()
        self._whole: dict[str, tuple[Path, float]] = {}
        self._faults, self._runs, self._terminated = list[str](), 0, 0

    @property
    def sound(self) -> bool:
        return not self._faults

    def summary(self) -> dict[str, Any]:
        return {
            "kills": sum(self._hits.values()),
            "in a write or at the end": self._hits["write"] + self._hits["end"],
            "by SIGTERM": self._terminated,
            "runs": self._runs,
            "most steps lost": max(self._lost, default=0),
            "mismatches": self._faults,
        }

    def run(self, kills: int) -> None:
        """So many kills, over as many runs as that takes; the last one is taken up to its end."""
        for kind in itertools.cycle(self._kinds):
            if sum(self._hits.values()) >= kills:
                break
            whole, seconds = self._unbroken(kind)
            run = self._base / f"{kind}-{self._runs}"
            while not self._killed(kind, run, seconds, kills):
                pass
            lost = [name for one, other in trainings(run, whole) for name in differences(one, other)]
            lost += different_states(run, whole)
            self._runs += 1
            self._faults += [f"{run.name}: {name}" for name in lost]
            print(json.dumps({"run": run.name, "not as it was": lost}), flush=True)
            shutil.rmtree(run)
            shutil.rmtree(states(run))

    def _unbroken(self, kind: str) -> tuple[Path, float]:
        """A run of its kind that was left alone, and how long it took; trained at first use."""
        if kind not in self._whole:
            run, begun = self._base / kind, time.monotonic()
            child = started(kind, run)
            while child.listen(60.0):
                pass
            code = child.ended()
            if code != 0:
                raise SystemExit(f"a run that was left alone ended in {code}: see {kept_log(run)}")
            self._whole[kind] = run, time.monotonic() - begun
        return self._whole[kind]

    def _killed(self, kind: str, run: Path, seconds: float, kills: int) -> bool:
        """Whether a run is done, after it was gone on with and killed once more, if it is not."""
        child = started(kind, run)
        enough = sum(self._hits.values()) >= kills
        moment, number = self._moment(), self._random.choice([signal.SIGKILL] * 4 + [signal.SIGTERM])
        if not enough and self._waited(child, run, moment, seconds):
            os.kill(child.process, number)
            os.kill(child.process, signal.SIGCONT)
        while child.listen(60.0):
            pass
        code = child.ended()
        if code == 0:
            return True
        if code not in (-number, {signal.SIGTERM: 143}.get(number)):
            self._faults.append(f"{run.name} ended in {code}: see {kept_log(run)}")
            return True
        self._count(child, run, number.name, code)
        return False

    def _moment(self) -> str:
        hard = self._hits["write"] + self._hits["end"]
        if 3 * hard > sum(self._hits.values()):
            return "any"
        return "write" if self._hits["write"] <= self._hits["end"] else "end"

    def _waited(self, child: Child, run: Path, moment: str, seconds: float) -> bool:
        """Whether the child is still there at such a moment, which has come; where it writes, it is stopped in it."""
        after = self._random.uniform(0.0, 0.6 * seconds)
        begun = time.monotonic()
        if moment == "any":
            while (left := after - (time.monotonic() - begun)) > 0:
                if not child.listen(left):
                    return False
            return True
        writes = self._random.randrange(4)
        while True:
            if not child.listen(0.001 if moment == "write" else 60.0):
                return False
            if moment == "end" and child.ending:
                time.sleep(self._random.uniform(0.0, 0.3 * seconds))
                return True
            if moment == "write" and child.steps >= STEPS * writes and writing(run):
                time.sleep(self._random.uniform(0.0, 0.02))
                os.kill(child.process, signal.SIGSTOP)
                os.waitid(os.P_PID, child.process, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                if writing(run):
                    return True
                os.kill(child.process, signal.SIGCONT)  # it was through with that one: the next

    def _count(self, child: Child, run: Path, name: str, code: int) -> None:
        """Note what a kill hit and what it cost."""
        hit = "write" if writing(run) else "end" if child.ending else "any"
        self._hits[hit] += 1
        self._terminated += code == 143
        saved, lost = saved_step(run), None
        if child.step is not None:
            lost = child.step - saved
            self._lost.append(lost)
            if saved < (child.written or 0):
                self._faults.append(f"{run.name} lost what was written of step {child.written} by {name}")
            if lost > (0 if code == 143 else STEPS) and child.saving == child.written:
                self._faults.append(f"{run.name} lost {lost} steps by {name}")
        told = {"kill": sum(self._hits.values()), "by": name, "hit": hit, "step": child.step, "lost": lost}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    sys.exit(main())
