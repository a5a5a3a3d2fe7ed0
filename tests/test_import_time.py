"""`import zoo` and `import recipes` are light: no Keras, no backend, no matplotlib, under 0.3 s."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("keras", "keras_hub", "jax", "tensorflow", "torch", "matplotlib")
# The promise is 0.3 s of CPU; a busy machine in CI gets three times that before the test fails.
MOST_SECONDS = 0.9


@pytest.mark.parametrize("package", ["zoo", "recipes"])
def test_import_is_light(package: str) -> None:
    seconds, loaded = imported(package)
    assert loaded == []
    assert seconds < MOST_SECONDS


def test_the_test_can_fail(tmp_path: Path) -> None:
    """A package that imports Keras, or takes too long; a Keras stands for it that imports at once."""
    (tmp_path / "keras.py").touch()
    (tmp_path / "heavy.py").write_text(f"import keras, time\nwhile time.process_time() < {2 * MOST_SECONDS}: pass\n")
    seconds, loaded = imported("heavy", PYTHONPATH=str(tmp_path))
    assert loaded == ["keras"]
    assert seconds > MOST_SECONDS


def imported(package: str, **changes: str) -> tuple[float, list[str]]:
    """Seconds that a process takes to import a package, and what of HEAVY it then has."""
    code = (
        "import json, sys, time; start = time.process_time();"
        f"import {package}; seconds = time.process_time() - start;"
        f"print(json.dumps([seconds, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    given = os.environ | changes
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=given)
    seconds, loaded = json.loads(done.stdout)
    return seconds, loaded
