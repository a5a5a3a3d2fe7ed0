"""Checks of runs that begin with what another run has learned, on the backend of this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import SHORT

import recipes
import zoo
from zoo import predict
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.finished import Run
from zoo.models import weights
from zoo.recipe import Recipe
from zoo.runs.resuming import resuming
from zoo.runs.run_folder import open_run
from zoo.runs.screen import Screen

pytestmark = pytest.mark.usefixtures("backend")


def after(run: Run, changes: Mapping[str, Any] | None = None) -> Recipe:
    """quickstart's `smoke`, which begins with the backbone of a run."""
    begun = {"model.backbone": {"family": "bert", "preset": str(run.path)}}
    return recipes.load("quickstart", profile="smoke", overrides={**SHORT, **begun, **(changes or {})})


class TestRunAsPreset:
    def test_backbone_and_vocabulary_are_those_of_the_run(self, whole: Run) -> None:
        saved = weights.read_safetensors(whole.path / "model" / "weights.safetensors")
        model = zoo.build(after(whole, {"seed": 7}))
        found = {variable.path: weights.to_numpy(variable) for variable in weights.parameters(model)}
        assert found.keys() == saved.keys()
        others = {path for path in found if not np.array_equal(found[path], saved[path])}
        assert others == {"logits/kernel", "logits/bias"}
        with pytest.raises(RecipeError, match=r"tokens\.max_length: got 513, but the backbone has 512 positions"):
            zoo.build(after(whole, {"tokens.max_length": 513}))

    def test_the_head_too(self, whole: Run, tmp_path: Path) -> None:
        saved = weights.read_safetensors(whole.path / "model" / "weights.safetensors")
        asked = {"model.head": {"type": "classifier", "init": "preset"}}
        model = zoo.build(after(whole, asked))
        for variable in weights.parameters(model):
            np.testing.assert_array_equal(weights.to_numpy(variable), saved[variable.path], err_msg=variable.path)
        (tmp_path / "rows.csv").write_text("text,label\n" + "a film,positive\na play,negative\n" * 20)
        turned = {"train": str(tmp_path / "rows.csv"), "label_names": ["positive", "negative"]}
        model = zoo.build(after(whole, {**asked, "data": {"files": turned}}))
        np.testing.assert_array_equal(weights.to_numpy(model.get_layer("logits").bias), saved["logits/bias"][::-1])

    def test_a_head_for_something_else(self, whole: Run) -> None:
        head = {"type": "classifier", "init": "preset", "preset_labels": ["good", "bad"]}
        with pytest.raises(RecipeError, match=r"got good, bad, expected the classes of whole, which are negative, pos"):
            zoo.build(after(whole, {"model.head": head}))
        others = {"task": "multilabel", "data": {"dataset": "smoke_feelings"}}
        with pytest.raises(RecipeError, match="the run whole learned classification, expected multilabel"):
            zoo.build(after(whole, {**others, "model.head": {"type": "multilabel", "init": "preset"}}))

    def test_a_damaged_run(self, whole: Run, tmp_path: Path) -> None:
        shutil.copytree(whole.path / "model", tmp_path / "run" / "model")
        file = tmp_path / "run" / "model" / "weights.safetensors"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
        recipe = after(whole, {"model.backbone.preset": str(tmp_path / "run")})
        with pytest.raises(EnvironmentFault, match=r"weights\.safetensors has the SHA-256"):
            zoo.build(recipe)


STAGES = [
    {"name": "adapt", "data": {"dataset": "smoke_stars"}, "task": "regression", "training.epochs": 1},
    {"name": "classify", "training.epochs": 3},
]


def staged() -> Recipe:
    return recipes.load("quickstart", profile="smoke", overrides={**SHORT, "stages": STAGES})


