"""`zoo.list runs`: every run folder is a row that says what it is, filtered, sorted and shown by any key of it."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import recipes
from zoo import list as listing
from zoo.data.locking import SILENCE
from zoo.recipe import dump_recipe
from zoo.runs.run_folder import RunFolder, create_run

Capture = pytest.CaptureFixture[str]


@functools.cache
def recipe_text(seed: int) -> str:
    return dump_recipe(recipes.load("quickstart", profile="smoke").override({"seed": seed}))


def run_at(
    path: Path, *, accuracy: float | None = 0.9, seed: int = 0, ended_by: str | None = None, **facts: Any
) -> Path:
    """A run that is done, or of another status; without an accuracy it was not tested."""
    status = facts.pop("status", "done")
    metrics = {} if accuracy is None else {"validation": {"accuracy": accuracy}, "test": {"accuracy": accuracy - 0.1}}
    folder = create_run(path, recipe_text(seed))
    folder.update_run({**({"metrics": metrics} if metrics else {}), "backend": "jax", "seed": seed, **facts})
    folder.finish(status, ended_by)
    return path


def several(path: Path, kind: str, statuses: Mapping[str, str]) -> Path:
    """A run of several trainings, which are not there yet."""
    run_at(path, accuracy=None)
    rows = [{"name": name, "folder": name, "status": status} for name, status in statuses.items()]
    RunFolder(path).update_run({kind: rows})
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The parent of a folder `runs` with a run of each kind, to which no test writes."""
    parent = tmp_path_factory.mktemp("made")
    here = parent / "runs"
    run_at(here / "good-2", accuracy=0.95, seed=2, started="2026-11-02T10:00:00+01:00", profile="cpu")
    run_at(here / "good-10", accuracy=0.8, seed=10, started="2026-11-01T10:00:00+01:00")
    run_at(here / "failed", accuracy=None, status="failed", ended_by="step 3: the loss is nan")
    killed = run_at(here / "killed", accuracy=None, started="2026-11-03T10:00:00+01:00")
    RunFolder(killed).update_run({"status": "running", "owner": {"pid": 2**22, "host": "elsewhere"}})
    (run_at(here / "damaged") / "run.json").write_text('{"status": "do')
    going_on = create_run(here / "running", recipe_text(0))
    epoch = {"kind": "epoch", "step": 4, "epoch": 1, "train": {}, "validation": {"accuracy": 0.85}, "seconds": 2.0}
    going_on.append_history(epoch | {"best": True})
    going_on.append_history(epoch | {"epoch": 2, "best": False, "validation": {"accuracy": 0.5}})
    yield parent
    going_on.release()


