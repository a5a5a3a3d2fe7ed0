"""The run folder: what is written can be read back, and each refusal leaves the folder as it was."""

import errno
import itertools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tools.storage_calls import failed_at, killed_at
from zoo.errors import OutputError
from zoo.runs import run_folder
from zoo.runs.default_folder import default_folder
from zoo.runs.opening import finished_run, open_run
from zoo.runs.run_folder import RunFolder, create_run
from zoo.tasks.classification import Classification

RECIPE = "name: mine\n"
STEP = {
    "kind": "step",
    "step": 20,
    "epoch": 1,
    "loss": 0.5,
    "accuracy": 0.5,
    "learning_rate": 1e-5,
    "seconds": 1.0,
    "tokens": 9,
}
EPOCH = {"kind": "epoch", "step": 40, "epoch": 1, "train": {}, "validation": {}, "seconds": 2.0, "best": True}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return create_run(tmp_path / "runs" / "mine", RECIPE)


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def fail_with(number: int) -> object:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_run_from_start_to_end(folder: RunFolder) -> None:
    assert folder.run["status"] == "running"
    assert folder.run["owner"]["pid"] == os.getpid()
    with folder:
        folder.append_history(STEP | {"loss": np.float32(0.5)})
        folder.update_run({"metrics": {"train": {"accuracy": 0.75}}})
        folder.update_run({"metrics": {"test": {"accuracy": 0.5}}, "versions": {"keras": "3"}})
        folder.log("an epoch")
    again = open_run(folder.path)
    assert again.recipe_text == RECIPE
    assert again.run["status"] == "done"
    assert again.run["owner"] is None
    assert again.run["metrics"] == {"train": {"accuracy": 0.75}, "test": {"accuracy": 0.5}}
    assert again.run["finished"] >= again.run["started"]
    assert again.history == [STEP]
    assert again.predictions == []
    assert "an epoch\n" in (folder.path / "log.txt").read_text(encoding="utf-8")
    assert names(folder.path) == ["history.jsonl", "log.txt", "recipe.yaml", "run.json"]


def test_predictions_are_read_back_in_order(folder: RunFolder) -> None:
    task = Classification(names=("schlecht", "gut ☺"), threshold=0.8)
    folder.write_predictions(task.rows(["7", "a"], [1, 0], [[0.25, 0.75], [1 / 3, 2 / 3]]))
    assert folder.predictions == [
        {"id": "7", "label": "gut ☺", "prediction": "schlecht", "probabilities": [0.25, 0.75]},
        {"id": "a", "label": "schlecht", "prediction": "schlecht", "probabilities": [0.33333333, 0.66666667]},
    ]


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ({"type": "classification", "names": ["a", "b"]}, {"label": "a", "prediction": "a"}),
        ({"type": "classification", "names": ["a", "b"]}, {"label": "z", "prediction": "a", "probabilities": [1, 0]}),
        ({"type": "classification", "names": ["a", "b"]}, {"label": ["a"], "prediction": "a", "probabilities": [1, 0]}),
        ({"type": "multilabel", "names": ["a"], "threshold": [0.5]}, {"label": {"a": 1}, "prediction": {"a": 1}}),
        ({"type": "regression", "names": ["x"], "mean": [0], "deviation": [1]}, {"label": "a", "prediction": "a"}),
    ],
)
def test_rows_that_are_not_the_tasks_are_damage(folder: RunFolder, task: dict[str, Any], row: dict[str, Any]) -> None:
    folder.update_run({"task": task})
    folder.write_predictions([{"id": "1", **row}])
    with pytest.raises(OutputError, match=r"predictions\.jsonl is damaged, or is not of this run"):
        folder.tested(folder.predictions)


@pytest.mark.parametrize(
    "task",
    [
        {"type": "multilabel", "names": ["a", "b"], "threshold": [0.5]},
        {"type": "regression", "names": ["a", "b"], "mean": [0.0], "deviation": [1.0]},
        {"type": "unknown"},
    ],
)
def test_a_task_that_does_not_go_together_is_damage(folder: RunFolder, task: dict[str, Any]) -> None:
    folder.write_json("run.json", {"task": task})
    with pytest.raises(OutputError, match=r"run\.json is damaged"):
        _ = open_run(folder.path).run


def test_predictions_of_unequal_length_leave_no_file(folder: RunFolder) -> None:
    with pytest.raises(ValueError, match="zip"):
        folder.write_predictions(Classification(names=("a", "b")).rows(["7", "a"], [1], [[0.5, 0.5]]))
    assert names(folder.path) == [".lock", ".owner", "recipe.yaml", "run.json"]