class Interrupting(Screen):
    """Presses Ctrl-C at the fourth step of the second epoch of the second stage, and keeps what it is told."""

    def __init__(self, *, at_all: bool = True) -> None:
        super().__init__(quiet=True)
        self.told, self.stage, self.at_all = list[tuple[str, str]](), 0, at_all

    def say(self, topic: str, text: str) -> None:
        self.told.append((topic, text))

    def on_stage(self, name: str, number: int, count: int) -> None:
        super().on_stage(name, number, count)
        self.stage = number

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        if self.at_all and (self.stage, epoch, step) == (2, 2, 10):
            raise KeyboardInterrupt


class TestStages:
    def test_stopped_in_the_second_and_taken_up(self, tmp_path: Path) -> None:
        whole = zoo.train(staged(), out=tmp_path / "whole", progress=False)
        assert whole.path == tmp_path / "whole" / "2-classify"
        run = json.loads((tmp_path / "whole" / "run.json").read_text())
        assert (run["status"], [stage["status"] for stage in run["stages"]]) == ("done", ["done", "done"])

        folder = tmp_path / "cut"
        with pytest.raises(KeyboardInterrupt) as stop:
            zoo.train(staged(), out=folder, progress=Interrupting())
        assert stop.value.__notes__ == [f"go on with: {resuming(folder, whole.folder.run['backend'], ())}"]
        run = json.loads((folder / "run.json").read_text())
        assert (run["status"], [each["status"] for each in run["stages"]]) == ("interrupted", ["done", "interrupted"])
        for path in (folder / "run.json", folder / "2-classify" / "run.json"):  # as a kill leaves them
            path.write_text(path.read_text().replace('"interrupted"', '"running"'))
        first = {path: path.stat().st_mtime_ns for path in (folder / "1-adapt").rglob("*")}
        moved = shutil.move(folder, tmp_path / "moved")

        screen = Interrupting(at_all=False)
        with pytest.raises(
            OutputError, match=r"stages\.classify\.training\.epochs: the run was begun with 3, now it is 4"
        ):
            zoo.train(
                staged().override({"stages": [STAGES[0], {**STAGES[1], "training.epochs": 4}]}), out=moved, resume=True
            )
        again = zoo.train(staged(), out=moved, resume=True, progress=screen)
        assert ("resume", "goes on after step 6 of 18") in screen.told
        assert all((moved / path.relative_to(folder)).stat().st_mtime_ns == time for path, time in first.items())
        for name in ("1-adapt", "2-classify"):
            for file in ("model/weights.safetensors", "predictions.jsonl", "recipe.yaml"):
                assert (moved / name / file).read_bytes() == (tmp_path / "whole" / name / file).read_bytes(), file
        assert again.folder.run["fingerprint"] == whole.folder.run["fingerprint"]

        # The whole folder is what all verbs take.
        assert predict.main([str(moved), "--text", "A touching film, a delight."]) == 0
        assert Run(open_run(moved)).predict(["a film"]) == whole.predict(["a film"])
        assert zoo.train(staged(), out=moved, resume=True, progress=screen).path == again.path
        assert screen.told[-1][0] == "done"

    def test_each_begins_with_the_one_before(self, tmp_path: Path) -> None:
        """Learning nothing in the second leaves the backbone of the first, and its own head."""
        second = {"name": "second", "training.optimizer.learning_rate": 1e-30, "seed": 3}
        recipe = staged().override({"stages": [STAGES[0], second]})
        run = zoo.train(recipe, out=tmp_path / "run", progress=False)
        first, last = (
            weights.read_safetensors(tmp_path / "run" / name / "model" / "weights.safetensors")
            for name in ("1-adapt", "2-second")
        )
        assert first["logits/kernel"].shape != last["logits/kernel"].shape
        for path in first:
            if not path.startswith("logits/"):
                np.testing.assert_array_equal(first[path], last[path], err_msg=path)
        # And a run in stages is a preset as its last stage is.
        model = zoo.build(after(run, {"model.backbone.preset": str(tmp_path / "run")}))
        for variable in weights.parameters(model.get_layer("backbone")):
            np.testing.assert_array_equal(weights.to_numpy(variable), last[variable.path])
