"""Writes a run down while it goes on and when it is done.

In come a run folder, a screen and the training session; out come the folder's files: rows of history
as they occur, then figures, predictions and the model. The test split is looked at once,
at the end, or, where others are still to be chosen from, never.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from zoo.backend import Backend, Order
from zoo.data.dataset import Dataset
from zoo.data.packing import row_width
from zoo.data.tokens import cut_told
from zoo.data.trials import Trial, Trials
from zoo.errors import OutputError
from zoo.models.blueprint import ModelCard
from zoo.models.saved import save_model
from zoo.recipe import Recipe, dump_recipe, load_recipe
from zoo.recipe.flattening import flat
from zoo.recipe.several import expected_figures
from zoo.recipe.showing import listed
from zoo.runs import account
from zoo.runs.run_folder import CHECKPOINTS, RunFolder
from zoo.runs.screen import Lines, Screen
from zoo.runs.stages import Unit
from zoo.runs.tracking import Logger
from zoo.tasks import dump_task
from zoo.tasks.calibrated import fitted
from zoo.training.checkpoint import Checkpoints, Progress
from zoo.training.session import Session

FREE = (
    *("training.devices", "training.model_parallel", "training.eval_batch_size"),
    *("training.checkpoint.minutes", "training.checkpoint.steps"),
)
"""Keys that may change when a run goes on: no weight depends on them, but by the rounding of sums over devices."""


class Log(Lines):
    """What a screen shows, as lines of log.txt."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._folder = folder

    def say(self, topic: str, text: str) -> None:
        self._folder.log(f"{topic}: {text}")


