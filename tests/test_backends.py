"""Starts what needs Keras: tests/on_backend once a backend, each in a process of its own.

One of them by hand: KERAS_BACKEND=torch python -m pytest tests/on_backend -o python_files='checks_*.py'
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

import recipes
import zoo
from zoo.data.dataset import load_dataset

ROOT = Path(__file__).parents[1]
CHECKS = Path(__file__).with_name("on_backend")
BACKENDS = ("jax", "tensorflow", "torch")

pytestmark = pytest.mark.usefixtures("real_cache")


def environment(backend: str, shared: Path) -> dict[str, str]:
    """What a process on this backend is given."""
    return os.environ | {
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
        "ZOO_TEST_REFERENCES": str(shared / "references"),
        # Most of what jax does here is to compile the same nano models again.
        "JAX_COMPILATION_CACHE_DIR": str(shared / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the checks use none, and some take a second to import
    }


@pytest.fixture(scope="session")
def shared(session_folder: Path, real_cache: Path) -> Path:
    """The folder of this test session, with what references.py makes in it."""
    folder = session_folder
    with FileLock(folder / "lock"):
        if not (folder / "references" / "done").exists():
            (folder / "references").mkdir(exist_ok=True)
            command = [sys.executable, str(CHECKS / "references.py"), str(folder / "references")]
            given = environment("torch", folder) | {"ZOO_CACHE": str(real_cache)}
            finish(subprocess.Popen(command, env=given, **PIPES))
            (folder / "references" / "done").touch()
    return folder


PIPES: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": ROOT}


def finish(process: subprocess.Popen[str]) -> str:
    """What the process wrote; a test that started one that fails shows all of it."""
    output, _ = process.communicate()
    assert process.returncode == 0, f"{process.args} ended in {process.returncode}:\n{output}"
    return output


PARTS = {
    "model": ("model", "answers", "masked", "build", "losses", "contrastive", "export", "keras"),
    "training": (
        "golden",
        "training",
        "faults",
        "trained",
        "robustness",
        "optimizers",
        "joint",
        "memory",
        "compile",
        "checkpoints",
        "dropout",
        "packing",
        "recipes",
    ),
    "runs": ("runs", "stages", "parts", "precision", "explain", "serving"),
}
"""What one process checks: each costs an import of Keras. What is of one run stands together, which is trained once."""
OF_ONE = {
    "jax": {"model": ("compiled", "pallas", "stablehlo"), "runs": ("shared", "divided", "hosts")},
    "tensorflow": {"model": ("hlo", "xla"), "runs": ("shared", "mirrors")},
    "torch": {
        "model": ("cuda", "programs", "fill_mask", "hostile", "ways"),
        "training": ("loop", "rules"),
        "runs": ("bad_inputs", "fuzz", "sweep", "processes", "hosts"),
    },
}
"""What only one backend has to keep, by backend and part."""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("part", PARTS)  # one after the other: those of the last are the shortest
def test_on(backend: str, part: str, shared: Path, tmp_path: Path) -> None:
    check(backend, part, "not slow", shared, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "part"), [*itertools.product(BACKENDS, PARTS)])
def test_at_times_on(backend: str, part: str, shared: Path, tmp_path: Path) -> None:
    """What takes long: on the two that compile, most of what torch is asked each time."""
    check(backend, part, "slow", shared, tmp_path)


def check(backend: str, part: str, marked: str, shared: Path, tmp_path: Path) -> None:
    """Run the checks of a part that are marked so, in a process of their own."""
    names = (*PARTS[part], *OF_ONE.get(backend, {}).get(part, ()))
    files = [str(CHECKS / f"checks_{name}.py") for name in names]
    command = [sys.executable, "-m", "pytest", *files, "-q", "-m", marked, "-o", "python_files=checks_*.py"]
    command += ["-p", "no:cacheprovider", "--basetemp", str(tmp_path / "checks")]
    output = finish(subprocess.Popen(command, env=environment(backend, shared), **PIPES))
    summary = output.splitlines()[-1]
    assert " passed" in summary
    assert "skipped" not in summary


def test_a_failing_check_fails_here(shared: Path, tmp_path: Path) -> None:
    """The harness itself: a check that fails, and a backend that is missing, are seen."""
    check = tmp_path / "checks_wrong.py"
    check.write_text("def test_wrong(backend):\n    assert backend.name == 'none'\n")
    (tmp_path / "conftest.py").write_text((CHECKS / "conftest.py").read_text())
    command = [sys.executable, "-m", "pytest", str(check), "-q", "-o", "python_files=checks_*.py"]
    for backend, match in (("torch", "assert 'torch' == 'none'"), ("missing", "KERAS_BACKEND is 'missing'")):
        process = subprocess.Popen(command, env=environment(backend, shared), **PIPES)
        with pytest.raises(AssertionError, match=match):
            finish(process)


UNPAINTED = """
import zoo.report.report
zoo.report.report.draw_each = lambda *_: ({}, [])  # no backend paints
"""
TRAIN_THEN_PREDICT = """
import importlib, json, os, random, sys
import numpy, zoo.backend

