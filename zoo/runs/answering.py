"""A run's answers to rows that come one after the other.

In come a run and rows from zoo/data/streams.py; out go rows with their predictions, in order, to one of
zoo/runs/answers.py. Refused: rows without a text, where that is an error, and rows of which none has one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Self

from zoo.data.streams import OnMissing, Part, Source
from zoo.data.tables import SHOWN
from zoo.errors import DataError
from zoo.runs.answers import Answers
from zoo.runs.run import Run
from zoo.tasks import Prediction
from zoo.training.waiting import Tell

__all__ = ["Answering", "Tally", "answer", "blank"]


@dataclass
class Tally:
    """rows: read; missing: of them without a text; first: where the first of these are; seconds: from the loaded model
    to the last row."""

    rows: int = 0
    missing: int = 0
    first: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Answering:
    """Predicts rows that come in parts and passes them on; a context, which ends what shows how far it is.

    Args:
        run: a finished one.
        name: what people call the rows' source.
        on_missing: what a row without a text gets.
        batch_size: rows that are computed together.
        bar: shows how far it is; opened once the model is loaded, which is no part of the rate.
        wait: see `Run.values`.
    """

    def __init__(
        self,
        run: Run,
        name: str,
        *,
        on_missing: OnMissing,
        batch_size: int,
        bar: AbstractContextManager[Callable[[int], None]],
        wait: Tell,
    ) -> None:
        self.tally = Tally()
        self._run, self._name, self._on_missing = run, name, on_missing
        self._batch_size, self._bar, self._wait = batch_size, bar, wait
        self._shown = contextlib.ExitStack()
        self._begun: float | None = None
        self._progress: Callable[[int], None] = lambda count: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._begun is not None:
            self.tally.seconds = time.monotonic() - self._begun
        self._shown.close()

    def take(self, parts: Iterable[Part], answers: Answers) -> None:
        """Predict rows and write them, a part at a time; DataError where a row has no text and that is an error."""
        for part in parts:
            present = part.present
            missing = sorted({*range(len(part.texts))}.difference(present))
            if missing and self._on_missing == "error":
                raise DataError(
                    f"{self._name}: {part.places[missing[0]]} has no text: give it one, or take --on-missing keep (an "
                    "empty prediction) or --on-missing drop (no row)"
                )
            found: list[Prediction | None] = [None] * len(part.texts)
            if present:
                self._begin()
                values = self._run.values(
                    [part.given[i] for i in present],
                    None if part.pairs is None else [part.pairs[i] for i in present],
                    batch_size=self._batch_size,
                    place=self._placing(part, present),
                    progress=self._progress,
                    wait=self._wait,
                )
                for i, prediction in zip(present, self._run.named(values), strict=True):
                    found[i] = prediction
            answers.write(*(_taken(part, found, present) if self._on_missing == "drop" else (part, found)))
            self._progress(len(missing))
            tally = self.tally
            tally.rows += len(part.texts)
            tally.missing += len(missing)
            tally.first += [part.places[i] for i in missing[: SHOWN - len(tally.first)]]

    def _begin(self) -> None:
        """Load the model, where that is not done, and begin to show how far it is."""
        if self._begun is None:
            _ = self._run.model
            self._progress = self._shown.enter_context(self._bar)
            self._begun = time.monotonic()
            self._progress(self.tally.rows)  # so far all without a text

    def _placing(self, part: Part, rows: Sequence[int]) -> Callable[[int], str]:
        """What tells where the first of these rows is, the second, and so on."""
        return lambda number: f"{self._name}: {part.places[rows[number]]}"


def answer(answering: Answering, source: Source, answers: Answers) -> Tally:
    """Predict all rows of a source and write them; DataError as `Answering.take`, and where no row has a text."""
    with answering:
        answering.take(source.parts, answers)
        if answering.tally.rows == answering.tally.missing:
            raise DataError(f"{source.name} has no text, expected at least one: a row or line with words")
        answers.close()
    return answering.tally


def _taken(part: Part, found: Sequence[Any], rows: Sequence[int]) -> tuple[Part, list[Any]]:
    def take(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in rows]

    pairs = None if part.pairs is None else take(part.pairs)
    kept = {name: take(values) for name, values in part.kept.items()}
    taken = Part(texts=take(part.texts), pairs=pairs, given=take(part.given), kept=kept, places=take(part.places))
    return taken, take(found)


def blank(run: Run) -> Prediction:
    """Any prediction of a run, for its columns; nothing is computed."""
    return run.named(run.task.blank)[0]