class Recorder:
    """One run's pen; also the training loop's listener."""

    def __init__(
        self,
        folder: RunFolder,
        screen: Screen,
        watch: account.Stopwatch,
        recipe: Recipe,
        dataset: Dataset,
        loggers: Sequence[Logger] = (),
        *,
        tested: bool = True,
    ) -> None:
        """`tested`: whether the test split is looked at."""
        self._folder, self._watch, self._loggers, self._tested = folder, watch, loggers, tested
        self._log = Log(folder)
        self._told: tuple[Lines, ...] = (self._log, screen)
        self._recipe, self._dataset = recipe, dataset
        self._earlier: Mapping[str, float] = folder.run.get("timing", {})

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int], None]]:
        """Around a part of the run before its training, which is timed: `tokenize`, of all rows, or `build`."""
        rows = sum(self._dataset.rows.values()) if name == "tokenize" else None
        with self._watch.measure(name), self.bar(name, rows) as advance:
            yield advance

    def begin(self, session: Session, backend: Backend) -> None:
        """Write what is known before the first step, and refuse to go on with another run than was begun."""
        refuse_changes(self._folder, self._recipe, self._dataset)
        self._tell_backend(backend)
        for note in self._dataset.notes:
            self._log.say("warning", note)
        text = dump_recipe(self._recipe, self._folder.path)
        self._folder.write_text("recipe.yaml", text)  # FREE keys may have changed
        self._folder.update_run(
            {
                **account.environment(backend, session.precision, self._recipe.seed, text, self._dataset),
                "profile": self._recipe.profile or self._folder.run.get("profile"),
                "devices": self._recipe.training.devices,
                "model_parallel": self._recipe.training.model_parallel,
                "precision_trial": dict(session.trial.seconds) if session.trial else None,
                "parameters": _parameters(session),
                "compiled": session.compiled,
                "compile_trial": dict(session.compile_trial.seconds) if session.compile_trial else None,
                "task": dump_task(self._dataset.task),
                "dataset": account.data_account(self._dataset, session.tables, self._recipe.tokens.max_length),
                "class_weights": account.by_name(self._dataset.task.names, session.class_weights),
                "resampled": account.by_name(self._dataset.task.names, session.drawn),
                "expected": self._recipe.expected.model_dump() if self._recipe.expected else None,
                "timing": account.elapsed(self._watch, self._earlier),
            }
        )
        self._say(
            "model",
            f"{_parameters_told(session)}, {session.precision}, on {backend.name} "
            f"{backend.version()} ({_device(session, backend)}, {_steps(session, backend)}); "
            f"batches of {_batches(session)}",
        )
        if session.trial:
            self._say("precision", f"{session.precision}: {session.trial}")
        if session.drawn is not None:
            drawn = zip(self._dataset.task.names, session.drawn.tolist(), strict=True)
            told = listed([f"{name} {rows:,}" for name, rows in drawn])
            self._say("resample", f"{session.drawn.sum():,} rows an epoch: {told}")
        self._say(*cut_told(session.tables, self._recipe.tokens))

    def order(self, session: Session, *, resume: bool) -> Order:
        """What other processes of the run are to train with this one, by what was begun."""
        return Order(
            folder=str(self._folder.path.resolve()),
            checkpoints=str(self._checkpoints.folder.resolve()),
            precision=session.precision,
            compiled=session.compiled,
            resume=resume,
        )

    def train(self, session: Session, *, resume: bool) -> Progress:
        """Train with the bar on the screen."""
        try:
            with self.bar("train", unit="steps"):
                return session.train(self._checkpoints, self, resume=resume)
        except BaseException:
            with contextlib.suppress(OutputError):  # the folder itself writes next, and tells what is wrong
                self._keep_time()
            raise

    def finish(self, session: Session, progress: Progress) -> None:
        """Evaluate on validation and, once, on test; write figures, predictions and model."""
        data = self._dataset
        with self._watch.measure("evaluate"):
            session.settle()
            temperature, outputs = None, session.logits("validation", self)
            if self._recipe.training.calibrate is not None:
                temperature = fitted(session.task, outputs, data.validation.labels)
                session.cool(temperature.value)
                outputs = outputs / temperature.value
            values = {"validation": session.task.values(outputs)}
            task = session.task.tuned(values["validation"], data.validation.labels)
            if (note := session.task.untuned(data.validation.labels)) is not None:
                self.on_note(note)
            splits = {"validation": (outputs, data.validation.labels)}
            if self._tested:
                tested = session.logits("test", self)
                splits["test"], values["test"] = (tested, data.test.labels), task.values(tested)
        train = dict(progress.train)
        if "accuracy" in train:
            train["majority_share"] = task.majority(data.train.labels)
        figures = {split: task.figures(values[split], labels) for split, (_, labels) in splits.items()}
        calibration, never = None, dict[str, Any]()
        if temperature is not None:
            calibration = account.calibrated(temperature, task, splits)
            self._say("calibrate", account.calibration_told(calibration))
        card = ModelCard(
            blueprint=session.blueprint,
            tokens=self._recipe.tokens,
            task=task,
        )
        save_model(self._folder.path / "model", session.model, card, session.tokenizer)
        if self._tested:
            self._folder.write_predictions(task.rows(data.test.ids, data.test.labels, values["test"]))
            never["never_predicted"] = task.never_predicted(data.test.labels, values["test"])
        clock = progress.clock
        self._folder.update_run(
            {
                "metrics": {"train": train, **figures},
                "task": dump_task(task),
                "calibration": calibration,
                "threshold": task.threshold,
                **never,
                "training": {
                    "epochs": progress.epoch,
                    "steps": progress.step,
                    "best_epoch": progress.best_epoch,
                    "stopped_early": progress.stopped,
                    "stopped_because": progress.reason,
                    "lengths": list(session.lengths),
                },
                "timing": {**account.elapsed(self._watch, self._earlier), **account.trained(clock)},
                "padding_fraction": clock.padded_tokens / clock.cells if clock.cells else 0.0,
                "memory": account.memory(session.backend),
            }
        )
        if self._tested:
            for logger in self._loggers:
                logger.end(progress.step, figures["test"])

    def conclude(self) -> None:
        """The last lines of a run that was tested: what came out, and where it is told."""
        test = self._folder.run["metrics"]["test"]
        text = self._dataset.task.told(test)
        if test.get("classes_predicted") == 1:
            text += "; one class is predicted for every text"
        if never := self._folder.run["never_predicted"]:
            text += f"; never predicted: {listed(never)}"
        wanted = expected_figures(self._recipe.expected.model_dump() if self._recipe.expected else None)
        if told := [f"{name} {100 * value:g}%" for name, value in wanted.items()]:
            text += f"; the recipe expects {', '.join(told)}"
        self._say("test", text)
        self._say("report", str(self._folder.path / "report.html"))

    # --- the training loop's listener

    def on_begin(self, progress: Progress, steps: int) -> None:
        for lost in self._folder.cut_history(progress.told, progress.epoch):
            self.on_note(lost)
        for logger in self._loggers:
            logger.begin(self._folder.history)
        for told in self._told:
            told.on_begin(progress.step, steps)

    @contextlib.contextmanager
    def bar(self, title: str, total: int | None = None, unit: Unit = "rows") -> Iterator[Callable[[int], None]]:
        with contextlib.ExitStack() as entered:
            moved = [entered.enter_context(told.bar(title, total, unit)) for told in self._told]

            def advance(count: int) -> None:
                for move in moved:
                    move(count)

            yield advance

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None:
        for told in self._told:
            told.on_step(step, epoch, tokens, loss, first)

    def on_wait(self, what: str, seconds: float) -> None:
        for told in self._told:
            told.on_wait(what, seconds)

    def on_note(self, text: str) -> None:
        for told in self._told:
            told.on_note(text)

    def on_row(self, row: Mapping[str, Any]) -> None:
        self._folder.append_history(row)
        for logger in self._loggers:
            logger.row(row)
        for told in self._told:
            told.on_row(row)

    def on_save(self) -> None:
        self._folder.sync_history()
        self._keep_time()

    # --- its own

    def _keep_time(self) -> None:
        """Write down what the run has taken, for the part of it that goes on should this one break off."""
        self._folder.update_run({"timing": account.elapsed(self._watch, self._earlier)})

    @property
    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self._folder.path / CHECKPOINTS)

    def _tell_backend(self, backend: Backend) -> None:
        """A note where the run was begun on another one."""
        begun = self._folder.run.get("backend", backend.name)
        if begun != backend.name:
            note = f"the run was begun on {begun} and goes on on {backend.name}"
            if self._recipe.training.dropout_masks == "native":
                note += ", which draws dropout in its own way (training.dropout_masks: portable would not)"
            self.on_note(note)

    def _say(self, topic: str, text: str) -> None:
        for told in self._told:
            told.say(topic, text)