zoo.backend.keep_freed_memory = lambda: sys.exit("the allocator is set")
os.dup2 = lambda *numbers: sys.exit("a descriptor is turned away")
backend = zoo.backend.activate().name  # Keras draws numbers while it is imported
framework = importlib.import_module(backend)
products = {  # what float32 numbers are multiplied in
    "jax": lambda: framework.config.jax_default_matmul_precision,
    "tensorflow": lambda: framework.config.experimental.tensor_float_32_execution_enabled(),
    "torch": lambda: [
        each.fp32_precision
        for each in (framework.backends, framework.backends.cuda.matmul, framework.backends.mkldnn.matmul)
    ],
}

def state():
    found = {
        "python": hash(random.getstate()),
        "numpy": hash(str(numpy.random.get_state())),
        "environment": os.environ["KERAS_BACKEND"],
        "products": products[backend](),
        "stdout and stderr": [os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)],
    }
    if backend == "torch":
        found["torch"] = hash(framework.get_rng_state().numpy().tobytes())
    return found

if backend != "torch":  # one paints for all
    import zoo.report.report
    zoo.report.report.draw_each = lambda *_: ({}, [])
before = state()
import recipes, zoo
for name in ("quickstart", "multitask"):
    zoo.train(recipes.load(name, profile="smoke"), out=sys.argv[1] + "/" + name, progress=False)
zoo.build(recipes.load("quickstart", profile="smoke"))
print("trained", flush=True)
texts, paths = json.loads(input())
for path in paths:
    numpy.save(path + "/" + backend + ".npy", zoo.load_run(path).values(texts))
print(json.dumps([before, state()]))
"""


def test_a_run_is_the_same_on_every_backend(shared: Path, tmp_path: Path) -> None:
    """Its figures, and what it predicts, whichever backend trained it.

    The zoo is a library there, and leaves what is the process's: global generators, the allocator, descriptors, the
    environment and how matrices are multiplied.
    """
    texts = [*load_dataset(recipes.load("quickstart", profile="smoke")).test.texts, "", "Café " * 100]
    runs = {backend: str(tmp_path / backend) for backend in BACKENDS}
    columns = {"quickstart": 2, "multitask": 5}
    command = [sys.executable, "-c", TRAIN_THEN_PREDICT]
    processes = [
        subprocess.Popen([*command, run], env=environment(backend, shared), stdin=subprocess.PIPE, **PIPES)
        for backend, run in runs.items()
    ]
    for process in processes:
        assert process.stdout
        told = []
        while (line := process.stdout.readline()) not in ("trained\n", ""):
            told.append(line)
        assert line, "".join(told)
    predict = json.dumps([texts, [f"{run}/{name}" for run in runs.values() for name in columns]])
    for process in processes:
        assert process.stdin
        process.stdin.write(f"{predict}\n")
        process.stdin.flush()
    for process in processes:
        before, after = json.loads(finish(process).splitlines()[-1])
        assert after == before
    for name, count in columns.items():
        figures = {backend: zoo.load_run(f"{run}/{name}").folder.run["metrics"] for backend, run in runs.items()}
        for trained_on, path in runs.items():
            for split, first in figures[BACKENDS[0]].items():
                assert figures[trained_on][split] == pytest.approx(first, abs=1e-3)
            found = {backend: np.load(f"{path}/{name}/{backend}.npy") for backend in BACKENDS}
            for backend in BACKENDS:
                assert found[backend].shape == (len(texts), count)
                np.testing.assert_allclose(found[backend], found[trained_on], rtol=0, atol=1e-4)
            assert np.ptp(found[trained_on][:, 0]) > 0.3  # the texts are told apart at all


STOPPED = """
import sys, recipes, zoo
from zoo.runs.screen import Screen

