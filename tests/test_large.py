"""Rows by the hundred thousand: what they cost in memory, and how what was measured of them is told."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import large

ROOT = Path(__file__).parents[1]
ROWS = 200_000
READ = """
import json, sys
import psutil
from zoo.data.dataset import load_dataset
from zoo.data.catalog import vocabulary_folder
from zoo.data.token_cache import encode_splits
from zoo.data.tokens import load_tokenizer
from zoo.recipe import recipe_from

data = {"files": {"train": "", "text": ["a", "b"], "label": "c"}}
backbone = {"family": "bert", "num_layers": 1, "num_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}
model = {"backbone": {**backbone, "vocabulary": "nano_uncased"}}
recipe = {"name": "x", "data": data, "model": model}
few, many = (recipe_from(recipe, overrides={"data.files.train": file}) for file in sys.argv[1:])
tokenizer, held = load_tokenizer(vocabulary_folder("nano_uncased")), []
for each in few, many:
    dataset = load_dataset(each)
    tables = encode_splits(tokenizer, dataset, each.tokens)
    held.append(psutil.Process().memory_info().rss)
print(json.dumps({"rows": sum(len(table) for table in tables.values()), "held": held}))
"""


def test_rows_cost_memory_by_their_bytes(tmp_path: Path) -> None:
    """Pairs of short texts, read and cut into 15 tokens each: what a run then has in memory all the time."""
    few, many = tmp_path / "few.csv", tmp_path / "many.csv"
    for file, rows in ((few, 1000), (many, ROWS)):
        with file.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow("abc")
            writer.writerows((f"is {row} a film", f"a good film number {row}", row % 2) for row in range(rows))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(few), str(many)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "ZOO_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    before, after = found["held"]
    assert found["rows"] == ROWS
    assert (after - before) / ROWS < 320, "bytes a row"


def run(rows: int, start: str, seconds: float, held: float) -> dict[str, object]:
    parts = {name: {"seconds": seconds, "bytes": 1_000_000_000} for name in large.PARTS}
    return {"rows": rows, "start": start, "parts": parts | {"train": {"seconds": 1.0, "bytes": held}}}


def test_growth_is_told_of_first_starts() -> None:
    runs = [run(1000, "first", 1.0, 1e9), run(1000, "second", 9.0, 1e9), run(10_000, "first", 10.0, 1.009e9)]
    told = large.growth(runs)
    assert "From 1,000 to 10,000 rows" in told
    assert "read, check, split 1.00, cut into tokens 1.00" in told
    assert "memory grows by 1,000 bytes a row" in told
    assert [cells[:2] for cells in large.cells(runs)] == [("1,000", "first"), ("1,000", "second"), ("10,000", "first")]


@pytest.mark.slow
def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert large.main(["--rows", "300", "--rows", "900"]) == 0
    assert capsys.readouterr().out.count("second") == 2
