"""The reports of docs/upstream/ are still true: each script prints what the report says it prints.

A test that fails here after an update tells that a library has mended its fault: then the report and our remedy can go.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[1] / "docs" / "upstream"
NUMBER = re.compile(r"\d+\.\d+(?:e[+-]\d+)?(?![\d.])")


def fences(page: str) -> list[str]:
    """The fenced blocks of a report: its script, what that prints, and what comes after."""
    return re.findall(r"(?ms)^```text\n(.*?)^```$", (PAGES / page).read_text(encoding="utf-8"))


def printed(page: str, backend: str) -> str:
    """What the script of a report prints, by itself in a process."""
    script = fences(page)[0]
    quiet = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | quiet, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def figures(text: str) -> dict[str, list[float]]:
    """The numbers of each line but the first, which has the versions, by the words before them."""
    rows = {}
    for line in text.splitlines()[1:]:
        name = re.split(r":? +\d", line)[0]
        rows[name] = [float(number) for number in NUMBER.findall(line.removeprefix(name))]
    return rows


@pytest.mark.slow  # nothing here is in it: only an update of the libraries can make it fail
@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_keras_squares_before_it_sums(backend: str) -> None:
    """The first output of the report is TensorFlow's, the second that of the other backends."""
    wrong, right = map(figures, fences("keras-sparse-adam.md")[1:3])
    assert len(wrong) == len(right) == 10
    assert all(wrong[name] != right[name] for name in right)
    found = figures(printed("keras-sparse-adam.md", backend))
    assert list(found) == list(right)
    for name, expected in (wrong if backend == "tensorflow" else right).items():
        assert found[name] == pytest.approx(expected, abs=2e-6), name


@pytest.mark.slow
def test_keras_hub_takes_another_gelu() -> None:
    expected = figures(fences("keras-hub-gelu.md")[1])
    found = figures(printed("keras-hub-gelu.md", "torch"))
    assert list(found) == list(expected)
    assert found["difference"] == pytest.approx(expected["difference"], rel=0.05)
    name = "difference with the checkpoint's activation"
    assert max(*found[name], *expected[name]) < 1e-5


def test_every_report_is_listed() -> None:
    listed = (PAGES / "README.md").read_text(encoding="utf-8")
    for page in PAGES.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in listed, page
