"""`import zoo` and `import recipes` are light: no Keras, no backend, no matplotlib, under 0.3 s."""

import json
import subprocess
import sys

import pytest

HEAVY = ("keras", "keras_hub", "jax", "tensorflow", "torch", "matplotlib")
# The promise is 0.3 s of CPU; a busy machine in CI gets three times that before the test fails.
MOST_SECONDS = 0.9


@pytest.mark.parametrize("package", ["zoo", "recipes"])
def test_import_is_light(package: str) -> None:
    code = (
        "import json, sys, time; start = time.process_time();"
        f"import {package}; seconds = time.process_time() - start;"
        f"print(json.dumps([seconds, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, loaded = json.loads(done.stdout)
    assert loaded == []
    assert seconds < MOST_SECONDS


def test_the_test_can_fail() -> None:
    code = f"import keras, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'keras'" in done.stdout
