"""A run as one process of an engine holds it.

In come columns of texts, a batch at a time; out come predictions, a row each. Refused: a folder without a finished
model, and rows without a text unless they are to have no prediction.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from zoo.data.columns import as_tuple
from zoo.data.dataset import text_column
from zoo.data.streams import Part, of_texts
from zoo.recipe.estimate import Precision
from zoo.runs.answering import Answering, blank
from zoo.runs.opening import open_run
from zoo.runs.run import BATCH, Run
from zoo.tasks import Prediction

__all__ = ["Loaded", "OnMissing"]

OnMissing = Literal["error", "keep"]
"""What a row without a text gets: an error, or an empty prediction."""


class Loaded:
    """A finished run; its model is loaded at the first prediction, and stays.

    Args:
        run: its folder.
        task: of a run of several tasks the one that it is taken for.
        precision: of matrix products, see `zoo.load_run`.
        batch_size: rows that are computed together.
        on_missing: what a row without a text gets.

    Raises OutputError where there is no finished run, RecipeError where it has no such task or none for whole texts.
    """

    def __init__(
        self,
        run: str | Path,
        *,
        task: str | None = None,
        precision: Precision | Literal["auto"] = "float32",
        batch_size: int = BATCH,
        on_missing: OnMissing = "error",
    ) -> None:
        found = Run(open_run(run), precision)
        self.run = (found if task is None else found.of_task(task)).finished()
        self.run.task.refuse("predict")
        self._batch_size, self._on_missing = batch_size, on_missing

    @cached_property
    def blank(self) -> Prediction:
        """Any prediction, for its columns."""
        return blank(self.run)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column of the text, or the two of pairs, as the recipe names them."""
        return as_tuple(text_column(self.run.recipe))

    def predict(self, texts: Sequence[Any], pairs: Sequence[Any] | None = None) -> list[Prediction | None]:
        """What the run says of each text, in order; None where it is missing and that is no error.

        Raises DataError as `Run.values`, and where a row has no text and that is an error.
        """
        found = Collected()
        with Answering(
            self.run,
            "the batch",
            on_missing=self._on_missing,
            batch_size=self._batch_size,
            bar=contextlib.nullcontext(lambda count: None),
            wait=lambda what, seconds: None,
        ) as answering:
            answering.take(of_texts(texts, pairs).parts, found)
        return found.rows


class Collected:
    """Answers that stay where they are."""

    def __init__(self) -> None:
        self.rows: list[Prediction | None] = []

    def write(self, part: Part, found: Sequence[Prediction | None]) -> None:
        self.rows += found

    def close(self) -> None:
        pass
