"""`python -m zoo.export`, as a user calls it; the figures of a real model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import recipes
import zoo

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(first_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, to export into."""
    return shutil.copytree(first_run, tmp_path_factory.mktemp("run") / "first")


def called(module: str, *arguments: object) -> str:
    """stdout of `python -m MODULE`, which has to end well."""
    given = {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | given,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


ONE_BY_ONE = """
import contextlib, io, json, sys
from zoo.export.__main__ import main
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(words)
    print(json.dumps([code, told.getvalue(), err.getvalue()]))
"""


def test_for_transformers_as_json_and_again(run: Path, tmp_path: Path) -> None:
    """Three calls of the command, in one process that no test has touched."""
    onnx = [str(run), "--to", "onnx"]
    calls = [[str(run), "--to", "hf", "--out", str(tmp_path / "hf")], [*onnx, "--format", "json"], onnx]
    given = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ONE_BY_ONE, json.dumps(calls)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=given)
    assert (done.returncode, done.stderr) == (0, "")
    for_transformers, as_json, again = map(json.loads, done.stdout.splitlines())

    code, told, err = for_transformers
    assert (code, err) == (0, "")
    assert "checked by transformers" in told
    assert " on 32 test rows: the largest difference of a value is " in told
    assert told.endswith(f"{tmp_path / 'hf'}\n")
    assert sorted(os.listdir(tmp_path)) == ["hf"]
    card = (tmp_path / "hf" / "README.md").read_text()
    assert "library_name: transformers" in card
    assert 'pipeline("text-classification"' in card

    code, told, err = as_json
    assert (code, err) == (0, "")
    found = json.loads(told)
    assert found["path"] == str(run / "export" / "onnx")
    assert found["difference"] < 1e-4
    assert found["checked_by"].startswith("onnxruntime ")

    code, told, err = again
    assert (code, told, "Traceback" in err) == (6, "", False)
    assert "export/onnx is not empty (it holds config.json, model.onnx, tokenizer.json, tokenizer_config.json)" in err
    assert os.listdir(run / "export") == ["onnx"]


@pytest.mark.slow
def test_the_real_minilm(real_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained for a moment on real reviews; 500 others are classified by each program."""
    monkeypatch.setenv("ZOO_CACHE", str(real_cache))
    changes = {"data.limit": {"train": 2000, "test": 500}, "training.epochs": 1}
    (tmp_path / "recipe.yaml").write_text(zoo_recipe(changes), encoding="utf-8")
    folder = tmp_path / "run"
    called("zoo.run", tmp_path / "recipe.yaml", "--out", folder)
    found = {}
    for to in ("hf", "onnx", "onnx_int8", "keras", "keras_hub"):
        found[to] = json.loads(called("zoo.export", folder, "--to", to, "--format", "json"))
        print(to, {key: found[to][key] for key in ("rows", "difference", "agreement", "speeds", "warnings")})
    for to, done in found.items():
        assert done["rows_from"] == "test rows"
        assert done["rows"] == (500 if to == "onnx_int8" else 32)
        assert done["difference"] < (0.2 if to == "onnx_int8" else 1e-4)
    assert found["onnx_int8"]["agreement"] >= 0.98
    assert found["onnx_int8"]["speeds"]["int8"] > 0
    assert zoo.load_run(folder).metrics["test"]["accuracy"] > 0.7


def zoo_recipe(changes: dict[str, object]) -> str:
    """The text of the quickstart with some keys changed."""
    from zoo.recipe import dump_recipe

    return dump_recipe(recipes.load("quickstart", overrides=changes))
