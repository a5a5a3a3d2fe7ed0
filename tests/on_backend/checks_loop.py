"""The training loop, with a model and a validation that are made up."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zoo.backend import Backend, Trainer
from zoo.data.batches import Batch
from zoo.errors import TrainingError
from zoo.models import weights
from zoo.recipe.length import run_length
from zoo.recipe.trained_group import BestEpochs, LastEpochs
from zoo.recipe.training_group import EarlyStopping, Saves, Stop, Training
from zoo.tasks.classification import Classification
from zoo.training import loop
from zoo.training.checkpoint import Checkpoints, Clock, Progress
from zoo.training.loop import Loop
from zoo.training.memory import step_remedy

pytestmark = pytest.mark.usefixtures("backend")


class Steps(Trainer):
    """Adds 1 to a variable at each step; its loss is what is given."""

    def __init__(self, variable: Any, losses: Iterator[float]) -> None:
        self.variable, self.losses = variable, losses

    def step(self, inputs: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
        from keras import ops

        self.variable.assign(self.variable + 1.0)
        return ops.convert_to_tensor(next(self.losses)), ops.convert_to_tensor([[0.0, 1.0], [1.0, 0.0]])


class Notes:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.steps: list[tuple[int, int]] = []
        self.begun: tuple[int, int] | None = None
        self.told: list[str] = []

    def on_begin(self, progress: Progress, steps: int) -> None:
        self.begun = (progress.step, steps)

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        self.steps.append((step, epoch))

    def on_wait(self, what: str, seconds: float) -> None:
        pass  # the model of these tests computes nothing

    def bar(self, title: str, total: int | None = None) -> AbstractContextManager[Callable[[int], None]]:
        raise AssertionError(title)

    def on_note(self, text: str) -> None:
        self.told.append(text)

    def on_row(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))

    def on_save(self) -> None:
        pass  # rows are in memory

    def judging(self) -> None:
        """Validation begins."""


class Breaking(Notes):
    """Presses Ctrl-C at one of the moments at which it hears something."""

    def __init__(self, moment: int) -> None:
        super().__init__()
        self.left = moment

    def _heard(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def on_step(self, *step: Any) -> None:
        super().on_step(*step)
        self._heard()

    def on_row(self, row: Mapping[str, Any]) -> None:
        self._heard()
        super().on_row(row)
        self._heard()

    def judging(self) -> None:
        self._heard()


def timeless(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "seconds"}


def looped(
    folder: Path,
    config: Training,
    figures: list[float],
    *,
    losses: Iterable[float] = repeat(0.5),
    progress: Progress | None = None,
    notes: Notes | None = None,
) -> tuple[Progress, float, Notes]:
    """Three batches of two rows an epoch; `figures` are those of validation, epoch by epoch.

    Returns what `Loop.run` does, the value of the variable that every step adds 1 to, and what was heard.
    """
    import keras

    variable = keras.Variable(np.float32(progress.step if progress else 0), name="steps")
    scripted = iter(figures)

    class Scripted(Backend):
        name = "scripted"

        def trainer(self, model: Any, optimizer: Any, loss: Any, *, precision: str, **ways: Any) -> Trainer:
            assert precision == "tf32"
            return Steps(variable, iter(losses))

    batch = Batch(
        inputs={"token_ids": np.ones((2, 8), np.int32)},
        labels=np.array([1, 1], np.int32),
        weights=np.ones(2, np.float32),
        rows=np.arange(2),
        tokens=12,
    )
    notes = notes or Notes()
    length = run_length(config, rows=3 * config.batch_size)
    trained = Loop(
        model=SimpleNamespace(variables=[variable], trainable_variables=[variable]),
        optimizer_of=lambda epoch, before: before or SimpleNamespace(variables=[]),
        backend=Scripted(),
        precision="tf32",
        compiled=True,
        task=Classification(names=("no", "yes"), head="classifier"),
        config=config,
        monitor=config.monitor or "accuracy",
        length=length,
        rates=[0.1 * (step + 1) for step in range(length.steps)],
        epoch_batches=lambda epoch, done: iter([batch] * (3 - done)),
        ids=lambda rows: [f"train/{row}" for row in rows],
        validate=lambda: (notes.judging(), {config.monitor or "accuracy": next(scripted)})[1],
        checkpoints=Checkpoints(folder),
        remedy=lambda parts: step_remedy(config, parts, None),
        listener=notes,
    )
    reached = trained.run(progress or Progress())
    return reached, float(weights.to_numpy(variable)), notes


class TestLoop:
    @pytest.mark.parametrize(("keep", "steps"), [("best", 6.0), ("last", 12.0)])
    def test_keep(self, tmp_path: Path, keep: Any, steps: float) -> None:
        figures = [0.5, 0.9, 0.7, 0.9]
        reached, kept, notes = looped(tmp_path, Training(epochs=4, keep=keep), figures)
        assert kept == steps
        train = {"rows": 6, "loss": 0.5, "accuracy": 0.5}
        assert reached == Progress(epoch=4, step=12, best=0.9, best_epoch=2, stale=2, train=train, figures=figures)
        assert [row["best"] for row in notes.rows if row["kind"] == "epoch"] == [True, True, False, False]

    @pytest.mark.parametrize(
        ("average", "monitor", "mean"),
        [(LastEpochs(epochs=3), None, 9.0), (BestEpochs(epochs=2), None, 9.0), (BestEpochs(epochs=2), "loss", 6.0)],
    )
    def test_mean_of_epochs(self, tmp_path: Path, average: Any, monitor: str | None, mean: float) -> None:
        """Of 3, 6, 9 and 12, the second and the last best by accuracy, the first and the third by loss."""
        config = Training(epochs=4, average=average, monitor=monitor)
        _, kept, _ = looped(tmp_path, config, [0.5, 0.9, 0.7, 0.9])
        assert kept == mean

    def test_loss_is_better_when_lower(self, tmp_path: Path) -> None:
        reached, kept, _ = looped(tmp_path, Training(epochs=3, monitor="loss"), [0.5, 0.3, 0.4])
        assert (reached.best, reached.best_epoch, kept) == (0.3, 2, 6.0)

    @pytest.mark.parametrize(
        ("patience", "min_delta", "figures", "epochs", "best_epoch"),
        [
            (1, 0.0, [0.5, 0.6, 0.6, 0.9], 3, 2),
            (2, 0.0, [0.5, 0.4, 0.6, 0.5, 0.5, 0.9], 5, 3),
            (1, 0.2, [0.5, 0.6, 0.9], 2, 1),
            (3, 0.0, [0.5, 0.6, 0.7, 0.8, 0.9, 1.0], 6, 6),
        ],
    )
    def test_early_stopping(
        self, tmp_path: Path, patience: int, min_delta: float, figures: list[float], epochs: int, best_epoch: int
    ) -> None:
        stopping = EarlyStopping(patience=patience, min_delta=min_delta)
        reached, kept, _ = looped(tmp_path, Training(epochs=6, early_stopping=stopping), figures)
        assert (reached.epoch, reached.best_epoch) == (epochs, best_epoch)
        assert reached.stopped == (epochs < 6)
        assert kept == 3 * best_epoch

    def test_a_stopped_run_stays_stopped(self, tmp_path: Path) -> None:
        config = Training(epochs=6, early_stopping=EarlyStopping(patience=1))
        reached, *_ = looped(tmp_path, config, [0.5, 0.4])
        again, kept, notes = looped(tmp_path, config, [], progress=reached)
        assert (again, kept, notes.steps) == (reached, 3.0, [])

    @pytest.mark.parametrize(
        ("stop", "changes", "figures", "ends", "told"),
        [
            # Twelve tokens a step, three steps an epoch.
            (Stop(tokens=48), {}, [0.5, 0.6], (2, 4), "48 tokens seen, of 48 (training.stop.tokens)"),
            (Stop(tokens=49), {}, [0.5, 0.6], (2, 5), "60 tokens seen, of 49 (training.stop.tokens)"),
            (Stop(target=0.6), {}, [0.5, 0.6], (2, 6), "accuracy 0.6 on validation, the target was 0.6"),
            (Stop(target=0.4), {"monitor": "loss"}, [0.5, 0.3], (2, 6), "loss 0.3 on validation, the target was 0.4"),
            # It is the best epoch, though not by the margin of early stopping.
            (
                *(Stop(target=0.6), {"early_stopping": EarlyStopping(min_delta=0.5)}, [0.5, 0.6]),
                *((2, 6), "accuracy 0.6 on validation, the target was 0.6"),
            ),
        ],
    )
    def test_what_stops_it(
        self, tmp_path: Path, stop: Stop, changes: Any, figures: list[float], ends: tuple[int, int], told: str
    ) -> None:
        config = Training(epochs=4, stop=stop, **changes)
        reached, kept, notes = looped(tmp_path, config, figures)
        assert (reached.epoch, reached.step, reached.best_epoch, reached.stopped) == (*ends, 2, True)
        assert kept == ends[1]
        assert told in (reached.reason or "")
        assert notes.told == [f"training stopped early: {reached.reason}"]
        # It is evaluated as any epoch, and does not go on by itself; the rates were those of the whole length.
        assert [row["step"] for row in notes.rows if row["kind"] == "epoch"] == [3, ends[1]]
        assert notes.rows[-2]["learning_rate"] == pytest.approx(0.1 * ends[1])
        again, _, resumed = looped(tmp_path, config, [], progress=reached)
        assert (again, resumed.steps) == (reached, [])

    def test_hours_are_those_of_all_parts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ticks = itertools.count()
        monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
        whole, *_ = looped(tmp_path / "whole", Training(epochs=2), [0.5, 0.6])
        spent = whole.clock.train_seconds + whole.clock.compile_seconds
        config = Training(epochs=2, stop=Stop(hours=0.75 * spent / 3600))
        reached, _, notes = looped(tmp_path / "one", config, [0.5, 0.6])
        assert (reached.epoch, reached.step) in ((2, 4), (2, 5))
        assert "(training.stop.hours)" in notes.told[0]
        half = Progress(epoch=1, step=3, best=0.5, best_epoch=1, clock=Clock(train_seconds=0.74 * spent))
        reached, *_ = looped(tmp_path / "two", config, [0.6], progress=half)
        assert (reached.epoch, reached.step) == (2, 4)

    @pytest.mark.parametrize("every", [1, 2, 20])
    @pytest.mark.parametrize("stop", [None, Stop(tokens=48)])
    def test_goes_on_from_anywhere(self, tmp_path: Path, every: int, stop: Stop | None) -> None:
        """Broken off at each step, in each evaluation and as each row is told: history and progress are those of a run
        that never was."""
        config = Training(epochs=2, log_every=every, stop=stop, checkpoint=Saves(steps=1))
        losses, figures = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0], [0.5, 0.4]
        reached, kept, whole = looped(tmp_path / "whole", config, figures, losses=losses)
        empty = SimpleNamespace(variables=[], trainable_variables=[])
        within = list[int]()
        for moment in itertools.count(1):
            folder, first = tmp_path / str(moment), Breaking(moment)
            with contextlib.suppress(KeyboardInterrupt):
                looped(folder, config, figures, losses=losses, notes=first)
                assert first.left > 0
                break
            progress = Checkpoints(folder, frozenset({"steps"})).restore(empty, lambda reached: empty)[0]
            within += [progress.step] if progress.within else []
            rows = [row for row in first.rows if row["step"] <= progress.told]
            rows = [row for row in rows if row["kind"] == "step" or row["epoch"] <= progress.epoch]
            again = looped(folder, config, figures[progress.epoch :], losses=losses[progress.step :], progress=progress)
            assert again[:2] == (reached, kept)
            assert list(map(timeless, rows + again[2].rows)) == list(map(timeless, whole.rows))
        assert moment > 10
        assert within

    def test_what_ends_by_itself_is_not_stopped(self, tmp_path: Path) -> None:
        config = Training(epochs=2, stop=Stop(tokens=72, target=0.6), early_stopping=EarlyStopping(patience=1))
        reached, _, notes = looped(tmp_path, config, [0.5, 0.6])
        assert (reached.stopped, reached.reason, notes.told) == (False, None, [])

    def test_history_and_clock(self, tmp_path: Path) -> None:
        losses = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        reached, _, notes = looped(tmp_path, Training(epochs=2, log_every=2), [0.5, 0.6], losses=losses)
        rows = [
            (row["kind"], row["step"], row["epoch"], row.get("loss", row.get("train", {}).get("loss")))
            for row in notes.rows
        ]
        assert rows == [
            ("step", 2, 1, 1.5),
            ("step", 3, 1, 3.0),
            ("epoch", 3, 1, 2.0),
            ("step", 4, 2, 4.0),
            ("step", 6, 2, 5.5),
            ("epoch", 6, 2, 5.0),
        ]
        assert [row["learning_rate"] for row in notes.rows if row["kind"] == "step"] == pytest.approx(
            [0.2, 0.3, 0.4, 0.6]
        )
        assert [row["tokens"] for row in notes.rows if row["kind"] == "step"] == [24, 12, 12, 24]
        assert {row["train"]["accuracy"] for row in notes.rows if row["kind"] == "epoch"} == {0.5}
        assert notes.begun == (0, 6)
        assert notes.steps == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
        # The first step of a shape counts as compiling.
        clock = reached.clock
        assert (clock.examples, clock.tokens, clock.cells, clock.padded_tokens) == (10, 60, 96, 24)

    def test_a_number_of_steps(self, tmp_path: Path) -> None:
        reached, kept, _ = looped(tmp_path, Training(steps=5), [0.5, 0.6])
        assert (reached.epoch, reached.step, kept) == (2, 5, 5.0)

    @pytest.mark.parametrize(("loss", "every"), [(float("nan"), 1), (float("inf"), 20)])
    def test_a_loss_that_is_not_finite(self, tmp_path: Path, loss: float, every: int) -> None:
        """The first such step is named, and no checkpoint has what came of it."""
        where = r"at step 5 \(epoch 2, learning rate 0.5\), whose batch is train/0, train/1"
        match = rf"became {loss} {where}; the last good checkpoint is .*step-00000003: "
        with pytest.raises(TrainingError, match=match):
            looped(tmp_path, Training(epochs=2, log_every=every), [0.5], losses=[0.5] * 4 + [loss, 0.5])
        assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]
        assert json.loads((tmp_path / "step-00000003" / "progress.json").read_text())["step"] == 3

    def test_out_of_memory(self, tmp_path: Path) -> None:
        def losses() -> Iterator[float]:
            yield 0.5
            raise RuntimeError("RESOURCE_EXHAUSTED: 12 GB")

        with pytest.raises(TrainingError, match=r"a batch of 2 rows of 8 tokens does not fit .*accumulate=auto"):
            looped(tmp_path, Training(epochs=1), [], losses=losses())

    def test_another_error_is_not_taken_for_that(self, tmp_path: Path) -> None:
        def losses() -> Iterator[float]:
            raise RuntimeError("a bug")
            yield 0.5

        with pytest.raises(RuntimeError, match="a bug"):
            looped(tmp_path, Training(epochs=1), [], losses=losses())
