"""Figures for other programs: TensorBoard's files, and events as JSON lines."""

from __future__ import annotations

import contextlib
import json
import struct
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import recipes
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.recipe import dump_recipe, load_recipe
from zoo.runs import tracking
from zoo.runs.events import Events
from zoo.runs.run_folder import RunFolder, create_run
from zoo.runs.tracking import logging_to, refuse_loggers, scalars

STEP = {
    "kind": "step",
    "step": 20,
    "epoch": 1,
    "loss": 0.75,
    "accuracy": 0.5,
    "learning_rate": 1e-3,
    "seconds": 2.0,
    "tokens": 1000,
}
EPOCH = {
    "kind": "epoch",
    "step": 30,
    "epoch": 1,
    "train": {"loss": 0.5, "accuracy": 0.625},
    "validation": {"loss": 0.25, "f1": 0.875, "roc_auc": None},
    "seconds": 3.0,
    "best": True,
}


def written(folder: Path) -> dict[tuple[str, int], float]:
    """(tag, step) -> value of all event files of a folder, read by the format's own description (TFRecord)."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.util.tensor_util import make_ndarray

    found: dict[tuple[str, int], float] = {}
    for file in folder.glob("events.out.tfevents.*"):
        content, place = file.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            place += 12 + length + 4
            for value in event.summary.value:
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = float(make_ndarray(value.tensor))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    recipe = load_recipe(recipes.path("quickstart"), profile="smoke")
    with create_run(tmp_path / "run", dump_recipe(recipe)) as folder:
        yield folder


def test_rows_become_scalars() -> None:
    assert scalars(STEP) == {
        "train/loss": 0.75,
        "train/accuracy": 0.5,
        "train/learning_rate": 1e-3,
        "train/tokens_per_second": 500.0,
    }
    assert scalars(EPOCH) == {
        "train_epoch/loss": 0.5,
        "train_epoch/accuracy": 0.625,
        "train_epoch/seconds": 3.0,
        "validation/loss": 0.25,
        "validation/f1": 0.875,
    }


def test_tensorboard_holds_the_rows_as_they_come(folder: RunFolder) -> None:
    events = folder.path / "tensorboard"
    with logging_to(["tensorboard", "tensorboard"], folder) as loggers:
        (logger,) = loggers
        logger.begin([])
        logger.row(STEP)
        assert written(events)["train/tokens_per_second", 20] == 500.0  # while the run goes on
        logger.row(EPOCH)
        logger.end(30, {"accuracy": 0.75})
    found = written(events)
    assert {tag for tag, _ in found} == {*scalars(STEP), *scalars(EPOCH), "test/accuracy"}
    assert found["validation/f1", 30] == 0.875
    assert found["test/accuracy", 30] == 0.75


def test_a_run_that_goes_on_writes_no_step_twice(folder: RunFolder) -> None:
    events = folder.path / "tensorboard"
    with logging_to(["tensorboard"], folder) as (logger,):
        logger.begin([])
        for row in (STEP, EPOCH, STEP | {"step": 40, "loss": 9.0}):
            logger.row(row)
    assert written(events)["train/loss", 40] == 9.0
    (events / "mine.txt").write_text("kept")
    with logging_to(["tensorboard"], folder) as (logger,):
        logger.begin([STEP, EPOCH])  # what history keeps
        logger.row(STEP | {"step": 40, "loss": 0.375})
    found = written(events)  # which notices what stands twice
    assert found["train/loss", 40] == 0.375
    assert found["train/loss", 20] == 0.75
    assert (events / "mine.txt").exists()


def tracked(folder: Path) -> list[dict[str, Any]]:
    """The runs in a folder of MLflow's, the oldest first, by what it documents of its files."""
    found = []
    for meta in folder.glob("*/*/meta.yaml"):
        run, keys = meta.parent, yaml.safe_load(meta.read_text())
        metrics = {
            (file.relative_to(run / "metrics").as_posix(), int(line.split()[2])): float(line.split()[1])
            for file in (run / "metrics").rglob("*")
            if file.is_file()
            for line in file.read_text().splitlines()
        }
        params = {file.name: file.read_text() for file in (run / "params").iterdir()}
        tags = {file.name: file.read_text() for file in (run / "tags").iterdir()}
        experiment = yaml.safe_load((run.parent / "meta.yaml").read_text())["name"]
        found.append({"experiment": experiment, "params": params, "metrics": metrics, **keys, "tags": tags})
    return sorted(found, key=lambda run: run["start_time"])