@pytest.fixture
def runs(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default folder, with the runs good-2, good-10, failed, killed, running and damaged."""
    monkeypatch.chdir(made)
    return Path("runs")


def listed(capsys: Capture, *arguments: str) -> dict[str, dict[str, Any]]:
    """The rows by the name of their folder, in order."""
    assert listing.main(["runs", *arguments, "--format", "json"]) == 0
    return {Path(row["folder"]).name: row for row in json.loads(capsys.readouterr().out)["runs"]}


@pytest.mark.usefixtures("runs")
def test_every_run_is_a_row_that_says_what_it_is(capsys: Capture) -> None:
    found = listed(capsys)
    assert {name: row["status"] for name, row in found.items()} == {
        "damaged": "damaged",
        "failed": "failed",
        "good-2": "done",
        "good-10": "done",
        "killed": "killed",
        "running": "running",
    }
    good = found["good-2"]
    about = [good[key] for key in ("recipe", "profile", "backend", "figure")]
    assert about == ["quickstart", "cpu", "jax", "accuracy"]
    assert (good["validation"], good["test"]) == (0.95, pytest.approx(0.85))
    assert (found["running"]["validation"], found["running"]["test"]) == (0.85, None)  # of its best epoch so far
    assert found["failed"]["error"] == "step 3: the loss is nan"
    assert "damaged/run.json is damaged" in found["damaged"]["error"]


def test_people_see_the_same_and_are_warned(runs: Path, capsys: Capture) -> None:
    assert listing.main(["runs", str(runs)]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:2] for line in out.splitlines()[2:8]] == [
        [f"runs/{name}", status]
        for name, status in [
            ("damaged", "damaged"),
            ("failed", "failed"),
            ("good-2", "done"),
            ("good-10", "done"),
            ("killed", "killed"),
            ("running", "running"),
        ]
    ]
    assert "95.0%" in out
    assert " precision " not in out  # no run has one
    assert out.endswith("\n6 of 6 runs in runs.\n")
    assert err.count("warning: ") == 1
    assert "runs/damaged/run.json is damaged" in err


def test_a_run_is_killed_when_its_owner_is_silent(tmp_path: Path, capsys: Capture) -> None:
    folder = create_run(tmp_path / "mine", recipe_text(0))
    arguments = [str(tmp_path), "--columns", "folder,status,run.status"]
    assert listed(capsys, *arguments)["mine"]["status"] == "running"
    long_ago = time.time() - 2 * SILENCE
    os.utime(folder.path / ".owner", (long_ago, long_ago))
    row = listed(capsys, *arguments)["mine"]
    assert (row["status"], row["run.status"]) == ("killed", "running")
    folder.release()


def test_a_run_without_one_of_its_two_files_is_listed(tmp_path: Path, capsys: Capture) -> None:
    (run_at(tmp_path / "one") / "run.json").unlink()
    RunFolder(tmp_path / "one").log("an epoch")
    (run_at(tmp_path / "other") / "recipe.yaml").unlink()
    (run_at(tmp_path / "none") / "run.json").unlink()  # as a folder of a search, or of recipes
    found = listed(capsys, str(tmp_path))
    assert list(found) == ["one", "other"]
    assert (found["one"]["status"], found["one"]["recipe"]) == ("damaged", "quickstart")
    assert (found["other"]["status"], found["other"]["recipe"]) == ("done", None)


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("conditions", "names"),
    [
        (["status=done"], ["good-2", "good-10"]),
        (["status!=done"], ["damaged", "failed", "killed", "running"]),
        (["validation>0.8"], ["good-2", "running"]),
        (["validation>=0.8", "status=done"], ["good-2", "good-10"]),
        (["metrics.test.accuracy<.75"], ["good-10"]),
        (["metrics.test.accuracy <= 0.85", "seed=2"], ["good-2"]),
        (["profile=null", "test!=null"], ["good-10"]),
        (["started>2026-11-01T12", "started<2026-11-04"], ["good-2", "killed"]),
        (
            ["recipe.training.optimizer.learning_rate=1e-3", "recipe.seed!=2"],
            ["damaged", "failed", "good-10", "killed", "running"],
        ),
        (["seed=two"], []),
        (["recipe.data.deduplicate=true", "run.seed=10"], ["good-10"]),
    ],
)
def test_where(conditions: list[str], names: list[str], capsys: Capture) -> None:
    assert list(listed(capsys, *(word for text in conditions for word in ("--where", text)))) == names


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("test", ["good-10", "good-2", "damaged", "failed", "killed", "running"]),
        ("-test", ["good-2", "good-10", "damaged", "failed", "killed", "running"]),
        ("-status", ["running", "killed", "failed", "good-2", "good-10", "damaged"]),
    ],
)
def test_sort_puts_last_what_has_no_value(key: str, names: list[str], capsys: Capture) -> None:
    assert list(listed(capsys, "--sort", key)) == names


def test_a_key_that_both_files_have_is_that_of_run_json(tmp_path: Path, capsys: Capture) -> None:
    run_at(tmp_path / "mine", training={"epochs": 1})
    keys = "training.epochs", "recipe.training.epochs"
    row = listed(capsys, str(tmp_path), "--columns", ",".join(("folder", *keys)))["mine"]
    assert [row[key] for key in keys] == [1, 4]
    assert "training.epochs" in listed(capsys, str(tmp_path), "--sort", "training.epochs")["mine"]


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["runs", "--where", "status"], 2, 'got "status", expected KEY=VALUE'),
        (["runs", "--where", "metrics.test.acuracy>0"], 2, "did you mean metrics.test.accuracy?"),
        (["runs", "--where", "test>good"], 2, "expected a number"),
        (["runs", "--sort", "-metrics.test"], 2, '--sort: got "metrics.test", expected one of folder'),
        (["runs", "--columns", "folder,"], 2, '--columns: got ""'),
        (["runs", "elsewhere"], 6, "elsewhere does not exist"),
        (["runs", "runs/failed/run.json"], 6, "is a file"),
        (["recipes", "--sort", "name"], 2, "--sort: got it with recipes"),
        (["--format", "csv"], 2, "--format csv: got it with no kind"),
        (["datasets", "runs"], 2, "FOLDER: got it with datasets"),
    ],
)
def test_refused(arguments: list[str], code: int, told: str, capsys: Capture) -> None:
    assert listing.main(arguments) == code
    assert told in capsys.readouterr().err


def test_no_runs_are_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert listing.main(["runs", "--where", "test>0.5", "--sort", "seed"]) == 0
    assert "0 of 0 runs in runs." in capsys.readouterr().out
    assert listed(capsys) == {}


def test_parts_stand_in_their_whole_or_after_it(tmp_path: Path, capsys: Capture) -> None:
    folds = several(tmp_path / "folds", "parts", {"fold-1": "done", "fold-2": "done", "fold-10": "interrupted"})
    for fold in (1, 2, 10):
        run_at(folds / f"fold-{fold}", accuracy=0.8, timing={"total_seconds": 2.0})
    stages = several(tmp_path / "stages", "stages", {"1-adapt": "done", "2-tune": "done"})
    run_at(stages / "1-adapt", accuracy=0.5, timing={"total_seconds": 2.0})
    run_at(stages / "2-tune", accuracy=0.9, timing={"total_seconds": 3.0}, parameters={"all": 7, "trained": 5})
    run_at(stages / "by-itself")
    wholes = listed(capsys, str(tmp_path))
    assert list(wholes) == ["folds", "stages", "by-itself"]
    assert wholes["folds"]["trainings"] == "2 of 3 folds"
    assert (wholes["folds"]["validation"], wholes["folds"]["seconds"]) == (None, None)  # not pooled yet
    told = [wholes["stages"][key] for key in ("trainings", "validation", "seconds", "parameters", "status")]
    assert told == ["2 of 2 stages", 0.9, 5.0, 7, "done"]
    rows = listed(capsys, str(tmp_path), "--parts")
    assert list(rows) == ["folds", "fold-1", "fold-2", "fold-10", "stages", "1-adapt", "2-tune", "by-itself"]
    assert (rows["fold-10"]["whole"], rows["by-itself"]["whole"]) == (str(folds), None)
    RunFolder(stages).update_run({"stages": [{"name": "more", "folder": "3-more", "status": "waiting"}]})
    assert listed(capsys, str(stages))["stages"]["test"] is None  # it has not begun
    (folds / "run.json").write_text("{")
    assert {"fold-1", "fold-2", "fold-10"} <= listed(capsys, str(tmp_path)).keys()
    assert list(listed(capsys, str(folds / "fold-1"))) == ["fold-1"]


def test_each_folder_is_listed_once_and_links_are_followed(tmp_path: Path, capsys: Capture) -> None:
    run_at(tmp_path / "far" / "linked")
    run_at(tmp_path / "runs" / "own")
    (tmp_path / "runs" / "circle").symlink_to(tmp_path / "runs")
    (tmp_path / "runs" / "far").symlink_to(tmp_path / "far")
    assert list(listed(capsys, str(tmp_path / "runs"), str(tmp_path / "runs" / "own"))) == ["linked", "own"]


def test_what_steers_a_terminal_or_a_spreadsheet_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    run_at(Path("=1+1\x1b[31m\u202e"), device="-2+3\x9b", platform='a "b", c', timing={"total_seconds": 1.5})
    run_at(Path("[bold]x[/bold]"), accuracy=-0.5)
    assert listing.main(["runs", "."]) == 0
    out = capsys.readouterr().out
    assert "=1+1\\x1b[31m\\u202e " in out
    assert "[bold]x[/bold] " in out
    assert "\x1b" not in out
    arguments = ["runs", ".", "--columns", "folder,device,platform,validation,seconds", "--format", "csv"]
    assert listing.main(arguments) == 0
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[1] == ["'=1+1\x1b[31m\u202e", "'-2+3\x9b", 'a "b", c', "0.9", "1.5"]
    assert rows[2][3] == "-0.5"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert listing.main(arguments) == 0
    assert "'=1+1\\x1b[31m\\u202e,'-2+3\\x9b," in capsys.readouterr().out


def test_a_name_that_is_not_unicode_is_listed(tmp_path: Path, capsys: Capture) -> None:
    run_at(Path(os.fsdecode(os.fsencode(tmp_path / "run") + b"\xff")))
    for form in ("text", "csv", "json"):
        assert listing.main(["runs", str(tmp_path), "--format", form]) == 0
        assert "run\\udcff" in capsys.readouterr().out.replace("\udcff", "\\udcff")


def test_a_real_run(first_run: Path, capsys: Capture) -> None:
    run = RunFolder(first_run).run
    row = listed(capsys, str(first_run))["first"]
    assert row["test"] == run["metrics"]["test"]["accuracy"]
    assert row["seconds"] == run["timing"]["total_seconds"]
    assert row["parameters"] == run["parameters"]["all"] == run["parameters"]["trained"] > 10**5