def test_what_json_has_not_is_made_plain(folder: RunFolder) -> None:
    folder.write_json(
        "x.json", {"nan": math.nan, "array": np.arange(2), "path": Path("a"), "tuple": (np.int64(1), math.inf)}
    )
    read = json.loads((folder.path / "x.json").read_text(encoding="utf-8"))
    assert read == {"nan": None, "array": [0, 1], "path": "a", "tuple": [1, None]}


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (SystemExit(143), "interrupted", "143"),
        (ValueError("loss is nan at step 3"), "failed", "loss is nan at step 3"),
    ],
)
def test_a_broken_off_run_says_so(folder: RunFolder, error: BaseException, status: str, text: str) -> None:
    with pytest.raises(type(error)), folder:
        raise error
    assert folder.run["status"] == status
    assert folder.run["error"] == text
    assert folder.run["owner"] is None


def test_a_full_disk_at_the_end_does_not_hide_the_first_error(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", fail_with(errno.ENOSPC))
    with pytest.raises(ValueError, match="first") as caught, folder:
        raise ValueError("first")
    assert any("the disk is full" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "cannot be written"),
        (errno.EIO, "check the disk"),
    ],
)
def test_a_write_that_fails_leaves_the_old_file(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, number: int, text: str
) -> None:
    monkeypatch.setattr(os, "fsync", fail_with(number))
    with pytest.raises(OutputError, match=text) as caught:
        folder.write_text("recipe.yaml", "name: other\n")
    assert str(folder.path) in str(caught.value)
    assert folder.recipe_text == RECIPE
    assert names(folder.path) == [".lock", ".owner", "recipe.yaml", "run.json"]


def test_a_full_disk_at_the_start_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", fail_with(errno.ENOSPC))
    with pytest.raises(OutputError, match="the disk is full"):
        create_run(tmp_path / "runs" / "mine", RECIPE)
    assert names(tmp_path) == []


def test_a_read_only_place_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests may run as root, whom permissions do not stop.
    monkeypatch.setattr(Path, "mkdir", fail_with(errno.EACCES))
    with pytest.raises(OutputError, match="expected a writable folder: choose another --out"):
        create_run(tmp_path / "mine", RECIPE)


