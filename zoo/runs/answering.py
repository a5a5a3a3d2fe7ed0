"""A run's answers to rows that come one after the other.

In come a run and rows from zoo/data/streams.py; out go rows with their predictions, in order, to one of
zoo/runs/answers.py. Refused: rows without a text, where that is an error, and rows of which none has one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from zoo.data.streams import OnMissing, Part, Source
from zoo.data.tables import SHOWN
from zoo.errors import DataError
from zoo.runs.answers import Answers
from zoo.runs.run import Run
from zoo.tasks import Prediction
from zoo.training.waiting import Tell

__all__ = ["Tally", "answer", "blank"]


@dataclass
class Tally:
    """rows: read; missing: of them without a text; first: where the first of these are; seconds: from the loaded model
    to the last row."""

    rows: int = 0
    missing: int = 0
    first: list[str] = field(default_factory=list)
    seconds: float = 0.0


def answer(
    run: Run,
    source: Source,
    answers: Answers,
    *,
    on_missing: OnMissing,
    batch_size: int,
    bar: AbstractContextManager[Callable[[int], None]],
    wait: Tell,
) -> Tally:
    """Predict all rows and write them, a part at a time.

    Args:
        run: a finished one.
        source: the rows.
        answers: where they go.
        on_missing: what a row without a text gets.
        batch_size: rows that are computed together.
        bar: shows how far it is; opened once the model is loaded, which is no part of the rate.
        wait: see `Run.values`.

    Raises:
        DataError: a row has no text where that is an error, or no row has one.
    """
    tally = Tally()
    begun: float | None = None
    early = 0
    with contextlib.ExitStack() as shown:
        for part in source.parts:
            present = part.present
            missing = sorted({*range(len(part.texts))}.difference(present))
            if missing and on_missing == "error":
                raise DataError(
                    f"{source.name}: {part.places[missing[0]]} has no text: give it one, or take --on-missing keep (an "
                    "empty prediction) or --on-missing drop (no row)"
                )
            found: list[Prediction | None] = [None] * len(part.texts)
            if present:
                if begun is None:
                    _ = run.model
                    progress = shown.enter_context(bar)
                    begun = time.monotonic()
                    progress(early)
                values = run.values(
                    [part.given[i] for i in present],
                    None if part.pairs is None else [part.pairs[i] for i in present],
                    batch_size=batch_size,
                    place=_placing(source, part, present),
                    progress=progress,
                    wait=wait,
                )
                for i, prediction in zip(present, run.named(values), strict=True):
                    found[i] = prediction
            answers.write(*(_taken(part, found, present) if on_missing == "drop" else (part, found)))
            if begun is None:
                early += len(missing)
            else:
                progress(len(missing))
            tally.rows += len(part.texts)
            tally.missing += len(missing)
            tally.first += [part.places[i] for i in missing[: SHOWN - len(tally.first)]]
        if begun is None:
            raise DataError(f"{source.name} has no text, expected at least one: a row or line with words")
        answers.close()
        tally.seconds = time.monotonic() - begun
    return tally


def _placing(source: Source, part: Part, rows: Sequence[int]) -> Callable[[int], str]:
    """What tells where the first of these rows is, the second, and so on."""
    return lambda number: f"{source.name}: {part.places[rows[number]]}"


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
