"""Checks of whole runs, on the backend of this process."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nano import SHORT, Interrupting, nano_recipe

import recipes
import zoo
import zoo.run
from zoo import predict
from zoo.data.dataset import load_dataset
from zoo.errors import DataError, OutputError, TrainingError
from zoo.finished import Run
from zoo.recipe import Recipe
from zoo.recipe.heads import BinaryHead
from zoo.runs import stages
from zoo.training import session

pytestmark = pytest.mark.usefixtures("backend")


def smoke(changes: Mapping[str, Any] | None = None) -> Recipe:
    return recipes.load("quickstart", profile="smoke", overrides={**SHORT, **(changes or {})})


WITHOUT_CHANCE = {
    "model.backbone.dropout": 0.0,
    "model.head": {"type": "classifier", "dropout": 0.0},
    "training.schedule": {"type": "constant"},
    "training.optimizer.clip_norm": None,
}
LOSSES = [0.712445, 0.699859, 0.706275, 0.671261, 0.468178, 0.168121]
"""Training loss of six epochs: batch order, weights, loss, gradients and updates are all in it."""


def out_of_memory(*_: object, **__: object) -> None:
    raise MemoryError


def epoch_losses(run: Run) -> list[float]:
    return [row["train"]["loss"] for row in run.history if row["kind"] == "epoch"]


Stopped = Callable[[Path, int], None]


SAVED = {"training.checkpoint.steps": 1}
"""A checkpoint after each step; no weight depends on it, so another recipe may go on from there."""


def interrupted(folder: Path, epoch: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        zoo.train(smoke(SAVED if epoch == 1 else {}), out=folder, progress=Interrupting(epoch))
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Copies a run that was interrupted in some epoch; each such run is trained once."""
    root = tmp_path_factory.mktemp("stopped")

    def copied(folder: Path, epoch: int) -> None:
        made = root / str(epoch)
        if not made.exists():
            interrupted(made, epoch)
        shutil.copytree(made, folder)

    return copied


