"""`python -m zoo.run`, as a user calls it: files, exit codes, messages."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import zoo
import zoo.run

ROOT = Path(__file__).parents[1]
FILES = [
    "README.md",
    "history.jsonl",
    "log.txt",
    "model",
    "plots",
    "predictions.jsonl",
    "recipe.yaml",
    "report.html",
    "run.json",
]


def command(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """`zoo.run`, begun, on torch: the quickest to start with a nano model."""
    given = {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "zoo.run", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | given,
    )


def finished(*arguments: object, **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    process = command(*arguments, **environment)
    out, err = process.communicate()
    return process.returncode, out, err


def test_quickstart_smoke_and_how_a_finished_run_is_told(
    first_run_and_told: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, told, err = first_run_and_told
    assert told == f"{out}\n"
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert sorted(path.name for path in (out / "model").iterdir()) == [
        "manifest.json",
        "model.json",
        "tokenizer.json",
        "weights.safetensors",
    ]
    assert not list(out.rglob(".*"))
    for part in ("torch (KERAS_BACKEND)", "positive", "accuracy", "report.html"):
        assert part in err
    assert "Traceback" not in err
    before = (out / "run.json").read_bytes()

    # Nothing is left to do: it is not even looked at whether there is a backend.
    monkeypatch.setenv("KERAS_BACKEND", "none")
    assert zoo.run.main(["quickstart", "--profile", "smoke", "--out", str(out), "--resume", "--format", "json"]) == 0
    told, err = capsys.readouterr()
    assert "holds a finished run" in err
    shown = json.loads(told)
    assert (shown["run"], shown["status"], shown["backend"]) == (str(out), "done", "torch")
    assert shown["metrics"] == zoo.load_run(out).folder.run["metrics"]
    assert (out / "run.json").read_bytes() == before


def assert_events(told: str, err: str, out: Path) -> None:
    """What `--format json --log tensorboard` says while a run goes on, and leaves."""
    *events, last = [json.loads(line) for line in told.splitlines()]
    events = [event for event in events if event["kind"] != "note"]  # of rows so few
    run = zoo.load_run(out)
    assert last == {"run": str(out), **run.folder.run}
    kinds = [event["kind"] for event in events]
    assert (kinds[0], kinds[-1]) == ("begin", "end")
    shown = [event | {"kind": "step" if event["kind"] == "row" else "epoch"} for event in events[1:-1]]
    assert shown == run.history
    # A bar is for a terminal; a log of CI gets lines.
    assert "\r" not in err
    assert "\x1b" not in err
    (written,) = (out / "tensorboard").iterdir()
    for tag in ("train/loss", "train/learning_rate", "train/tokens_per_second", "validation/f1", "test/accuracy"):
        assert tag.encode() in written.read_bytes()


def write_own_data(folder: Path) -> Path:
    """Three classes, 40 rows each, other column names, one file; and its recipe."""
    words = {"gut": "great fine lovely", "mittel": "average plain usual", "schlecht": "bad poor awful"}
    with (folder / "mine.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["nr", "Stimme", "Bemerkung"])
        for number in range(120):
            label = list(words)[number % 3]
            word = words[label].split()[number // 3 % 3]
            writer.writerow([number, label, f'Nr. {number}, it was {word}, "truly" {word}, naïve'])
    recipe: dict[str, Any] = {
        "name": "mine",
        "data": {"files": {"train": "mine.csv", "text": "Bemerkung", "label": "Stimme"}},
        "tokens": {"max_length": 32},
        "model": {
            "backbone": {
                "family": "distilbert",
                "num_layers": 1,
                "num_heads": 2,
                "hidden_dim": 16,
                "intermediate_dim": 32,
                "vocabulary": "nano_uncased",
            }
        },
        "training": {"epochs": 2, "batch_size": 8, "optimizer": {"type": "adamw", "learning_rate": 0.005}},
    }
    path = folder / "my.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def test_a_csv_of_ones_own_live_events_and_tensorboard(tmp_path: Path) -> None:
    """No test split, three string labels: the split that is made stands in the run's recipe, which gives it again."""
    recipe = write_own_data(tmp_path)
    one, two = tmp_path / "one", tmp_path / "two"
    code, _, err = finished(recipe, "--out", one)
    assert code == 0, err
    first = zoo.load_run(one)
    written = yaml.safe_load((one / "recipe.yaml").read_text(encoding="utf-8"))
    assert "label_names" not in written["data"]["files"], "what was found in the rows is not the recipe's"
    assert first.folder.run["dataset"]["label_names"] == ["gut", "mittel", "schlecht"]
    assert written["data"]["test"]["fraction"] > 0
    assert written["data"]["validation"]["fraction"] > 0
    rows = first.folder.run["dataset"]["rows"]
    assert sum(rows.values()) == 120
    assert min(rows.values()) >= 9
    assert len(first.folder.predictions) == rows["test"]
    assert {row["label"] for row in first.folder.predictions} == {"gut", "mittel", "schlecht"}

    live = ("--log", "tensorboard", "--format", "json")
    code, told, err = finished(one / "recipe.yaml", "--out", two, *live)
    assert code == 0, err
    assert_events(told, err, two)
    second = zoo.load_run(two)
    assert second.metrics == first.metrics
    assert (two / "predictions.jsonl").read_bytes() == (one / "predictions.jsonl").read_bytes()
    assert (two / "recipe.yaml").read_bytes() == (one / "recipe.yaml").read_bytes()
    assert second.folder.run["fingerprint"] == first.folder.run["fingerprint"]
    assert zoo.run.main([str(recipe), "--out", str(one), "--resume"]) == 0


