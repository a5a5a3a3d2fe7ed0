"""A machine with an accelerator, judged in minutes: is what it computes right, then how fast, beside the peer.

    python benchmarks/accelerator.py --out DIR           # what `make gpu-bench` runs
    python benchmarks/accelerator.py --out DIR --small   # the same at a hundredth of the size, on any machine

Nothing is fetched: checkpoints of full size are drawn from a seed, and texts are as long as reviews are. First what
each backend computes is checked (on_device.py): losses beside those of a CPU, kernels beside plain products, steps that
read nothing back. Then BERT-Base and DistilBERT at 512 tokens and RoBERTa-large at 128 are measured beside transformers
(compare.py --speed-only --alone).

Into DIR go results.json, tables.md and chart.png, as compare.py writes them, what.json, which says how each part ended,
and device.md, the table "Not yet run on a device" of docs/accelerators.md with what this device did. Each part has a
time limit, and one that fails does not stop the others. Exit code 0; 1 where a part failed or found something wrong; 4
where there is no accelerator, no backend that uses one, or nothing to write checkpoints with.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import compare, speed, tables, tidy, unseen  # noqa: E402
from benchmarks.device import facts, kinds  # noqa: E402
from benchmarks.drawn import SUBJECTS, make, smaller  # noqa: E402
from benchmarks.processes import Contender, environment  # noqa: E402
from zoo import cli  # noqa: E402
from zoo.backend import installed  # noqa: E402
from zoo.errors import EnvironmentFault, ZooError  # noqa: E402

MINUTES = 9.5
"""All is over by then, and what is not begun is left out."""
CHECK_SECONDS = 120.0
"""The longest that one check may take."""
CHECKING = 0.45
"""The share of the time after which no check is begun."""
LEAST_SECONDS = 40.0
"""With less time left no model is begun."""
LAST_CHARACTERS = 600
"""Of what a process that failed said."""
PEERS = ("hf_tuned", "hf_pipeline")

CHECKS_OF: Mapping[str, tuple[str, ...]] = {
    "jax": ("kernels", "with_and_without", "parts", "sharded"),
    "tensorflow": ("parts",),
    "torch": ("kernels", "no_read_back", "with_and_without", "parts"),
}
"""What each backend is asked beside its losses."""

Result = dict[str, Any]
"""check, of, device, seconds; and `said`, or why it has `failed` or was `left_out`."""


class Bench:
    """The parts that were run, and the time that is left."""

    def __init__(self, out: Path, minutes: float) -> None:
        self.out = out
        self.results: list[Result] = []
        self.documents: list[dict[str, Any]] = []
        self._begun, self._seconds = time.monotonic(), 60.0 * minutes
        self._facts = facts()

    @property
    def passed(self) -> float:
        return time.monotonic() - self._begun

    @property
    def left(self) -> float:
        return self._seconds - self.passed

    @property
    def checking_left(self) -> float:
        return CHECKING * self._seconds - self.passed

    def add(self, result: Result) -> None:
        """Keep a result, tell it, and write all that there is: what breaks off leaves what was found."""
        self.results.append(result)
        told = next(f"{key} {result[key]}" for key in ("failed", "left_out", "said") if key in result)
        print(f"{self.passed:6.1f} s  {result['check']} {' '.join(result['of'])}: {told}", flush=True)
        self.write()

    def write(self) -> None:
        found = self.document()
        self.out.mkdir(parents=True, exist_ok=True)
        for name, text in {
            "results.json": json.dumps(found, indent=2) + "\n",
            "results.csv": tidy.text(found),
            "tables.md": tables.markdown(found),
            "what.json": json.dumps(self.what(), indent=2) + "\n",
            "device.md": unseen.filled(self.results),
        }.items():
            (self.out / name).write_text(text, encoding="utf-8")
        picture = tables.chart(found)
        if picture is not None:
            (self.out / "chart.png").write_bytes(picture)

    def document(self) -> dict[str, Any]:
        """The comparisons of all models as one, in the form of benchmarks/results/README.md, and the checks."""
        device = next((result["device"] for result in self.results if result.get("device", "cpu") != "cpu"), "cpu")
        versions: dict[str, str] = {}
        for told in [*self.results, *self.documents]:
            versions |= told.get("versions", {})
        speeds = [each for document in self.documents for each in document["speed"]]
        return {
            "date": date.today().isoformat(),
            "machine": compare.machine(device),
            "device": device,
            **({"accelerator": self._facts} if self._facts else {}),
            "versions": versions,
            "runs": [],
            "peer_runs": [],
            "results": [row for document in self.documents for row in document["results"]],
            "checks": self.results,
            "speed": speeds,
            **speed.flat(speeds),
        }

    def what(self) -> dict[str, Any]:
        """How each part ended, and how long it took."""
        kept = ("check", "of", "seconds", "failed", "left_out", "right")
        return {
            "command": plain("python benchmarks/accelerator.py " + " ".join(sys.argv[1:])),
            "seconds": round(self.passed, 1),
            "parts": [{key: result[key] for key in kept if key in result} for result in self.results],
        }

    def exit_code(self) -> int:
        return 1 if any("failed" in each or not each.get("right", True) for each in self.results) else 0


def run(words: Sequence[str], variables: dict[str, str], seconds: float) -> tuple[int | None, str, str]:
    """A process and all that it started, ended after so many seconds; its exit code (None: ended), stdout, stderr."""
    with subprocess.Popen(
        [sys.executable, *words],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=max(1.0, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            return None, out, err
    return process.returncode, out, err


def last_words(stderr: str) -> str:
    """The end of what a process said, on a line."""
    return plain(" / ".join(line.strip() for line in stderr.splitlines() if line.strip()))[-LAST_CHARACTERS:]


def plain(text: str) -> str:
    """A text without the folders of this machine."""
    for folder in (str(ROOT), sys.prefix, str(Path.home())):
        text = text.replace(folder, "...")
    return text


def check(bench: Bench, backend: str, name: str, *, precision: str | None = None, needed: bool = False) -> Result:
    """One check of a backend, in a process of its own.

    Args:
        bench: which keeps the result.
        backend: its name.
        name: of the check.
        precision: of `losses`.
        needed: whether it is done however late it is.
    """
    seconds = min(CHECK_SECONDS, bench.left)
    result: Result = {"check": name, "of": [backend, *([precision] if precision else [])]}
    if bench.checking_left <= 0 and not needed:
        result["left_out"] = "the time for checks was over: give more --minutes"
        bench.add(result)
        return result
    words = [str(ROOT / "benchmarks" / "on_device.py"), name, *(["--precision", precision] if precision else [])]
    begun = time.monotonic()
    given = environment(Contender(name=backend, kind="zoo", backend=backend))
    if name == "sharded":  # of all devices that the user lets us see
        given = {key: value for key, value in given.items() if key in os.environ or not key.endswith(_ONE)}
    code, out, err = run(words, given, seconds)
    result["seconds"] = round(time.monotonic() - begun, 1)
    if code is None:
        result["failed"] = f"it took longer than {seconds:.0f} s and was ended"
    elif code:
        result["failed"] = last_words(err)
    else:
        result |= json.loads(out.splitlines()[-1])
        if not result.get("right", True):
            result["failed"] = result.pop("said")
    bench.add(result)
    return result


_ONE = ("VISIBLE_DEVICES", "VISIBLE_CHIPS", "BOUNDS")
"""Endings of the variables that choose one device."""


def backends_here(bench: Bench, asked: Sequence[str], *, small: bool) -> dict[str, Result]:
    """The backends that compute on the accelerator here, with what they say of it; the others are told and left out."""
    found = {}
    for name in asked:
        told = check(bench, name, "facts", needed=True)
        if "failed" in told:
            continue
        if told["device"] == "cpu" and not small:
            told["left_out"] = "it computes on the CPU: python -m zoo.check says what it lacks"
            bench.write()
            continue
        found[name] = told
    return found


def checks(bench: Bench, found: dict[str, Result]) -> None:
    """Float32 of each backend first, then what else there is to check."""
    for backend in found:
        check(bench, backend, "losses", precision="float32")
    for backend, told in found.items():
        for name in CHECKS_OF[backend]:
            check(bench, backend, name)
        for precision in told["precisions"]:
            if precision != "float32":
                check(bench, backend, "losses", precision=precision)


def measure(bench: Bench, options: argparse.Namespace, backends: Sequence[str], scratch: Path) -> None:
    """Each model beside transformers; what is left of the time is shared out among the models that are left."""
    chosen = [SUBJECTS[place] for place in options.subjects]
    for number, full in enumerate(chosen):
        subject = smaller(full) if options.small else full
        result: Result = {"check": "speed", "of": [full.family, *backends], "name": subject.name}
        if bench.left < LEAST_SECONDS:
            bench.add({**result, "left_out": "the time was over: give more --minutes"})
            continue
        begun = time.monotonic()
        seconds = (bench.left - 5.0) / (len(chosen) - number)
        recipe, out = make(subject, scratch / f"{number}-{subject.name}"), scratch / f"{number}-out"
        words = [str(ROOT / "benchmarks" / "compare.py"), "--speed-only", "--alone", "--recipes", str(recipe)]
        words += ["--backends", *backends, "--rounds", str(options.rounds)]
        words += ["--peers", *options.peers] if options.peers else []
        words += ["--out", str(out), "--seconds", str(seconds - (time.monotonic() - begun))]
        code, _, err = run(words, dict(os.environ), bench.left)
        result["seconds"] = round(time.monotonic() - begun, 1)
        if (out / "results.json").is_file():
            document = json.loads((out / "results.json").read_text(encoding="utf-8"))
            bench.documents.append(document)
            result |= {"device": document["device"], "said": _ratios(document)}
            failed = [row for each in document["speed"] for row in each["rows"] if "failed" in row]
            if failed:
                told = "; ".join(f"{row['contender']}: {row['failed']}" for row in failed)
                result["failed"] = f"{told}; else {result.pop('said')}"
        else:
            why = "it did not end in time" if code is None else f"exit code {code}"
            result["failed"] = f"{why}: {last_words(err)}"
        bench.add(result)


def _ratios(document: dict[str, Any]) -> str:
    """The zoo over transformers, in words."""
    kept = {key: value for key, value in document.items() if key.startswith("ratio.") and key.count(".") == 3}
    words = [f"{key.split('.')[3]} {value:.2f} of {key.split('.')[2]}" for key, value in kept.items()]
    return ", ".join(words) or "nothing to compare"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="DIR", help="a new folder; default: one in benchmarks/results")
    parser.add_argument("--small", action="store_true", help="tiny models, to try the command on any machine")
    parser.add_argument("--backends", nargs="+", default=list(installed()), metavar="NAME", help="default: all here")
    # transformers computes on the CPU of a machine with a TPU, where models of full size take hours.
    peers = [] if kinds() == ["tpu"] else list(PEERS)
    parser.add_argument("--peers", nargs="*", default=peers, metavar="NAME", help="as compare.py's; on a TPU: none")
    parser.add_argument("--subjects", nargs="*", type=int, default=[0, 1, 2], metavar="N", help="which models, from 0")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="blocks of each contender")
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="M", help="all is over by then")
    return parser.parse_args(argv)


def bench(options: argparse.Namespace) -> int:
    """All of it; the exit code."""
    lacking = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if lacking and options.subjects:
        raise EnvironmentFault(
            f"{' and '.join(lacking)} cannot be imported by {sys.executable}, expected torch and transformers, which "
            "write the checkpoints: install them, or check alone with --subjects"
        )
    if not kinds() and not options.small:
        raise EnvironmentFault(
            "no accelerator is in this machine, expected the device files of an NVIDIA GPU or a TPU: use --small to "
            "try the command"
        )
    kind = "-".join(kinds()) or "cpu"
    out = options.out or compare.next_free(compare.RESULTS, date.today().isoformat(), kind)
    compare.refuse_used(out)
    found = Bench(out, options.minutes)
    here = backends_here(found, options.backends, small=options.small)
    print(f"backends on {kind}: {', '.join(here) or 'none'}", flush=True)
    if not here:
        raise EnvironmentFault(
            f"none of {', '.join(options.backends)} computes on the accelerator: python -m zoo.check says what it lacks"
        )
    checks(found, here)
    with tempfile.TemporaryDirectory() as scratch:
        measure(found, options, list(here), Path(scratch))
    print(f"{found.passed:6.1f} s  written: {out}", flush=True)
    return found.exit_code()


def main(argv: Sequence[str] | None = None) -> int:
    try:
        return bench(parse(argv))
    except ZooError as error:
        cli.show_error(error)
        return error.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