def assert_same_run(one: Run, other: Run) -> None:
    """The same weights and predictions to the last bit, and the same figures and history but for the time."""
    for name in ("model/weights.safetensors", "model/model.json", "predictions.jsonl"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name
    assert one.metrics == other.metrics
    assert timeless(one) == timeless(other)
    for key in ("fingerprint", "training", "seed", "dataset", "padding_fraction"):
        assert one.folder.run[key] == other.folder.run[key]
    assert_time_is_of_all_parts(one)


def assert_time_is_of_all_parts(run: Run) -> None:
    timing = run.folder.run["timing"]
    epochs = [row["seconds"] for row in run.history if row["kind"] == "epoch"]
    assert timing["train_seconds"] + timing["compile_seconds"] == pytest.approx(sum(epochs))
    parts = [value for name, value in timing.items() if name.endswith("_seconds") and name != "total_seconds"]
    assert len(parts) == 7
    assert sum(epochs) < sum(parts) < timing["total_seconds"], "no second is in two parts"
    assert (timing["compile_seconds"] > 0) == (run.folder.run["backend"] != "torch")  # which computes eagerly here
    # Real tokens a second over the steps that compiled nothing, in whatever part they were.
    assert timing["tokens_per_second"] > 0


def timeless(run: Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in run.history]


class TestRuns:
    def test_the_loss_falls_alike_on_every_backend(self, tmp_path: Path) -> None:
        """Without dropout, the only thing that each backend draws for itself."""
        run = zoo.train(smoke({**WITHOUT_CHANCE, "training.epochs": 6}), out=tmp_path / "run")
        assert epoch_losses(run) == pytest.approx(LOSSES, rel=1e-3)
        assert run.metrics["test"]["accuracy"] == pytest.approx(57 / 80)

    def test_predictions_of_the_run(self, whole: Run) -> None:
        texts = load_dataset(smoke()).test.texts
        stored = [row["probabilities"] for row in whole.folder.predictions]
        again = zoo.load_run(whole.path)
        np.testing.assert_allclose(again.probabilities(texts), stored, rtol=0, atol=1e-6)
        np.testing.assert_allclose(again.probabilities(texts[:3], batch_size=1), stored[:3], rtol=0, atol=1e-6)
        assert [p.label for p in again.predict(np.array(texts))] == [
            row["prediction"] for row in whole.folder.predictions
        ]

    @pytest.mark.parametrize(
        ("texts", "pairs", "match"),
        [("a film", None, "a single text"), ([], None, "no texts"), (["a"], ["b"], "pairs")],
    )
    def test_what_it_does_not_predict(self, whole: Run, texts: Any, pairs: Any, match: str) -> None:
        with pytest.raises(DataError, match=match):
            whole.predict(texts, pairs)

    def test_predictions_of_many_rows(
        self, whole: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In parts, and so in other batches, each row gets what it gets among all."""
        texts = [f"{text} {number}" for number, text in enumerate([*load_dataset(smoke()).test.texts] * 2)]
        monkeypatch.setattr("zoo.data.streams.ROWS", 40)
        (tmp_path / "rows.txt").write_text("\n".join(texts))
        assert predict.main([str(whole.path), "--file", str(tmp_path / "rows.txt"), "--format", "jsonl"]) == 0
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [row["text"] for row in found] == texts
        shares = [list(row["probabilities"].values()) for row in found]
        np.testing.assert_allclose(shares, whole.probabilities(texts), rtol=0, atol=2e-6)

    def test_batches_of_few_shapes(self, whole: Run) -> None:
        """Where the backend compiles each of them, they are those of other texts, too."""
        run, shapes = zoo.load_run(whole.path), []
        predictor = run._predictor

        def noted(inputs: dict[str, np.ndarray]) -> Any:
            shapes.append(inputs["token_ids"].shape)
            return predictor(inputs)

        run.__dict__["_predictor"] = noted
        for count in (1, 2, 3, 5, 20):
            assert len(run.values(["a film"] * count, batch_size=8)) == count
        if run.folder.run["backend"] == "torch":
            assert shapes == [(rows, 4) for rows in (1, 2, 3, 5, 8, 8, 8)]
            return
        assert shapes == [(rows, 16) for rows in (1, 2, 4, 8, 8, 8, 8)]
        shapes.clear()
        run.values(["a film"] * 16 + ["film " * 20] * 16, batch_size=8)
        assert set(shapes) == {(8, 24)}, "of a nano model padding costs less than another compilation"

    def test_same_seed_same_run(
        self, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Also where every step tells how far it is, and of its loss."""
        monkeypatch.setattr(stages, "EVERY", 0.0)
        monkeypatch.setattr(stages, "SHARE", 0.0)
        run = zoo.train(smoke(), out=tmp_path / "again")
        assert_same_run(run, whole)
        for told in (capsys.readouterr().err, (run.path / "log.txt").read_text()):
            for line in (
                r"tokenize:?  ?86 of 176 rows \(49%\)",
                r"test:?  ?\d\d of 80 rows \(\d+%\)",
            ):
                assert re.search(line, told), line
            steps = re.findall(r"train:?  ?(\d+) of 18 steps \(\d+%\)  epoch \d  loss \d\.\d{4}  ", told)
            assert [*map(int, steps)] == [*range(1, 18)]  # of the last one its epoch tells

    @pytest.mark.at_times
    def test_another_seed_another_run(self, whole: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        other = zoo.train(
            smoke({**WITHOUT_CHANCE, "training.epochs": 1, "seed": 1}), out=tmp_path / "other", progress=False
        )
        assert capsys.readouterr().err == ""
        assert epoch_losses(other) != pytest.approx(LOSSES[:1], rel=1e-3)  # so that comparison can fail
        name = "model/weights.safetensors"
        assert (other.path / name).read_bytes() != (whole.path / name).read_bytes()

    @pytest.mark.parametrize("epoch", [1, 2])
    def test_resumed_equals_uninterrupted(self, whole: Run, tmp_path: Path, stopped: Stopped, epoch: int) -> None:
        """Within the first epoch, and from the end of it."""
        stopped(tmp_path / "run", epoch)
        (kept,) = (tmp_path / "run" / "checkpoints").iterdir()
        assert kept.name == {1: "step-00000001-within", 2: "step-00000006"}[epoch]
        screen = Interrupting(0)
        assert_same_run(zoo.train(smoke(), out=tmp_path / "run", resume=True, progress=screen), whole)
        assert screen.notes == []
        assert not (tmp_path / "run" / "checkpoints").exists()

    @pytest.mark.at_times
    @pytest.mark.parametrize("name", ["model.safetensors", "epoch-*.safetensors", "progress.json"])
    def test_damaged_newest_checkpoint_is_passed_over(
        self, whole: Run, tmp_path: Path, stopped: Stopped, name: str
    ) -> None:
        folder = tmp_path / "run"
        stopped(folder, 3)
        checkpoints = sorted((folder / "checkpoints").glob("step-*"))
        assert len(checkpoints) == 2
        (path,) = checkpoints[-1].glob(name)
        path.write_bytes(path.read_bytes()[:-10])
        screen = Interrupting(0)
        assert_same_run(zoo.train(smoke(), out=folder, resume=True, progress=screen), whole)
        assert len(screen.notes) == 1
        assert f"checkpoint {checkpoints[-1].name} is damaged and passed over" in screen.notes[0]

    @pytest.mark.at_times
    def test_time_of_a_run_that_broke_off_before_its_report(
        self, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(zoo.run, "write_report", interrupt)
            with pytest.raises(KeyboardInterrupt):
                zoo.train(smoke(), out=tmp_path / "run")
        first = zoo.load_run(tmp_path / "run").folder.run["timing"]
        run = zoo.train(smoke(), out=tmp_path / "run", resume=True)
        assert_same_run(run, whole)
        second = run.folder.run["timing"]
        of_steps = ("train_seconds", "compile_seconds", "examples_per_second", "tokens_per_second")
        assert [second[key] for key in of_steps] == [first[key] for key in of_steps]
        grown = ("total_seconds", "data_seconds", "build_seconds", "tokenize_seconds", "evaluate_seconds")
        assert [key for key in grown if second[key] <= first[key]] == []

    @pytest.mark.at_times
    def test_a_history_that_is_lost_costs_no_figure(self, whole: Run, tmp_path: Path, stopped: Stopped) -> None:
        folder = tmp_path / "run"
        stopped(folder, 2)
        (folder / "history.jsonl").write_bytes(b"")
        screen = Interrupting(0)
        run = zoo.train(smoke(), out=folder, resume=True, progress=screen)
        assert [note for note in screen.notes if "no rows of the steps 1 to 6: they are lost" in note] == screen.notes
        assert run.metrics == whole.metrics
        assert run.history == [row for row in run.history if row["epoch"] > 1]

    def test_resume_with_another_recipe(self, tmp_path: Path, stopped: Stopped) -> None:
        folder = tmp_path / "run"
        stopped(folder, 1)
        with pytest.raises(OutputError, match=r"training\.batch_size: the run was begun with 16, now it is 4"):
            zoo.train(smoke({"training.batch_size": 4}), out=folder, resume=True)

    @pytest.mark.at_times
    @pytest.mark.parametrize(
        ("place", "match"),
        [
            ((zoo.run, "prepare"), "the model does not fit in memory .*: choose a smaller model.backbone"),
            ((session.inference, "logits"), "32 rows of the validation split .*: pass --resume --set .*batch_size=16"),
        ],
    )
    def test_out_of_memory_beside_the_steps(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str], match: str
    ) -> None:
        monkeypatch.setattr(*place, out_of_memory)
        with pytest.raises(TrainingError, match=match):
            zoo.train(smoke({"training.epochs": 1}), out=tmp_path / "run")
        assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"

    @pytest.mark.at_times
    def test_goes_on_with_smaller_batches_in_evaluation(self, whole: Run, tmp_path: Path, stopped: Stopped) -> None:
        """Their size changes no weight, so it is no other recipe; the run's own has what it went on with."""
        stopped(tmp_path / "run", 2)
        run = zoo.train(smoke({"training.eval_batch_size": 5}), out=tmp_path / "run", resume=True)
        assert "eval_batch_size: 5" in run.folder.recipe_text
        assert run.metrics["test"]["accuracy"] == whole.metrics["test"]["accuracy"]

    def test_out_of_memory_in_prediction(self, whole: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        texts = ["A fine film."] * 8
        monkeypatch.setattr(session.inference, "logits", out_of_memory)
        with pytest.raises(TrainingError, match=r"8 rows of up to \d+ tokens .*: pass --batch-size 4, or"):
            whole.probabilities(texts)
        with pytest.raises(TrainingError, match=r"1 rows of up to \d+ tokens .*: give shorter texts"):
            whole.probabilities(texts, batch_size=1)
        monkeypatch.setattr("zoo.explain.explained.explain", out_of_memory)
        with pytest.raises(TrainingError, match=r"what explains this text .*: give a shorter text"):
            whole.explain(texts[0])

    def test_diverging(self, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        recipe = smoke({"training.optimizer.learning_rate": 1e20, "training.log_every": 5})
        with pytest.raises(TrainingError, match=r"became \w+ at step [1-5] \(epoch 1, .*, whose batch is train/\d+, "):
            zoo.train(recipe, out=folder)
        run = json.loads((folder / "run.json").read_text())
        assert run["status"] == "failed"
        assert "at step" in run["error"]

    def test_accumulates_nothing_between_runs_of_a_process(self, whole: Run) -> None:
        """The run that was made first predicts as ever, after all the others."""
        text = "A touching film, a delight."
        np.testing.assert_array_equal(whole.probabilities([text]), zoo.load_run(whole.path).probabilities([text]))

    @pytest.mark.at_times
    def test_one_class_predicted_for_all_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """And while it is compiled, that is said."""
        monkeypatch.setattr("zoo.training.waiting.SECOND", 0.02)
        monkeypatch.setattr("zoo.runs.stages.EVERY", 0.0)
        rows = [f"row {n} of many,{'spam' if n % 10 == 0 else 'ham'}" for n in range(100)]
        (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]))
        changes = {"data": {"files": {"train": str(tmp_path / "rows.csv")}}, "training.epochs": 1}
        changes |= {"training.batch_size": 8, "training.optimizer.learning_rate": 1e-2}
        run = zoo.train(nano_recipe(changes), out=tmp_path / "run")
        assert run.folder.run["never_predicted"] == ["spam"]
        assert run.metrics["test"]["classes_predicted"] == 1
        for split in ("train", "validation", "test"):
            assert run.metrics[split]["majority_share"] == pytest.approx(0.9, abs=0.02)
        log = (run.path / "log.txt").read_text()
        assert "best so far, one class predicted for all" in log
        assert ("train: 0 of 11 steps (0%)  compiling a batch of 8 rows" in log) == (
            run.folder.run["backend"] != "torch"
        )
        last = "the largest class alone 90%), macro f1 47%, f1 0%; one class is predicted for every text; "
        assert f"{last}never predicted: spam" in log
        assert (
            "Warning: never predicted, though rows of test are of them: spam" in (run.path / "report.html").read_text()
        )

    @pytest.mark.at_times
    def test_binary_head_and_bfloat16(self, tmp_path: Path) -> None:
        changes = {"model.head": {"type": "binary", "threshold": "tune"}, "training.precision": "bfloat16"}
        # Any accuracy is enough: it stops after the first epoch.
        run = zoo.train(smoke({**changes, "training.epochs": 2, "training.stop.target": 0.0}), out=tmp_path / "run")
        trained = run.folder.run["training"]
        assert (trained["epochs"], trained["stopped_early"]) == (1, True)
        assert "(training.stop.target)" in trained["stopped_because"]
        assert f"training stopped early: {trained['stopped_because']}" in (run.path / "log.txt").read_text()
        assert run.folder.run["precision"] == "bfloat16"
        assert isinstance(run.card.blueprint.head, BinaryHead)
        assert 0.0 < run.folder.run["threshold"] < 1.0
        shares = np.array([row["probabilities"] for row in run.folder.predictions])
        # What is written down is what the saved model says, which computes in float32.
        texts = load_dataset(smoke()).test.texts
        np.testing.assert_allclose(run.probabilities(texts), shares, atol=1e-6)
        quick = zoo.load_run(run.path, precision="bfloat16").probabilities(texts)
        np.testing.assert_allclose(quick, shares, atol=0.02)
        assert np.abs(quick - shares).max() > 1e-5
        np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-6)
