"""Checks of runs that begin with what another run has learned, on the backend of this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import FAMILIES, SHORT, nano_recipe, task_with
from scipy.special import expit

import recipes
import zoo
from zoo import predict
from zoo.audit.looking import begun
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.finished import Run
from zoo.models import inference, weights
from zoo.recipe import Recipe, load_recipe
from zoo.recipe.heads import BinaryHead, ClassifierHead, Head, MultilabelHead
from zoo.runs.opening import open_run
from zoo.runs.resuming import resuming
from zoo.runs.screen import Screen
from zoo.tasks.distilled import Distilled
from zoo.training.teacher import kept

pytestmark = pytest.mark.usefixtures("backend")


@pytest.fixture(autouse=True)
def _no_reports(whole: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing them takes longer than these runs."""
    monkeypatch.setattr("zoo.run.write_report", lambda folder, texts: (folder.write_text("report.html", ""), ()))


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


@pytest.mark.at_times
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
        # An audit asks the backbone that no stage has trained.
        untrained = begun(load_recipe(again.path / "recipe.yaml"))
        assert untrained is not None
        assert untrained.model.backbone == staged().model.backbone

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


class TestLayers:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_some_layers_of_a_preset(self, references: Path, family: str) -> None:
        asked = {"family": family, "preset": str(references / f"{family}-gelu")}
        whole, student = (
            {v.path: weights.to_numpy(v) for v in weights.parameters(zoo.build(nano_recipe({"model.backbone": each})))}
            for each in (asked, {**asked, "layers": [1]})
        )
        inner = [path for path in whole if path.startswith("transformer_layer_1/")]
        assert len(inner) == 16
        for path in inner:
            np.testing.assert_array_equal(student[path.replace("layer_1", "layer_0", 1)], whole[path])
            assert not np.array_equal(student[path.replace("layer_1", "layer_0", 1)], whole[path.replace("1", "0", 1)])
        others = {path for path in whole if not path.startswith("transformer_layer_")}
        assert {path for path in student if not path.startswith("transformer_layer_")} == others
        assert all(np.array_equal(student[path], whole[path]) for path in others)
        with pytest.raises(RecipeError, match=r"layers: got 2, expected below 2, the layers of the preset"):
            zoo.build(nano_recipe({"model.backbone": {**asked, "layers": [0, 2]}}))

    def test_of_a_run(self, whole: Run) -> None:
        saved = weights.read_safetensors(whole.path / "model" / "weights.safetensors")
        model = zoo.build(after(whole, {"model.backbone.layers": [1]}))
        for variable in weights.parameters(model.get_layer("backbone")):
            path = variable.path.replace("transformer_layer_0", "transformer_layer_1")
            np.testing.assert_array_equal(weights.to_numpy(variable), saved[path], err_msg=path)


STUDENT = [0.0715542, 0.0708307, 0.0698082]
"""Training loss of three epochs with a teacher, dropout off: the same on every backend."""


def epoch_losses(run: Run) -> list[float]:
    return [row["train"]["loss"] for row in run.history if row["kind"] == "epoch"]


WITHOUT_CHANCE = {"model.backbone.dropout": 0.0, "model.head.dropout": 0.0}