def test_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match="is a file, expected a folder"):
        create_run(file, RECIPE)
    with pytest.raises(OutputError, match="lies behind a file"):
        create_run(file / "deeper", RECIPE)
    assert file.read_text(encoding="utf-8") == "x"


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError, match=r"is not empty \(it holds thesis.txt\)"):
        create_run(tmp_path, RECIPE)
    with pytest.raises(OutputError, match="holds files but no run"):
        create_run(tmp_path, RECIPE, resume=True)
    assert names(tmp_path) == ["thesis.txt"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    assert create_run(tmp_path, RECIPE).recipe_text == RECIPE


def test_resume_keeps_the_run_and_clears_what_was_half_written(folder: RunFolder) -> None:
    folder.append_history(STEP)
    folder.finish("interrupted")
    started = folder.run["started"]
    (folder.path / "model").mkdir()
    (folder.path / "model" / f".weights{run_folder.PARTIAL}").write_bytes(b"half")
    (folder.path / "model" / f".step-8{run_folder.PARTIAL}").mkdir()
    (folder.path / "model" / f".step-8{run_folder.PARTIAL}" / f".weights{run_folder.PARTIAL}").write_bytes(b"half")
    again = create_run(folder.path, "name: other\n", resume=True)
    assert again.recipe_text == RECIPE
    assert again.run["status"] == "running"
    assert again.run["started"] == started
    assert again.history == [STEP]
    assert names(folder.path / "model") == []


def test_half_a_last_line_is_left_out(folder: RunFolder) -> None:
    folder.append_history(STEP)
    with (folder.path / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 4')
    assert folder.history == [STEP]


def test_history_is_cut_where_a_resumed_run_goes_on(folder: RunFolder) -> None:
    for row in (STEP, EPOCH, STEP | {"step": 60}):
        folder.append_history(row)
    whole = (folder.path / "history.jsonl").read_bytes()
    assert folder.cut_history(40, 1) == []
    folder.append_history(STEP | {"step": 60})
    assert (folder.path / "history.jsonl").read_bytes() == whole
    # All steps of an epoch are done, and it has not been judged yet.
    assert folder.cut_history(20, 0) == []
    folder.append_history(EPOCH | {"step": 20})
    assert folder.cut_history(20, 0) == []
    assert folder.history == [STEP]


def test_the_history_is_on_the_disk(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(Path(os.readlink(f"/proc/self/fd/{number}")).name))
    folder.sync_history()
    folder.append_history(STEP)
    assert synced == []
    folder.sync_history()
    assert synced == ["history.jsonl", "mine"]


@pytest.mark.parametrize(
    ("damage", "steps", "told"),
    [
        (lambda raw: b"", [], ["no rows of the steps 1 to 40"]),
        (lambda raw: raw[:-20], [20], ["no rows of the steps 21 to 40"]),
        (lambda raw: raw.replace(b"loss", b"\xff\x00", 1), [40], ["left out: 1"]),
        (lambda raw: b"null\n[]\n{}\n", [], ["left out: 3", "no rows of the steps 1 to 40"]),
    ],
)
def test_what_is_lost_of_the_history_is_told(
    folder: RunFolder, damage: Callable[[bytes], bytes], steps: list[int], told: list[str]
) -> None:
    folder.append_history(STEP)
    folder.append_history(EPOCH)
    path = folder.path / "history.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    notes = folder.cut_history(40, 1)
    assert [part in note for part, note in zip(told, notes, strict=True)] == [True] * len(told)
    assert [row["step"] for row in folder.history] == steps


def test_broken_files_are_named(folder: RunFolder) -> None:
    folder.append_history(STEP)
    with (folder.path / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write("nonsense\n")
    with pytest.raises(OutputError, match=r"history.jsonl line 2 is damaged \(Invalid JSON"):
        _ = folder.history
    (folder.path / "recipe.yaml").write_bytes(b"\xff")
    with pytest.raises(OutputError, match=r"recipe.yaml is damaged"):
        _ = folder.recipe_text


def test_default_folders_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda _: "20260101-120000")
    first = default_folder("mine", "jax", tmp_path)
    assert first == tmp_path / "mine" / "jax-20260101-120000"
    first.mkdir(parents=True)
    assert default_folder("mine", "jax", tmp_path).name == "jax-20260101-120000-2"


@pytest.mark.parametrize("asked", ["runs/mine/jax-2", "runs/mine", "runs", "runs/mien/jax-1", "rnus/mine/jax-1", "."])
def test_an_unknown_run_names_near_ones(tmp_path: Path, asked: str) -> None:
    create_run(tmp_path / "runs" / "mine" / "jax-1", RECIPE).finish("done")
    with pytest.raises(OutputError, match=r"expected the folder of a run: did you mean .*jax-1\?") as caught:
        open_run(tmp_path / asked)
    assert caught.value.exit_code == 6


def test_an_unknown_run_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"does not exist, .* train one with `python -m zoo.run RECIPE`"):
        open_run(tmp_path / "deep" / "er" / "mine")


# --- killed at any call -------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [False, True])
def test_a_start_that_is_killed_does_not_stand_in_the_way(tmp_path: Path, resume: bool) -> None:
    """Until there is a recipe.yaml the folder is as good as new; from then on it holds a run to go on with."""
    for number in itertools.count(1):
        path = tmp_path / str(number)
        if not killed_at(number, path, lambda path=path: create_run(path, RECIPE)):
            break
        begun = (path / "recipe.yaml").exists()
        if begun and not resume:
            with pytest.raises(OutputError, match=r"is not empty .*--resume"):
                create_run(path, RECIPE)
            continue
        with create_run(path, RECIPE, resume=resume) as again:
            assert again.recipe_text == RECIPE
        assert names(path) == ["recipe.yaml", "run.json"]
    assert number > 5


def test_an_end_that_is_killed_is_taken_up(tmp_path: Path) -> None:
    """Before `done` is written nothing is missing; afterwards all that is left over goes at the next look."""
    ends = set[str]()

    def run(path: Path) -> RunFolder:
        folder = create_run(path, RECIPE)
        for name in ("step-1", "step-2"):
            (path / "checkpoints" / name).mkdir(parents=True)
            (path / "checkpoints" / name / "weights").write_bytes(b"x")
        return folder

    for number in itertools.count(1):
        path = tmp_path / str(number)
        folder = run(path)
        before = sorted((path / "checkpoints").rglob("*"))
        if not killed_at(number, path, lambda folder=folder: folder.finish("done")):
            break
        folder.release()
        ends.add(folder.run["status"])
        found = finished_run(path)
        if folder.run["status"] == "done":
            assert found is not None
            assert names(path) == ["recipe.yaml", "run.json"]
        else:
            assert found is None
            assert sorted((path / "checkpoints").rglob("*")) == before
    assert ends == {"running", "done"}


def test_an_end_of_which_a_call_fails_is_told(tmp_path: Path) -> None:
    """Down to the removal of the lock, when the run is done: none ends in anything but 0 or 6."""
    codes = list[int]()
    for number in itertools.count(1):
        folder = create_run(tmp_path / str(number), RECIPE)
        (folder.path / "checkpoints" / "step-1").mkdir(parents=True)
        code = failed_at(number, folder.path, lambda folder=folder: folder.finish("done"), "once")
        folder.release()
        if code is None:
            break
        codes.append(code)
        assert finished_run(folder.path) is not None or code == 6
    assert set(codes) == {0, 6}
    assert codes.index(0) < len(codes) - 1 - codes[::-1].index(6), "some of the last calls are told, too"
