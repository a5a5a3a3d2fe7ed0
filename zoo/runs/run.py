"""A finished run, in Python.

In comes a run folder; out come its figures, and predictions for new texts. Refused: empty lists of texts, what is no
text; a folder without a finished model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from zoo.backend import activate
from zoo.data.batches import choose_lengths, few_lengths
from zoo.data.dataset import takes_pairs
from zoo.data.given import Given, Texts, rows_of
from zoo.data.masking import Masking, masking_for
from zoo.data.sources import cache_folder
from zoo.data.tokens import Tokenizer
from zoo.data.trials import Trial
from zoo.errors import DataError, RecipeError, ZooError
from zoo.models import inference
from zoo.models.blueprint import ModelCard, load_card
from zoo.models.builder import POLICIES
from zoo.models.filling import Filler, Guess
from zoo.models.opened import Opened
from zoo.models.places import judged
from zoo.models.saved import load_model
from zoo.recipe import Recipe, load_recipe
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import Precision
from zoo.recipe.faults import not_among
from zoo.runs.opening import open_whole
from zoo.runs.run_folder import RunFolder
from zoo.runs.staged import whole_of
from zoo.tasks import Joint, Predictions, Task
from zoo.tasks.material import Rows
from zoo.training.memory import halved, within_memory
from zoo.training.trial import quicker_precision
from zoo.training.waiting import Firsts, Tell

BATCH = 64
"""Rows a batch in prediction, unless the caller says otherwise."""
MOST_CONFUSED = 1_000
"""Classes of a confusion matrix, which has as many numbers squared."""


class Run:
    """A run folder with what one does with it; the model is loaded at the first prediction."""

    def __init__(
        self, folder: RunFolder, precision: Precision | Literal["auto"] = "float32", task: str | None = None
    ) -> None:
        """`task`: the one of several that it is taken for; see `of_task`."""
        self.folder, self._asked, self.own_task = folder, precision, task

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})" + (f".of_task({self.own_task!r})" if self.own_task else "")

    def of_task(self, name: str) -> Self:
        """This run as one of a single task of its several, by its name: its model has that task's head alone.

        Raises RecipeError where it has no such task.
        """
        task = self.task
        if not isinstance(task, Joint):
            raise RecipeError(f"--task: got {name}, expected none: the run has one task, {task.type}")
        if name not in task.tasks:
            raise RecipeError(f"--task: {not_among(name, task.tasks)}")
        return type(self)(self.folder, self._asked, name)

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Figures of train, validation and test, as in run.json, and with those of test the confusion matrix.

        `confusion_matrix` is a list of rows, one a true class, with how many were taken for each class, in the order of
        `task.names`, on a scale of its levels; there is none of other tasks, of more than MOST_CONFUSED classes, and
        without predictions.jsonl. Of several tasks a figure has the name of its task before it, as `imdb.accuracy`.
        """
        found: dict[str, dict[str, Any]] = self.folder.run.get("metrics", {})
        if self.own_task is not None:
            start = f"{self.own_task}."
            return {
                split: {key.removeprefix(start): value for key, value in figures.items() if key.startswith(start)}
                for split, figures in found.items()
            }
        if "test" in found and (matrix := self._confusion) is not None:
            found["test"] = found["test"] | {"confusion_matrix": matrix}
        return found

    @cached_property
    def _confusion(self) -> list[list[int]] | None:
        task = self.folder.task
        if len(task.names) > MOST_CONFUSED:
            return None
        tested = self.folder.tested(self.folder.predictions)
        found = None if tested is None else task.confusion(*tested)
        return None if found is None else found.tolist()

    @property
    def pooled(self) -> dict[str, Any] | None:
        """Of one of several draws: of each figure of test the mean over all draws, its deviation and 95% interval, and
        the value of each, as run.json of the whole has it; None of a run by itself."""
        found: dict[str, Any] | None = open_whole(whole_of(self.path)).run.get("pooled")
        return found

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of history.jsonl."""
        return self.folder.history

    @cached_property
    def _saved(self) -> tuple[ModelCard, Tokenizer]:
        card, tokenizer = load_card(self.path / "model")
        return card if self.own_task is None else card.alone(self.own_task), tokenizer

    def finished(self) -> Self:
        """This run, once it is sure that there is a model to predict with; OutputError where there is none."""
        _ = self._saved
        return self

    @property
    def card(self) -> ModelCard:
        """What the model is: its blueprint, its truncation and its task."""
        return self._saved[0]

    @property
    def task(self) -> Task:
        """What was learned: from outputs to probabilities, predictions and figures."""
        return self.card.task

    @property
    def tokenizer(self) -> Tokenizer:
        """What cuts texts into the model's tokens."""
        return self._saved[1]

    @cached_property
    def recipe(self) -> Recipe:
        """What it was made by; RecipeError where that is damaged."""
        recipe = load_recipe(self.path / "recipe.yaml")
        return recipe if self.own_task is None else recipe.of_tasks()[self.own_task]

    @cached_property
    def takes_pairs(self) -> bool | None:
        """Whether it was trained on pairs of texts; None where its recipe names a data set that is no longer known."""
        try:
            return takes_pairs(self.recipe)
        except ZooError:  # who predicts needs neither data nor recipe
            return None

    @cached_property
    def trial(self) -> Trial[Precision] | None:
        """What was measured on this device to choose the precision; None where there was nothing to choose."""
        if self._asked != "auto":
            return None
        config, length = self.card.blueprint.backbone, self.card.tokens.max_length
        return quicker_precision(config, activate(), rows=BATCH, length=length, work="predict")

    @property
    def precision(self) -> Precision:
        """Of matrix products in prediction."""
        if self._asked != "auto":
            return self._asked
        return "float32" if self.trial is None else self.trial.chosen

    @cached_property
    def model(self) -> Any:
        """The keras.Model with its trained weights, on the active backend; EnvironmentFault where its device does not
        multiply in this precision."""
        backend = activate()
        backend.refuse("precision", self._asked)
        backend.keep_compiled(cache_folder() / "compiled")
        with within_memory(backend, "the model", "free some, or take a machine with more"):
            return load_model(self.path / "model", self.card, precision=self.precision, task=self.own_task)

    @cached_property
    def opened(self) -> Opened:
        """The model as explanations look into it, in float32 whatever the precision."""
        exact = POLICIES[self.precision] == POLICIES["float32"]
        model = self.model if exact else load_model(self.path / "model", self.card, task=self.own_task)
        return Opened(model)

    @cached_property
    def filler(self) -> Filler:
        """What fills masks in texts; RecipeError where this is no masked language model."""
        if self.task.type != "masked":
            raise RecipeError(
                f"got a run of task: {self.task.type}, expected one of task: masked: train it by `python -m zoo.run "
                "imdb_masked`"
            )
        return Filler(self.model, self.tokenizer, longest=self.card.tokens.max_length)

    @cached_property
    def _masking(self) -> Masking | None:
        """What hides tokens, where a masked language model is evaluated."""
        return masking_for(self.card.blueprint.head, self.tokenizer)

    @cached_property
    def _predictor(self) -> Callable[[Any], Any]:
        model = self.model if self._masking is None else judged(self.model)
        return activate().predictor(model, precision=self.precision)

    @property
    def _compiles(self) -> bool:
        """Whether each shape of batch is compiled."""
        return activate().compiles_shapes(False)

    @cached_property
    def _firsts(self) -> Firsts:
        return Firsts(compiles=self._compiles)

    def _worth_compiling(self, sizes: NDArray[np.int64]) -> tuple[int, ...]:
        """The lengths that batches of rows of these sizes have: of some that are always the same, those that save more
        than it takes to compile them."""
        longest, backbone = self.card.tokens.max_length, self.card.blueprint.backbone
        forward = Dimensions.of(backbone).flops_per_token(longest) / 3
        return choose_lengths(sizes, saving=inference.COMPILING / forward, among=few_lengths(longest))

    def values(
        self,
        texts: Given,
        pairs: Given | None = None,
        *,
        batch_size: int = BATCH,
        place: Callable[[int], str] = "texts[{}]".format,
        progress: Callable[[int], None] | None = None,
        wait: Tell | None = None,
    ) -> NDArray[np.float64]:
        """What the model says of texts, [rows, names] float64, in their order: probabilities of classes, or numbers.

        Args:
            texts: the texts, in a list, tuple, NumPy array, pandas or Polars series, or Arrow array; where the run was
                trained on pairs the first text of each, or without `pairs` a list of pairs, or a frame of two columns;
                where it answers for words, also a list of the words of each text.
            pairs: second text of each row, where the run was trained on pairs.
            batch_size: rows a batch.
            place: what an error calls a row, by its number from 0.
            progress: called with the number of rows done since the last call.
            wait: called with what is compiled, and for how many seconds already, every second, from another thread.

        Raises:
            DataError: no texts, something else than strings, pairs to a run of single texts or single ones to a run of
                pairs.
        """
        if self.task.worded and pairs is None:
            rows = Texts.worded(texts)
        else:
            texts, pairs = rows_of(texts, pairs, takes_pairs=self.takes_pairs)
            rows = Texts.of(texts, pairs, worded=False)
        if not rows.texts:
            raise DataError("there are no texts: give at least one")
        return self.values_of(rows, batch_size=batch_size, place=place, progress=progress, wait=wait)

    def values_of(
        self,
        rows: Rows,
        *,
        batch_size: int = BATCH,
        place: Callable[[int], str] = "texts[{}]".format,
        progress: Callable[[int], None] | None = None,
        wait: Tell | None = None,
    ) -> NDArray[np.float64]:
        """What the model says of rows of the kind that it was trained on, at least one; see `values`."""
        card, tokenizer = self._saved
        predict = self._predictor  # what this device refuses is said before the texts are cut
        table = tokenizer.encode(rows.texts, rows.pairs, card.tokens, place=place, spans=self.task.spanned)
        most, lengths = len(table), None
        if self._compiles:  # to shapes that other texts will have, too
            most, lengths = 1 << (most - 1).bit_length(), self._worth_compiling(table.lengths)
        size = min(batch_size, most)
        what = f"a batch of {size} rows of up to {table.lengths.max()} tokens"
        with within_memory(activate(), what, halved("--batch-size ", size, "give shorter texts")):
            logits = inference.logits(
                predict,
                table,
                names=inference.input_names(self.model),
                batch_size=size,
                lengths=lengths,
                masking=self._masking,
                around=lambda shape: self._firsts.computing(shape, wait),
                progress=progress,
            )
        return self.task.values(inference.by_text(logits, self.task, table, rows, pool=card.tokens.pool))

    def fill(self, text: str, *, top: int = 5) -> list[list[Guess]]:
        """The likeliest words at each [MASK] of a text, the likeliest first; of a run of task: masked.

        Raises:
            DataError: the text has no mask, or loses it because it is too long.
            RecipeError: a run of another task.
        """
        return self.filler.fill([text], top=top)[0]

    def probabilities(self, texts: Given, pairs: Given | None = None, **options: Any) -> NDArray[np.float64]:
        """`values`, where they are probabilities; ZooError of a run that predicts numbers."""
        if self.task.quantity != "probability":
            raise ZooError(f"this run predicts numbers ({self.task.listed_names}), not probabilities: use run.values")
        return self.values(texts, pairs, **options)

    def named(self, values: NDArray[np.float64]) -> Predictions:
        """The answers that values [rows, names] stand for."""
        return Predictions(self.task.predictions(values))

    def predict(self, texts: Given, pairs: Given | None = None) -> Predictions:
        """The answer for each text, in order, as the run's task has it; raises as `values`, and RecipeError where the
        task has none for whole texts."""
        self.task.refuse("predict")
        return self.named(self.values(texts, pairs))