class TestDistillation:
    @pytest.mark.parametrize("head", [ClassifierHead(), BinaryHead(), MultilabelHead()])
    def test_the_loss_is_torchs(self, references: Path, head: Head) -> None:
        """And each of its parts counts; filling rows do not."""
        from keras import ops

        own, found = np.load(references / "losses.npz"), np.load(references / "distilled.npz")
        logits, labels = own[f"{head.type}_logits"], own[f"{head.type}_labels"]
        teacher, names = found[f"{head.type}_teacher"], ["a", "b", "c"][: 2 if head.type == "binary" else 3]

        def value(teacher: np.ndarray, temperature: float = 3.0, weight: float = 0.3) -> float:
            thresholds: Any = (0.5,) * 3 if head.type == "multilabel" else None
            lesson = Distilled(task=task_with(head, names, thresholds), temperature=temperature, weight=weight)
            targets = lesson.joined(labels, teacher)
            total, count = lesson.loss(*map(ops.convert_to_tensor, (logits, targets, own["weights"])))
            assert lesson.counted(targets, own["weights"]) == float(inference.to_host(count))
            assert lesson.hits(logits, targets, own["weights"]) == lesson.task.hits(logits, labels, own["weights"])
            return float(inference.to_host(total / count))

        assert value(teacher) == pytest.approx(float(found[f"{head.type}_loss"]), rel=1e-5)
        assert value(teacher, weight=1e-9) == pytest.approx(float(own[f"{head.type}_loss"]), rel=1e-5)
        assert value(logits, weight=1.0) == pytest.approx(0.0, abs=1e-5)
        assert value(teacher, temperature=2.0) != pytest.approx(value(teacher), rel=1e-3)
        filling = teacher.copy()
        filling[6:] = 9.0
        assert value(filling) == value(teacher)

    @pytest.mark.at_times
    def test_alike_on_every_backend(self, whole: Run, tmp_path: Path) -> None:
        """Three epochs of a student of one layer; the teacher is asked once, and as one predicts with it."""
        changes = {"model.backbone.layers": [1], **WITHOUT_CHANCE}
        recipe = after(whole, {**changes, "training.distil": {"teacher": str(whole.path), "weight": 0.9}})
        seen: list[np.ndarray] = []

        class Listening(Screen):
            def on_step(self, step: int, epoch: int, *_: object) -> None:
                if step == 8:
                    seen.append(kept(tmp_path / "run" / "checkpoints")[0])
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            zoo.train(recipe, out=tmp_path / "run", progress=Listening(quiet=True))
        texts = zoo.load_data(recipe).train.texts
        np.testing.assert_allclose(expit(seen[0][:, 1] - seen[0][:, 0]), whole.probabilities(texts)[:, 1], atol=1e-5)
        # What was kept is what goes on.
        run = zoo.train(recipe, out=tmp_path / "run", resume=True, progress=False)
        losses = epoch_losses(run)
        assert losses == pytest.approx(STUDENT, rel=1e-3)
        alone = zoo.train(after(whole, changes), out=tmp_path / "alone", progress=False)
        assert [row["train"]["loss"] for row in alone.history if row["kind"] == "epoch"] != pytest.approx(
            losses, rel=0.1
        )
        assert "teacher: ../" in run.folder.recipe_text or str(whole.path) in run.folder.recipe_text

    def test_teachers_of_something_else(self, whole: Run, tmp_path: Path) -> None:
        teacher = {"training.distil": {"teacher": str(whole.path)}}
        rows = [f"a {what} {n},{what}" for n in range(40) for what in ("good", "bad")]
        (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]))
        others = {"data": {"files": {"train": str(tmp_path / "rows.csv")}}}
        for number, (changes, why) in enumerate(
            (
                (others, r"has the classes negative, positive, expected bad, good, in this order"),
                ({"model.head": {"type": "binary"}}, "has a head classifier, expected binary"),
                (
                    {"task": "multilabel", "data": {"dataset": "smoke_feelings"}},
                    "learned classification, expected multi",
                ),
            )
        ):
            head = {} if "model.head" in changes else {"model.head": {}}
            with pytest.raises(RecipeError, match=why):
                zoo.train(after(whole, {**head, **changes, **teacher}), out=tmp_path / str(number), progress=False)
        with pytest.raises(EnvironmentFault, match="holds no finished run"):
            zoo.train(
                after(whole, {"training.distil": {"teacher": str(tmp_path)}}), out=tmp_path / "run", progress=False
            )
        with pytest.raises(RecipeError, match="got a teacher, expected null with head regression"):
            after(whole, {**teacher, "task": "regression", "model.head": {}, "data": {"dataset": "smoke_stars"}})
