"""Predictions within Ray Data and Spark, and trials within Ray Tune: what they call, with a run that needs no backend,
and the real programs.

The real ones want `pip install -e '.[sweep,ray,spark]'`, Spark also Debian's package openjdk-17-jre-headless.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pyarrow
import pyarrow.parquet
import pytest
from test_predict import ROWS, StandIn, write

from zoo import predict
from zoo.engines import loaded
from zoo.engines.on_ray import Predictor
from zoo.engines.on_spark import cells_of
from zoo.errors import DataError, RecipeError
from zoo.tasks import Prediction
from zoo.tasks.multilabel import Multilabel

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """What a folder holds, in place of a run that was trained."""
    found = StandIn()
    found.recipe = SimpleNamespace()
    monkeypatch.setattr(loaded, "open_run", lambda path: path)
    monkeypatch.setattr(loaded, "Run", lambda folder, precision: found)
    monkeypatch.setattr(loaded, "text_column", lambda recipe: "text")
    return found


def test_a_batch_has_the_columns_of_a_file(run: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "load_run", lambda path, **_: run)
    monkeypatch.setattr(predict, "text_columns", lambda run, asked: "text")
    rows = [row | {"text": None} if n == 0 else row for n, row in enumerate(ROWS)]
    file, out = write(tmp_path, ".parquet", rows), tmp_path / "out.parquet"
    assert predict.main(["run", "--file", str(file), "--out", str(out), "--on-missing", "keep"]) == 0
    batch, expected = pyarrow.parquet.read_table(file), pyarrow.parquet.read_table(out)
    assert Predictor("run", on_missing="keep")(batch).equals(expected)
    assert Predictor("run", text="text", on_missing="keep")(batch[:1]).equals(expected[:1])
    with pytest.raises(DataError, match="text 1 has no text"):
        Predictor("run")(batch)


def test_what_a_batch_lacks(run: StandIn) -> None:
    with pytest.raises(DataError, match='dict, expected a table of pyarrow\'s: say batch_format="pyarrow"'):
        Predictor("run")({"text": np.array(["a 1"])})
    with pytest.raises(DataError, match="text: got review, expected among the columns text"):
        Predictor("run", text="review")(pyarrow.table({"text": ["a 1"]}))
    with pytest.raises(RecipeError, match="text: got a, b, expected 1 of them"):
        Predictor("run", text=("a", "b"))
    run.takes_pairs = True
    with pytest.raises(RecipeError, match="text: got text, expected 2 of them"):
        Predictor("run")
    found = Predictor("run", text=("text", "other"))(pyarrow.table({"text": ["a 7"], "other": ["b"]}))
    assert found["label"].to_pylist() == ["good"]


def test_cells_that_spark_takes() -> None:
    """It looks at the first row alone: no None, and lists as arrays."""
    task = Multilabel(names=("a", "b"), threshold=(0.5, 0.5))
    answers: list[Prediction | None] = [None, *task.predictions(np.array([[0.9, 0.1], [0.8, 0.7]]))]
    first, second, third = cells_of(answers, task.predictions(task.blank)[0])
    assert [list(row["labels"]) for row in (first, second, third)] == [[], ["a"], ["a", "b"]]
    assert all(isinstance(row["labels"], np.ndarray) for row in (first, second, third))
    assert np.isnan([first["a"], first["b"]]).all()
    assert (second["a"], third["b"]) == (0.9, 0.7)


ON_RAY = """
import sys
from pathlib import Path

import pyarrow.parquet
import ray

from zoo.engines.on_ray import Predictor

run, file, out, noted = sys.argv[1:]


class Noting(Predictor):
    def __init__(self, *given, **options):
        (Path(noted) / f"made-{id(self)}").touch()
        super().__init__(*given, **options)

    def __call__(self, batch):
        (Path(noted) / f"batch-{batch['id'][0]}").touch()
        return super().__call__(batch)


ray.init(num_cpus=2, include_dashboard=False)
rows = ray.data.read_parquet(file)
options = {"fn_constructor_kwargs": {"run": run, "on_missing": "keep"}, "batch_format": "pyarrow", "batch_size": 16}
found = rows.map_batches(Noting, compute=ray.data.ActorPoolStrategy(size=1), **options)
pyarrow.parquet.write_table(pyarrow.concat_tables(ray.get(found.to_arrow_refs())).sort_by("id"), out)
"""

ON_SPARK = """
import sys

import pyarrow.parquet
from pyspark.sql import SparkSession

from zoo.engines.on_spark import predictor

