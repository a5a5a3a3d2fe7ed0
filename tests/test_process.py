"""In a process in which the zoo is a library, it leaves to others what is theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BACKENDS = ("jax", "tensorflow", "torch")
PROGRAM = """
import importlib, json, os, random, sys
import numpy, zoo.backend

zoo.backend.keep_freed_memory = lambda: sys.exit("the allocator is set")
os.dup2 = lambda *numbers: sys.exit("a descriptor is turned away")
zoo.backend.activate()  # Keras draws numbers while it is imported
framework = importlib.import_module(sys.argv[1])
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
        "products": products[sys.argv[1]](),
        "stdout and stderr": [os.readlink(f"/proc/self/fd/{number}") for number in (1, 2)],
    }
    if sys.argv[1] == "torch":
        found["torch"] = hash(framework.get_rng_state().numpy().tobytes())
    return found

if sys.argv[1] != "torch":  # one paints for all
    import zoo.report.report
    zoo.report.report.draw_each = lambda *_: ({}, [])
before = state()
import recipes, zoo
run = zoo.train(recipes.load("quickstart", profile="smoke", overrides={"training.epochs": 1}), out=sys.argv[2])
run.predict(["A truly great film."])
zoo.build(recipes.load("quickstart", profile="smoke"))
with open(sys.argv[2] + ".json", "w") as file:
    json.dump([before, state()], file)
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_library_leaves_the_process_alone(backend: str, tmp_path: Path) -> None:
    """Global generators, the allocator, descriptors, the environment and how matrices are multiplied stay."""
    given = os.environ | {"KERAS_BACKEND": backend}
    command = [sys.executable, "-c", PROGRAM, backend, str(tmp_path / "run")]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, after = json.loads((tmp_path / "run.json").read_text())
    assert after == before


def test_a_command_does_as_it_needs() -> None:
    """The twin: `own_process` sets the allocator, which the test above would see."""
    code = "import zoo.backend as b\nb.keep_freed_memory = lambda: print('set')\nb.own_process()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set\n"
