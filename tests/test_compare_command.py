"""benchmarks/compare.py as one calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def called(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmarks/compare.py", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_whole_comparison(tmp_path: Path) -> None:
    out = tmp_path / "out"
    smoke = ("--recipes", "quickstart", "--profile", "smoke", "--backends", "torch", "--peers", "hf", "--rounds", 2)
    done = called(*smoke, "--out", out, "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((out / "results.json").read_text())
    ours, tuned, notebook = found["results"]
    assert ours["test"]["accuracy_low"] <= ours["test"]["accuracy"] <= ours["test"]["accuracy_high"]
    assert ours["outcome"] in ("trained", "collapsed")
    assert ours["tally"]["correct"] / ours["tally"]["rows"] == ours["test"]["accuracy"]
    assert "fresh" in tuned["outcome"]
    assert "test" not in notebook
    assert [row["verdict"] for row in found["verdicts"]] == ["nothing expected", tuned["outcome"], notebook["outcome"]]
    (row,) = found["speed"][0]["rows"]
    assert row["train_tokens_per_second"]["blocks"] == 2
    assert 0 < row["model_flop_utilisation"]["median"] < 1
    assert 0 <= row["padding_fraction"] < 1
    assert row["shapes"] == len(row["compile_seconds"])
    assert {"import", "tokenize", "build"} <= row["seconds"].keys()
    assert row["memory"]["peak_bytes"] > 1e8


def test_a_failing_process_is_shown_and_ends_in_1(tmp_path: Path) -> None:
    out = tmp_path / "out"
    few_rows = ("--set", "training.batch_size=60000")
    smoke = ("--recipes", "quickstart", "--profile", "smoke", "--backends", "torch", "--speed-only")
    done = called(*smoke, *few_rows, "--out", out)
    assert done.returncode == 1, done.stderr
    assert "exit code" in done.stdout
    assert "exit code" in (out / "tables.md").read_text()
