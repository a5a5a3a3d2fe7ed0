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
from zoo.data.given import Given, rows_of
from zoo.data.sources import cache_folder
from zoo.data.tokens import Tokenizer
from zoo.data.trials import Trial
from zoo.errors import DataError, ZooError
from zoo.models import inference
from zoo.models.builder import POLICIES
from zoo.models.opened import Opened
from zoo.models.saved import ModelCard, load_card, load_model
from zoo.recipe import load_recipe
from zoo.recipe.estimate import Dimensions, Precision
from zoo.runs.run_folder import RunFolder
from zoo.tasks import Predictions, Task
from zoo.training.memory import halved, within_memory
from zoo.training.trial import quicker_precision
from zoo.training.waiting import Firsts, Tell

BATCH = 64
"""Rows a batch in prediction, unless the caller says otherwise."""
MOST_CONFUSED = 1_000
"""Classes of a confusion matrix, which has as many numbers squared."""


class Run:
    """A run folder with what one does with it; the model is loaded at the first prediction."""

    def __init__(self, folder: RunFolder, precision: Precision | Literal["auto"] = "float32") -> None:
        self.folder, self._asked = folder, precision

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Figures of train, validation and test, as in run.json, and with those of test the confusion matrix.

        `confusion_matrix` is a list of rows, one a true class, with how many were taken for each class, in the order of
        `task.names`, on a scale of its levels; there is none of other tasks, of more than MOST_CONFUSED classes, and
        without predictions.jsonl.
        """
        found: dict[str, dict[str, Any]] = self.folder.run.get("metrics", {})
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
    def history(self) -> list[dict[str, Any]]:
        """The rows of history.jsonl."""
        return self.folder.history

    @cached_property
    def _saved(self) -> tuple[ModelCard, Tokenizer]:
        return load_card(self.path / "model")

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
    def takes_pairs(self) -> bool | None:
        """Whether it was trained on pairs of texts; None where its recipe names a data set that is no longer known."""
        try:
            return takes_pairs(load_recipe(self.path / "recipe.yaml"))
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
            return load_model(self.path / "model", self.card, precision=self.precision)

    @cached_property
    def opened(self) -> Opened:
        """The model as explanations look into it, in float32 whatever the precision."""
        exact = POLICIES[self.precision] == POLICIES["float32"]
        model = self.model if exact else load_model(self.path / "model", self.card)
        return Opened(model)

    @cached_property
    def _predictor(self) -> Callable[[Any], Any]:
        return activate().predictor(self.model, precision=self.precision)

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
                trained on pairs the first text of each, or without `pairs` a list of pairs, or a frame of two columns.
            pairs: second text of each row, where the run was trained on pairs.
            batch_size: rows a batch.
            place: what an error calls a row, by its number from 0.
            progress: called with the number of rows done since the last call.
            wait: called with what is compiled, and for how many seconds already, every second, from another thread.

        Raises:
            DataError: no texts, something else than strings, pairs to a run of single texts or single ones to a run of
                pairs.
        """
        texts, pairs = rows_of(texts, pairs, takes_pairs=self.takes_pairs)
        if not texts:
            raise DataError("there are no texts: give at least one")
        card, tokenizer = self._saved
        predict = self._predictor  # what this device refuses is said before the texts are cut
        table = tokenizer.encode(texts, pairs, card.tokens, place=place)
        rows, lengths = len(texts), None
        if self._compiles:  # to shapes that other texts will have, too
            rows, lengths = 1 << (rows - 1).bit_length(), self._worth_compiling(table.lengths)
        size = min(batch_size, rows)
        what = f"a batch of {size} rows of up to {table.lengths.max()} tokens"
        with within_memory(activate(), what, halved("--batch-size ", size, "give shorter texts")):
            logits = inference.logits(
                predict,
                table,
                names=inference.input_names(self.model),
                batch_size=size,
                lengths=lengths,
                around=lambda shape: self._firsts.computing(shape, wait),
                progress=progress,
            )
        return self.task.values(logits)

    def probabilities(self, texts: Given, pairs: Given | None = None, **options: Any) -> NDArray[np.float64]:
        """`values`, where they are probabilities; ZooError of a run that predicts numbers."""
        if self.task.quantity != "probability":
            raise ZooError(f"this run predicts numbers ({self.task.listed_names}), not probabilities: use run.values")
        return self.values(texts, pairs, **options)

    def named(self, values: NDArray[np.float64]) -> Predictions:
        """The answers that values [rows, names] stand for."""
        return Predictions(self.task.predictions(values))

    def predict(self, texts: Given, pairs: Given | None = None) -> Predictions:
        """The answer for each text, in order, as the run's task has it; raises as `values`."""
        return self.named(self.values(texts, pairs))
