"""The image and the script for SLURM of deploy/: parsed, its commands looked up, and its shell run.

Neither Docker nor SLURM is asked. Each check is a function from a file's text to faults, and is seen failing
on a bad one.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from commands_known import ROOT, text_of, unknown_in
from test_packaging import INPUTS

from zoo.runs.run_folder import RunFolder

GRACE = 120
"""Seconds for a step and a checkpoint, at least."""
SETTINGS = {"KERAS_BACKEND": r"jax|tensorflow|torch", "ZOO_CACHE": r"/\S+"}

# --- the image


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Each instruction and its arguments, comments left out and lines joined that go on."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in "\n".join(lines).replace("\\\n", " ").splitlines()]


def image_faults(dockerfile: str, ignored: str) -> Iterator[str]:
    """What is wrong with the image, or with what the builder is given of the clone."""
    copied, stages, user, stage = list[str](), dict[str, str](), dict[str, str](), ""
    entry = {}
    for word, rest in instructions(dockerfile):
        match word, rest.split():
            case "FROM", [base, "AS", stage]:
                stages[stage], user[stage] = base, user.get(base, "root")
                entry[stage] = entry.get(base)
            case "COPY", [*sources, _]:
                copied += [source.rstrip("/") for source in sources]
            case "USER", [name]:
                user[stage] = name
            case "ENTRYPOINT", _:
                entry[stage] = rest
            case "ENV", settings:
                for name, _, value in (setting.partition("=") for setting in settings):
                    if not re.fullmatch(SETTINGS.get(name, r"\S+"), value) or name.startswith("ZOO") > (
                        name in SETTINGS
                    ):
                        yield f"ENV {name}={value}"
            case "RUN", _ if "pip install" in rest:
                if "--constraint constraints.txt" not in rest:
                    yield "pip installs without constraints.txt"
            case "ARG", [setting]:
                name, _, value = setting.partition("=")
                if f"${{{name}}}" not in dockerfile:
                    yield f"ARG {name} is not used"
                if name == "EXTRAS" and (fault := unknown_in(f"pip install '.[{value}]'")):
                    yield fault
            case (("RUN" | "WORKDIR" | "CMD"), _):
                pass
            case _:
                yield f"{word} {rest}: not an instruction that is known here"
    for target in ("cpu", "cuda"):
        if target not in stages:
            yield f"no target {target}"
        elif not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user[target]):
            yield f"{target} runs as {user[target]}"  # Kubernetes takes a number alone for one that is not root's
        elif entry[target] != '["zoo"]':
            yield f"{target} is entered by {entry[target]}, expected an array: a shell keeps signals to itself"
    if sorted(copied) != sorted((*INPUTS, "constraints.txt")):
        yield f"copies {copied}"
    kept = [line[1:] for line in ignored.splitlines() if line.startswith("!")]
    if "*" not in ignored.splitlines() or sorted(kept) != sorted(copied):
        yield f".dockerignore keeps {kept}"


def test_the_image() -> None:
    assert list(image_faults(text_of("deploy/Dockerfile"), text_of(".dockerignore"))) == []


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ('ENTRYPOINT ["zoo"]', "ENTRYPOINT zoo", "cpu is entered by zoo"),
        ("USER 1000:1000", "USER root", "cpu runs as root"),
        ("USER 1000:1000", "", "cpu runs as root"),
        ("COPY recipes recipes", "COPY recipe recipes", "copies ["),
        ("EXTRAS=jax\n", "EXTRAS=jaxx\n", "no extra jaxx"),
        ("AS cuda", "AS gpu", "no target cuda"),
        ("WORKDIR /source", "WORKDIRS /source", "WORKDIRS /source: not"),
        ("--constraint constraints.txt ", "", "without constraints.txt"),
        ("ARG PYTHON=", "ARG PYTHN=", "ARG PYTHN is not used"),
        ("ZOO_CACHE=", "ZOO_CASHE=", "ENV ZOO_CASHE"),
    ],
)
def test_a_wrong_image_is_noticed(right: str, wrong: str, fault: str) -> None:
    dockerfile = text_of("deploy/Dockerfile")
    assert right in dockerfile
    found = list(image_faults(dockerfile.replace(right, wrong), text_of(".dockerignore")))
    assert any(each.startswith(fault) or fault in each for each in found), found


def test_what_the_builder_is_not_given_is_noticed() -> None:
    ignored = text_of(".dockerignore").replace("!LICENSE\n", "")
    assert any(fault.startswith(".dockerignore") for fault in image_faults(text_of("deploy/Dockerfile"), ignored))


# --- SLURM

SCRIPT, OF_NODES = "deploy/slurm.sh", "deploy/slurm-nodes.sh"
DIRECTIVES = {
    "job-name": r"[\w-]+",
    "nodes": r"\d",
    "cpus-per-task": r"\d+",
    "mem": r"\d+G",
    "gres": r"gpu:\d+",
    "time": r"\d\d:\d\d:\d\d",
    "signal": r"TERM@(?P<grace>\d+)",  # to the steps; with B: it would be the script that gets it
    "requeue": "",
    "open-mode": "append",  # each turn has the same output
}
OWN = {
    SCRIPT: {"array": r"0-\d+", "ntasks": "1", "output": r"[\w-]+%A_%a\.out"},
    OF_NODES: {"ntasks-per-node": r"\d", "output": r"[\w-]+%j\.out"},
}
"""Options of sbatch that are used here, as its manual has them, and what they are given: in both scripts, in one."""
SLURM = {
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_JOB_ID": "42",
    "SLURM_CPUS_PER_TASK": "1",
    "SLURM_JOB_NODELIST": "any",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NTASKS": "2",
    "SLURM_GPUS_ON_NODE": "1",
}


def directive_faults(script: str, own: Mapping[str, str]) -> Iterator[str]:
    directives = DIRECTIVES | own
    lines = script.splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    given = {}
    for number, line in enumerate(lines):
        if not line.startswith("#SBATCH"):
            continue
        name, _, value = line.removeprefix("#SBATCH --").partition("=")
        given[name] = re.fullmatch(directives.get(name, "(?!)"), value)
        if given[name] is None or number > first:
            yield line
    yield from (f"no --{name}" for name in directives if name not in given)
    if (found := given.get("signal")) and int(found["grace"]) < GRACE:
        yield f"{found['grace']} seconds for a checkpoint"


@pytest.mark.parametrize("script", OWN)
def test_what_sbatch_is_asked_for(script: str) -> None:
    assert list(directive_faults(text_of(script), OWN[script])) == []
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize(
    ("right", "wrong", "fault"),
    [
        ("TERM@300", "B:TERM@300", "#SBATCH --signal=B:TERM@300"),
        ("TERM@300", "TERM@30", "30 seconds for a checkpoint"),
        ("#SBATCH --requeue\n", "", "no --requeue"),
        ("--cpus-per-task=8", "--cpus-per-tasks=8", "#SBATCH --cpus-per-tasks=8"),
        ("#SBATCH --requeue\n", "date\n#SBATCH --requeue\n", "#SBATCH --requeue"),
    ],
)
def test_a_wrong_directive_is_noticed(right: str, wrong: str, fault: str) -> None:
    assert right in text_of(SCRIPT)
    assert fault in directive_faults(text_of(SCRIPT).replace(right, wrong), OWN[SCRIPT])


def submitted(
    folder: Path, *arguments: str, python: str, srun: str = 'shift; exec "$@"', script: str = SCRIPT
) -> subprocess.CompletedProcess[str]:
    """The script, as SLURM runs it in a clone with such a `python`; srun and scontrol are stand-ins, and the latter
    writes down what it is asked to do."""
    scontrol = 'if [ "$1" = show ]; then echo localhost; echo other; else echo "$@" >> asked; fi'
    commands = {".venv/bin/python": python, "bin/srun": srun, "bin/scontrol": scontrol}
    for name, body in commands.items():
        command = folder / name
        command.parent.mkdir(parents=True, exist_ok=True)
        command.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        command.chmod(0o755)
    given = os.environ | SLURM | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    command = ["bash", str(ROOT / script), *arguments]
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, check=False, timeout=600)


@pytest.mark.parametrize(("code", "queued"), [(0, False), (143, True), (5, False)])
def test_only_what_was_told_to_stop_is_queued_again(code: int, queued: bool, tmp_path: Path) -> None:
    python = f'echo "python ${{*@Q}}" >> called; [ "$2" != zoo.run ] || exit {code}'
    done = submitted(tmp_path, "imdb_bert", "--set", "training.epochs=2", python=python)
    assert done.returncode == code, done.stderr
    fetched, trained = [shlex.split(line) for line in (tmp_path / "called").read_text().splitlines()]
    assert fetched == ["python", "-m", "zoo.fetch", "imdb_bert", "--set", "training.epochs=2"]
    out = ["--out", "runs/imdb_bert-seed-2", "--resume"]
    assert trained == ["python", "-m", "zoo.run", *fetched[3:], "--set", "seed=2", *out]
    assert [unknown_in(shlex.join(command)) for command in (fetched, trained)] == [None, None]
    asked = tmp_path / "asked"
    assert (asked.read_text() if asked.exists() else "") == ("requeue 42\n" if queued else "")


def test_nothing_is_trained_without_a_recipe_or_its_data(tmp_path: Path) -> None:
    python = 'echo "$2" >> called; exit 4'
    assert submitted(tmp_path, python=python).stderr.count("usage: sbatch") == 1
    assert submitted(tmp_path, "imdb_bert", python=python).returncode == 4
    assert (tmp_path / "called").read_text() == "zoo.fetch\n"


TELLS_TO_STOP = """
shift
"$@" &
if [ ! -e told ]; then
    until grep -qs '"kind": "step"' runs/*/history.jsonl; do sleep 0.05; done
    touch told
    kill -TERM $!
fi
wait $!
"""


@pytest.mark.slow
def test_a_run_takes_as_many_turns_as_it_needs(tmp_path: Path) -> None:
    """For real, but for srun, which tells it to stop after its first steps."""
    arguments = ["quickstart", "--profile", "smoke", "--set", "training.log_every=1"]
    python = f'exec env KERAS_BACKEND=torch {shlex.quote(sys.executable)} "$@"'
    folder = RunFolder(tmp_path / "runs" / "quickstart-seed-2")
    first = submitted(tmp_path, *arguments, python=python, srun=TELLS_TO_STOP)
    assert (first.returncode, folder.run["status"]) == (143, "interrupted"), first.stderr
    assert (tmp_path / "asked").read_text() == "requeue 42\n"
    saved = len(folder.history)
    second = submitted(tmp_path, *arguments, python=python, srun=TELLS_TO_STOP)
    assert (second.returncode, folder.run["status"]) == (0, "done"), second.stderr
    steps = [row["step"] for row in folder.history if row["kind"] == "step"]
    assert steps == list(range(1, len(steps) + 1))
    assert 0 < saved < len(steps)
    assert folder.run["seed"] == 2


ON_TWO_NODES = """
shift 2
SLURM_PROCID=1 SLURM_LOCALID=0 "$@" &
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" &
code=0
wait %1 || code=$?
wait %2 || code=$?
exit $code
"""


@pytest.mark.parametrize(("code", "queued"), [(0, False), (143, True)])
def test_what_each_process_of_several_nodes_is_told(code: int, queued: bool, tmp_path: Path) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID")
    of_jax = ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES", "JAX_COORDINATOR_ADDRESS")
    values = " ".join(f"${name}" for name in (*names, *of_jax))
    python = f'if [ "$2" = zoo.run ]; then echo "{values} python ${{*@Q}}" >> called; exit {code}; fi'
    done = submitted(tmp_path, "imdb_bert", python=python, srun=ON_TWO_NODES, script=OF_NODES)
    assert done.returncode == code, done.stderr
    told = sorted((tmp_path / "called").read_text().splitlines())
    command = "python '-m' 'zoo.run' 'imdb_bert' '--devices' '2' '--out' 'runs/imdb_bert-job-42' '--resume'"
    assert told == [f"{number} 0 2 1 localhost 42 {number} 2 localhost:20042 {command}" for number in range(2)]
    assert unknown_in(shlex.join(shlex.split(command))) is None
    assert (tmp_path / "asked").exists() == queued


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_run_of_two_processes_that_slurm_starts(backend: str, tmp_path: Path) -> None:
    """For real, but for srun, which has both nodes here."""
    python = f'exec env KERAS_BACKEND={backend} {shlex.quote(sys.executable)} "$@"'
    arguments = ["quickstart", "--profile", "smoke"]
    done = submitted(tmp_path, *arguments, python=python, srun=ON_TWO_NODES, script=OF_NODES)
    assert done.returncode == 0, done.stderr
    run = RunFolder(tmp_path / "runs" / "quickstart-job-42").run
    assert (run["status"], run["backend"]) == ("done", backend)