class Stopping(Screen):
    def on_step(self, step, epoch, tokens, loss, first):
        if step == 40:
            raise KeyboardInterrupt

for masks in sys.argv[2:]:
    each = {
        "training.dropout_masks": masks,
        "training.epochs": 2,
        "training.checkpoint": {"minutes": None, "steps": 10},
    }
    recipe = recipes.load("quickstart", profile="smoke", overrides=each)
    try:
        zoo.train(recipe, f"{sys.argv[1]}/{masks}", progress=Stopping())
    except KeyboardInterrupt:
        continue
    sys.exit("it was not stopped")
"""
GOES_ON = f"""{UNPAINTED}
import sys, zoo.run
for masks in sys.argv[2:]:
    run = sys.argv[1] + "/" + masks
    assert zoo.run.main([run + "/recipe.yaml", "--out", run, "--resume"]) == 0
"""


def test_a_run_goes_on_on_another_backend(shared: Path, tmp_path: Path) -> None:
    """Within an epoch. How far it then is from the uninterrupted run is measured by tools/parity.py."""
    both = [str(tmp_path), "portable", "native"]
    finish(subprocess.Popen([sys.executable, "-c", STOPPED, *both], env=environment("torch", shared), **PIPES))
    told = finish(
        subprocess.Popen([sys.executable, "-c", GOES_ON, *both], env=environment("tensorflow", shared), **PIPES)
    )
    assert told.count("goes on after step 33 of 46") == 2
    note = "the run was begun on torch and goes on on tensorflow"
    drawn = ", which draws dropout in its own way (training.dropout_masks: portable would not)"
    for masks, expected in (("portable", f"{note}\n"), ("native", f"{note}{drawn}\n")):
        assert told.count(expected) == 1
        run = zoo.load_run(tmp_path / masks)
        assert expected in (run.path / "log.txt").read_text()
        assert (run.folder.run["status"], run.folder.run["backend"]) == ("done", "tensorflow")
        assert [row["epoch"] for row in run.history if row["kind"] == "epoch"] == [1, 2]


def test_what_jax_compiled_is_kept(shared: Path, tmp_path: Path) -> None:
    """The second run of a recipe compiles nothing that the first did, and is byte for byte the same."""
    given = {key: value for key, value in environment("jax", shared).items() if not key.startswith("JAX_")}
    kept = []
    code = f"{UNPAINTED}\nimport sys, zoo.run\nsys.exit(zoo.run.main(sys.argv[1:]))"
    few = ["--set", "training.epochs=2", "--set", "data.limit={train: 96}"]
    for name in ("first", "second"):
        call = [sys.executable, "-c", code, "quickstart", "--profile", "smoke", *few, "--out", str(tmp_path / name)]
        finish(subprocess.Popen(call, env=given | {"ZOO_CACHE": str(tmp_path / "cache")}, **PIPES))
        # Only what takes long to compile is kept: on a busy machine that may be a small program, too.
        kept.append({path.name for path in (tmp_path / "cache" / "compiled").glob("jax-*/jit_[sf]*-cache")})
    assert kept[0]
    assert kept[0] == kept[1]
    files = [(tmp_path / name / "model" / "weights.safetensors").read_bytes() for name in ("first", "second")]
    assert files[0] == files[1]