run, file, out, noted = sys.argv[1:]
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
told = predictor(run, on_missing="keep")
found = spark.read.parquet(file).repartition(3).withColumn("told", told("text")).select("id", "text", "told.*")
pyarrow.parquet.write_table(found.toArrow().sort_by("id"), out)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("program", "script"), [("ray", ON_RAY), ("pyspark", ON_SPARK)])
def test_a_real_program_says_what_the_run_says(first_run: Path, tmp_path: Path, program: str, script: str) -> None:
    assert importlib.util.find_spec(program), "run pip install -e '.[ray,spark]': found no " + program
    assert shutil.which("java"), "install Debian's package openjdk-17-jre-headless: found no java"
    words = ("truly", "never", "great", "dull", "film", "acting", "boring")
    rows: list[dict[str, Any]] = [{"id": n, "text": f"a {words[n % 7]} {words[n % 5]} film"} for n in range(100)]
    rows[0]["text"] = rows[50]["text"] = None
    file, expected, out, noted = (tmp_path / name for name in ("in.parquet", "one.parquet", "out.parquet", "noted"))
    noted.mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    around = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)}
    around |= {"PYSPARK_PYTHON": sys.executable, "RAY_USAGE_STATS_ENABLED": "0"}
    for command in (
        ["-m", "zoo.predict", str(first_run), "--file", str(file), "--out", str(expected), "--on-missing", "keep"],
        ["-c", script, str(first_run), str(file), str(out), str(noted)],
    ):
        done = subprocess.run([sys.executable, *command], env=around, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    one, other = pyarrow.parquet.read_table(expected), pyarrow.parquet.read_table(out)
    assert other.schema.names == one.schema.names
    assert other.schema.types == one.schema.types
    for name, kind in zip(one.schema.names, one.schema.types, strict=True):
        mine, theirs = one[name].to_pylist(), other[name].to_pylist()
        if kind == pyarrow.float64():
            assert [value is None for value in theirs] == [value is None for value in mine]
            # Their batches are others, and so is the last digit of a float32.
            np.testing.assert_allclose(
                [value or 0.0 for value in theirs], [value or 0.0 for value in mine], rtol=0, atol=1e-6
            )
        else:
            assert theirs == mine
    if program == "ray":
        made = [path.name.partition("-")[0] for path in noted.iterdir()]
        assert (made.count("made"), made.count("batch")) == (1, 7), json.dumps(made)


TRIED = """
name: tried
recipe: quickstart
profile: smoke
overrides: {training.epochs: 3, training.monitor: loss}
search:
  training.optimizer.learning_rate: [1.0e-3, 2.0e-3, 4.0e-3, 0.3, 1.0e+30]
  training.batch_size: [8, 16]
sampler: grid
seeds: 1
"""
"""Its trials 1 and 8 diverge; the last one is worse than the median of the others after an epoch."""


@pytest.mark.slow
def test_ray_tune_tries_what_workers_try(tmp_path: Path) -> None:
    """Four trials at two a time, of which one is killed; then workers go on, and then Ray again."""
    assert importlib.util.find_spec("ray"), "run pip install -e '.[sweep,ray]': found no ray"
    search, out = tmp_path / "tried.yaml", tmp_path / "out"
    search.write_text(TRIED, encoding="utf-8")
    around = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}

    def begun(trials: int, *words: str) -> subprocess.Popen[str]:
        command = ["-m", "zoo.sweep", str(search), "--out", str(out), "--workers", "2", "--trials", str(trials), *words]
        return subprocess.Popen([sys.executable, *command], env=around, stderr=subprocess.PIPE, text=True)

    def of_trial(number: int, name: str) -> str:
        file = out / "trials" / f"{number:04d}" / name
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    with begun(4, "--engine", "ray") as process:
        while '"kind": "epoch"' not in of_trial(0, "history.jsonl"):
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        psutil.Process(json.loads(of_trial(0, "run.json"))["owner"]["pid"]).kill()
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert "its process is gone: it waits again" in said
    found = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert [trial["status"] for trial in found["trials"]] == ["complete", "failed", "complete", "complete"]
    assert [trial["attempts"] for trial in found["trials"]] == [2, 1, 1, 1]
    assert "became nan" in found["trials"][1]["error"]
    assert found["seeds"]["runs"][0]["validation"] == found["best"]["value"]
    assert "test" not in json.loads(of_trial(3, "run.json"))["metrics"]

    for trials, words in ((9, ()), (10, ("--engine", "ray"))):
        with begun(trials, "--resume", *words) as process:
            _, said = process.communicate()
        assert process.returncode == 0, said
    last = json.loads((out / "sweep.json").read_text(encoding="utf-8"))["trials"][9]
    assert (last["status"], last["epochs"]) == ("pruned", 1)
    assert json.loads(of_trial(9, "run.json"))["status"] == "pruned"
    assert not (out / "trials" / "0009" / "checkpoints").exists()

    alone = tmp_path / "alone"
    command = ["-m", "zoo.run", str(out / "trials" / "0003" / "recipe.yaml"), "--out", str(alone)]
    subprocess.run([sys.executable, *command], env=around | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    run = json.loads((alone / "run.json").read_text(encoding="utf-8"))
    assert run["metrics"]["validation"]["loss"] == found["trials"][3]["value"]  # to the last digit