def test_mlflow_holds_the_recipe_and_the_rows(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with logging_to(["mlflow"], folder) as (logger,):
        logger.begin([])
        logger.row(STEP)
        logger.row(EPOCH)
        (run,) = tracked(folder.path / "mlruns")
        assert run["metrics"]["train/tokens_per_second", 20] == 500.0  # while the run goes on
        logger.end(30, {"accuracy": 0.75, "roc_auc": float("nan")})
    (run,) = tracked(folder.path / "mlruns")
    assert {tag for tag, _ in run["metrics"]} == {*scalars(STEP), *scalars(EPOCH), "test/accuracy"}
    assert run["metrics"]["validation/f1", 30] == 0.875
    assert (run["experiment"], run["run_name"], run["status"]) == ("quickstart", "run", RunStatus.FINISHED)
    assert run["params"]["training.optimizer.learning_rate"] == "0.001"
    assert run["params"]["model.backbone.family"] == "bert"


@pytest.mark.parametrize(("error", "status"), [(ValueError(), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_mlflow_is_told_how_a_run_ended(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with contextlib.suppress(ValueError, KeyboardInterrupt), logging_to(["mlflow"], folder) as (logger,):
        logger.begin([])
        logger.row(STEP)
        raise error
    with logging_to(["mlflow"], folder) as (logger,):
        logger.begin([STEP])
    first, second = tracked(folder.path / "mlruns")
    assert first["status"] == getattr(RunStatus, status)
    assert second["metrics"] == first["metrics"]


def test_a_tracking_server_that_is_not_there(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:password@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(OutputError, match="MLflow does not take the figures") as refusal:
        begin(folder)
    assert "password" not in "".join(traceback.format_exception(refusal.value))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(OutputError, match="Connection refused"):
        begin(folder)


def test_runs_of_a_search_are_a_family(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    recipe = load_recipe(folder.path / "recipe.yaml")
    family = tracking.Family(folder.path, recipe, "search", None)
    for name, value in family.environment.items():
        monkeypatch.setenv(name, value)
    begin(folder)
    tracking.Family(folder.path, recipe, "search", family.run).end({"best/accuracy": 0.75}, {"seed": 3})
    runs = {run["run_name"]: run for run in tracked(folder.path / "mlruns")}
    assert {*runs} == {"search", "run"}
    assert runs["run"]["tags"]["mlflow.parentRunId"] == family.run
    assert (runs["search"]["tags"]["best.seed"], runs["search"]["status"]) == ("3", RunStatus.FINISHED)


def begin(folder: RunFolder) -> None:
    with logging_to(["mlflow"], folder) as (logger,):
        logger.begin([])


class RunStatus:
    """As MLflow writes it."""

    FINISHED, FAILED, KILLED = 3, 4, 5


def test_nothing_is_logged_unless_asked(folder: RunFolder) -> None:
    with logging_to([], folder) as loggers:
        assert loggers == []
    assert not (folder.path / "tensorboard").exists()


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_loggers(["tensorboard"])
    with pytest.raises(RecipeError, match="did you mean tensorboard"):
        refuse_loggers(["tensorbord"])
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=r"not installed.*pip install 'text-zoo\[tensorboard\]'"):
        refuse_loggers(["tensorboard"])


def test_events(capsys: pytest.CaptureFixture[str]) -> None:
    events = Events()
    events.end("done")  # of a run that had nothing left to do
    events.say("data", "100 rows")
    events.say("warning", "few rows")
    events.on_begin(0, 30)
    events.on_row(STEP | {"loss": float("nan")})
    events.on_row(EPOCH | {"validation": {"loss": 0.25, "accuracy": 0.5, "f1": 0.875}})
    events.on_note("a note")
    events.end("done")
    told = capsys.readouterr()
    lines: list[dict[str, Any]] = [json.loads(line) for line in told.out.splitlines()]
    assert [line["kind"] for line in lines] == ["note", "begin", "row", "epoch", "note", "end"]
    assert lines[0]["text"] == "few rows"
    assert lines[1] == {"kind": "begin", "step": 0, "steps": 30}
    assert lines[2] == STEP | {"kind": "row", "loss": None}
    assert lines[3]["validation"]["f1"] == 0.875
    assert lines[5] == {"kind": "end", "status": "done"}
    assert "few rows" in told.err


def test_a_reader_that_goes_away_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    class Closed:
        def write(self, text: str) -> int:
            tried.append(text)
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    events = Events()
    monkeypatch.setattr("sys.stdout", Closed())
    events.on_begin(0, 30)
    events.on_row(STEP)
    assert len(tried) == 1  # and no more is told
