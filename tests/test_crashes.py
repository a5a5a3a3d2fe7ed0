"""Runs that are killed and taken up, on every backend; `tools/crash_test.py` says how, and does more by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(("backend", "kind"), [("jax", "short"), ("tensorflow", "short"), ("torch", "everything")])
def test_killed_at_any_moment_and_taken_up(backend: str, kind: str) -> None:
    call = [sys.executable, str(ROOT / "tools" / "crash_test.py"), "--kills", "3", "--backend", backend]
    done = subprocess.run(
        [*call, "--kinds", kind],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *kills, run, summary = map(json.loads, done.stdout.splitlines())
    assert (summary["kills"], summary["mismatches"]) == (3, [])
    assert {kill["hit"] for kill in kills if "kill" in kill} & {"write", "end"}
    assert run["not as it was"] == []