def test_nothing_cached_and_no_network(tmp_path: Path) -> None:
    """The full recipe where no hub answers: in seconds, and with what helps."""
    cache, nowhere = tmp_path / "cache", "http://127.0.0.1:9"
    begun = time.monotonic()
    code, told, err = finished(
        "imdb_bert",
        "--out",
        tmp_path / "run",
        ZOO_CACHE=str(cache),
        HF_ENDPOINT=nowhere,
        KAGGLE_API_ENDPOINT="127.0.0.1:9",
        KAGGLE_API_ENVIRONMENT="LOCALHOST",
        http_proxy=nowhere,
        https_proxy=nowhere,
        HTTP_PROXY=nowhere,
        HTTPS_PROXY=nowhere,
        no_proxy="",
        NO_PROXY="",
        HOME=str(tmp_path),
    )
    assert time.monotonic() - begun < 30
    assert (code, told) == (4, "")
    for part in ("imdb", "bert_base_en_uncased", str(cache), "python -m zoo.fetch", "--profile cpu", "--profile smoke"):
        assert part in err, err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_terminated_then_resumed_with_another_recipe(tmp_path: Path) -> None:
    out = tmp_path / "it's a run"
    call = ("quickstart", "--profile", "smoke", "--set", "training.epochs=2000", "--out", out, "--log", "tensorboard")
    process = command(*call)
    while process.poll() is None and not list(out.glob("checkpoints/step-*")):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    try:
        told, err = process.communicate(timeout=120)
    finally:
        process.kill()  # one that goes on would disturb the tests after this one
        process.communicate()
    assert (process.returncode, told) == (143, ""), err
    *_, said, told = err.splitlines()
    assert said == "terminated"
    assert list(out.glob("checkpoints/step-*/manifest.json"))
    # Between two epochs there is nothing to save, nor to say of it.
    for step in re.findall(r"stopping: the run is saved after step (\d+)$", err, re.MULTILINE):
        assert (out / "checkpoints" / f"step-{int(step):08d}-within" / "manifest.json").exists()
    lead, colon, again = told.partition(": ")
    assert (lead, colon) == ("go on with", ": ")
    backend, _, *parts = shlex.split(again)
    options = ["--out", str(out), "--resume", "--log", "tensorboard"]
    assert (backend, parts) == ("KERAS_BACKEND=torch", ["-m", "zoo.run", str(out / "recipe.yaml"), *options])
    run = zoo.load_run(out)
    assert run.folder.run["status"] == "interrupted"
    assert run.folder.run["owner"] is None
    assert not list(out.rglob(".*"))

    # As it was told, but for the change.
    call = ["sh", "-c", f"{again} --set training.batch_size=4"]
    given = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT, env=given)
    assert (done.returncode, done.stdout) == (6, "")
    assert "training.batch_size: the run was begun with 16, now it is 4" in done.stderr
    assert "Traceback" not in done.stderr


def test_stopped_anywhere_and_taken_up() -> None:
    """By a kill or a disk that fails, at some of a run's storage calls; the tool takes them all."""
    script = [sys.executable, str(ROOT / "tools" / "failed_calls.py"), "--stride", "293"]
    given = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, capture_output=True, text=True, check=False, env=given)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {way for way, *_ in found} == {"kill", "once", "full"}
    assert {code for _, _, code, *_ in found} >= {6, 9}
    assert [line for line in found if line[3:] != [0, []]] == []


def test_the_public_names_are_what_they_say() -> None:
    """No module hides a public function of its name, also after it was imported."""
    code = "import zoo\nfor _ in range(2):\n    print(*(f'{n}:{getattr(zoo, n).__name__}' for n in zoo.__all__))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    first, second = done.stdout.splitlines()
    assert first == second == " ".join(f"{name}:{name}" for name in zoo.__all__)
