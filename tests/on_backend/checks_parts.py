"""Checks of runs of several trainings with other rows each, on the backend of this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import SHORT

import recipes
import zoo
from zoo.audit.__main__ import main as audit
from zoo.errors import OutputError
from zoo.recipe import Recipe
from zoo.report.report import write_report
from zoo.runs.opening import open_run, open_whole
from zoo.runs.run_folder import RunFolder
from zoo.runs.screen import Screen
from zoo.runs.staged import whole_of

pytestmark = [pytest.mark.usefixtures("backend", "unpainted"), pytest.mark.at_times]


@pytest.fixture(autouse=True)
def _one_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the whole: drawing those of the parts takes longer than to train them."""

    def write(folder: RunFolder, *given: Any) -> tuple[Path, tuple[str, ...]]:
        return write_report(folder, *given) if "parts" in folder.run else (folder.write_text("report.html", ""), ())

    monkeypatch.setattr("zoo.run.write_report", write)


class Interrupting(Screen):
    """Presses Ctrl-C at a step of a part, counted over its trainings, and keeps what it is told."""

    def __init__(self, part: int = 0, step: int = 0) -> None:
        super().__init__(quiet=True)
        self.told, self.at, self.part, self.steps = list[tuple[str, str]](), (part, step), 0, 0

    def say(self, topic: str, text: str) -> None:
        self.told.append((topic, text))

    def on_part(self, name: str, number: int, count: int) -> None:
        super().on_part(name, number, count)
        self.part, self.steps = number, 0

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        self.steps += 1
        if (self.part, self.steps) == self.at:
            raise KeyboardInterrupt


def recipe(changes: dict[str, Any]) -> Recipe:
    return recipes.load("quickstart", profile="smoke", overrides={**SHORT, "training.epochs": 2, **changes})


def same_files(one: Path, two: Path, names: tuple[str, ...]) -> None:
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_draws_stopped_in_the_second_and_taken_up(tmp_path: Path) -> None:
    """Each draw has stages here: what is trained may itself be several."""
    asked = recipe(
        {
            "data.few_shot": {"rows": 16, "draws": 2},
            "stages": [{"name": "adapt", "data": {"dataset": "smoke_stars"}, "task": "regression"}, {"name": "films"}],
        }
    )
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    kept = zoo.train(asked, out=whole, progress=False)
    assert kept.path == whole / "draw-1" / "2-films"
    assert whole_of(kept.path) == whole

    adapted = len([row for row in open_run(whole / "draw-1" / "1-adapt").history if row["kind"] == "epoch"])
    assert adapted == 2
    steps = open_run(whole / "draw-1" / "1-adapt").run["training"]["steps"]
    with pytest.raises(KeyboardInterrupt) as stop:
        zoo.train(asked, out=cut, progress=Interrupting(2, steps + 4))
    assert str(cut / "recipe.yaml") in stop.value.__notes__[0]
    run = open_whole(cut / "draw-2").run
    assert run["status"] == "interrupted"
    screen = Interrupting()
    zoo.train(asked, out=cut, resume=True, progress=screen)
    assert [text for topic, text in screen.told if topic in ("draw", "resume")] == [
        "1 of 2",
        "2 of 2",
        "goes on after step 2 of 4",
    ]
    names = ("draw-1/2-films/model/weights.safetensors", "draw-1/2-films/predictions.jsonl")
    same_files(whole, cut, (*names, "draw-2/2-films/predictions.jsonl", "draw-2/2-films/recipe.yaml"))

    run, again = open_whole(whole).run, open_whole(cut).run
    assert run["status"] == "done"
    assert run["pooled"] == again["pooled"]
    values = [open_run(whole / f"draw-{number}").run["metrics"]["test"]["loss"] for number in (1, 2)]
    loss = run["pooled"]["figures"]["loss"]
    assert loss["values"] == values
    assert values[0] != values[1]
    assert (loss["mean"], loss["deviation"]) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    # Of two values Student's t has 12.706 at 97.5%.
    assert loss["high"] - loss["mean"] == pytest.approx(12.7062 * np.std(values, ddof=1) / np.sqrt(2), rel=1e-4)
    assert run["metrics"]["test"]["loss"] == loss["mean"]
    assert kept.pooled == run["pooled"]
    with pytest.raises(OutputError, match="no finished model"):  # of the others the figures are kept alone
        zoo.load_run(whole / "draw-2").predict(["a film"])
    assert zoo.build(recipe({"model.backbone": {"family": "bert", "preset": str(whole)}})) is not None
    assert ">draw 2</a>" in (whole / "report.html").read_text()


def test_folds_stopped_in_the_second_and_taken_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = recipe({"data.folds": 2})
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    kept = zoo.train(asked, out=whole, progress=False)
    assert kept.path == whole / "fold-1"
    with pytest.raises(KeyboardInterrupt):
        zoo.train(asked, out=cut, progress=Interrupting(2, 4))
    zoo.train(asked, out=cut, resume=True, progress=False)
    same_files(whole, cut, ("out_of_fold.jsonl", "fold-1/model/weights.safetensors"))

    run, rows = open_whole(whole).run, open_whole(whole).predictions
    assert run["pooled"] == open_whole(cut).run["pooled"]
    assert run["metrics"] == open_whole(cut).run["metrics"]
    for fold in (1, 2):
        own = [row for row in rows if row["fold"] == fold]
        assert [{key: row[key] for key in row if key != "fold"} for row in own] == open_run(
            whole / f"fold-{fold}"
        ).predictions
    test = run["metrics"]["test"]
    assert len({row["id"] for row in rows}) == len(rows) == test["rows"] == SHORT["data.limit"]["train"]
    right = [row["label"] == row["prediction"] for row in rows]
    assert test["accuracy"] == np.mean(right)
    values = [np.mean([ok for ok, row in zip(right, rows, strict=True) if row["fold"] == fold]) for fold in (1, 2)]
    spread = run["pooled"]["figures"]["accuracy"]
    assert spread == {"mean": np.mean(values), "deviation": pytest.approx(np.std(values, ddof=1)), "values": values}
    # The audit has probabilities of every row, from models that were not trained on it.
    assert audit([str(whole), "--format", "json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert (out["judged"], sum(out["rows"].values())) == (len(rows), len(rows))
    assert "own folds" in out["source"]
    page = (whole / "report.html").read_text()
    assert "Doubts in the data" in page
    assert ">fold 2</a>" in page
    wrong = next(row["id"] for row, ok in zip(rows, right, strict=True) if not ok)
    assert f"<code>{wrong}</code>" in page
