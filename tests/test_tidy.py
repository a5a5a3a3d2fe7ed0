"""benchmarks/tidy.py: what was measured, a value a row."""

from __future__ import annotations

import csv
import io

from test_compare import measured, options, result

from benchmarks import speed, tidy
from benchmarks.compare import document


def test_one_long_table() -> None:
    """A value a row: of whole runs by seed, of processes by round; what failed has none."""
    peer = result(contender="hf_tuned", peer=True, seed=1, precision="bfloat16")
    failed = {"contender": "jax", "peer": False, "failed": "exit code 5"}
    speeds = [{**measured(), "rows": [*measured()["rows"], failed]}]
    read = list(csv.DictReader(io.StringIO(tidy.text(document([result(), peer], speeds, options())))))
    assert tuple(read[0]) == tidy.COLUMNS
    where = {"recipe": "quickstart", "profile": "cpu", "backend": "torch", "peer": "", "precision": "", "round": ""}
    accuracy = {"seed": "0", "figure": "test.accuracy", "value": "0.85", "unit": "1"}
    assert {**where, **accuracy} in read
    theirs = {"seed": "1", "peer": "hf_tuned", "precision": "bfloat16"}
    assert {**where, **accuracy, **theirs} in read
    assert {**where, "seed": "0", "figure": "memory.peak_bytes", "value": "2000000000", "unit": "B"} in read
    compiling = {"seed": "", "precision": "float32", "figure": "compile_seconds.32x16", "value": "1.0", "unit": "s"}
    assert {**where, **compiling} in read
    rates = [row for row in read if row["figure"] == speed.TRAIN and not row["peer"]]
    assert [(row["round"], float(row["value"]), row["unit"]) for row in rates] == [
        ("0", 1000.0, "tokens/s"),
        ("1", 500.0, "tokens/s"),
        ("2", 200.0, "tokens/s"),
    ]
    assert {row["backend"] for row in read} == {"torch"}