def begun_with(folder: RunFolder, backend: Backend) -> Trials:
    """What was measured on this device when a run was begun: another measurement could choose otherwise, and what is
    gone on with would not be the run that was stopped."""
    run = folder.run
    if (run.get("backend"), run.get("device")) != (backend.name, backend.device()):
        return Trials()
    device, precision, compiled = backend.device(), run.get("precision_trial"), run.get("compile_trial")
    return Trials(
        precision=None if precision is None else Trial(device=device, seconds=precision),
        compiled=None if compiled is None else Trial(device=device, seconds=compiled),
    )


def refuse_changes(folder: RunFolder, recipe: Recipe, dataset: Dataset | None = None) -> None:
    """OutputError where a folder's run was begun with another recipe, or with other rows than these."""
    begun = load_recipe(folder.path / "recipe.yaml")
    old, new = (_keys(each) for each in (begun, recipe))
    faults = [
        f"{key}: the run was begun with {old.get(key)!r}, now it is {new.get(key)!r}"
        for key in sorted(old | new)
        if old.get(key) != new.get(key) and key not in FREE
    ]
    sha = folder.run.get("dataset", {}).get("sha256")
    if dataset is not None and sha is not None and sha != dataset.sha256:
        faults.append("the rows have changed since the run was begun")
    if faults:
        raise OutputError([*faults, f"{folder.path}: put these back to go on, or choose another --out"])


def _keys(recipe: Recipe) -> dict[str, object]:
    """Dotted key -> value, of stages under their names."""
    stages = {stage.name: stage.model_dump(exclude={"name"}) for stage in recipe.stages}
    return flat(recipe.model_dump(exclude={"profiles", "stages"}) | {"stages": stages})


def _parameters(session: Session) -> dict[str, int]:
    """How many numbers the model has, and how many of them are trained, as training begins."""
    of = {"all": session.model.weights, "trained": session.model.trainable_variables}
    return {name: sum(math.prod(variable.shape) for variable in variables) for name, variables in of.items()}


def _parameters_told(session: Session) -> str:
    """That in words, with what is trained where others stay as they are."""
    total, trained = _parameters(session).values()
    if trained == total:
        return f"{total:,} parameters"
    at_first = " at first" if session.recipe.training.unfreeze else ""
    return f"{total:,} parameters, {trained:,} of them trained{at_first}"


def _device(session: Session, backend: Backend) -> str:
    count, parts = session.recipe.training.devices, session.recipe.training.model_parallel
    groups = f", {parts} to a model" if parts > 1 else ""
    return backend.device() if count == 1 else f"{count} devices{groups}, each {backend.device()}"


def _steps(session: Session, backend: Backend) -> str:
    how = backend.steps(session.compiled)
    return f"{how}: {session.compile_trial}" if session.compile_trial else how


def _batches(session: Session) -> str:
    size = session.recipe.training.batch_size
    if session.recipe.training.packing:
        return f"{size} texts, packed into rows of {row_width(session.tables['train'].lengths)} tokens"
    return f"{size} rows and {', '.join(map(str, session.lengths))} tokens"
