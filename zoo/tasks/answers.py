"""Right answers to questions, and answers that are given, by question.

In come cells as SQuAD's files have them (lists of {text, answer_start}) or Hugging Face's ({text: [...], answer_start:
[...]}); out come values that everyone else takes as they are: their number is that of the questions, and rows are taken
out of them by number or mask. Refused: cells that are no answers, and answers that do not stand in their context where
they are said to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError
from zoo.recipe import notebook
from zoo.tasks.prediction import Prediction, Schema, closed
from zoo.tasks.refused import Where

__all__ = [
    "NONE",
    "AnswerPrediction",
    "Answers",
    "Candidate",
    "Given",
    "Right",
    "Rights",
    "read_answers",
    "misplaced",
]

NONE = "no answer"
"""How people are told that there is none."""
Rows = NDArray[np.integer] | NDArray[np.bool_] | Sequence[int]
Value = TypeVar("Value")


class Right(NamedTuple):
    """A right answer: its text, and the character of the context at which it begins."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """One past its last character."""
        return self.start + len(self.text)


class Candidate(NamedTuple):
    """An answer that could be given: its text, its first and one-past-last character in the context, and its score, the
    sum of the logits of its start and its end."""

    text: str
    start: int
    end: int
    score: float


class Rights(tuple[Right, ...]):
    """The right answers of one question, none where it has none."""

    def tobytes(self) -> bytes:
        """As an array has it."""
        return repr([tuple(answer) for answer in self]).encode()


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The right answers of questions."""

    rows: tuple[Rights, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Rights]:
        return iter(self.rows)

    @overload
    def __getitem__(self, rows: int | np.integer) -> Rights: ...
    @overload
    def __getitem__(self, rows: Rows) -> Self: ...
    def __getitem__(self, rows: Any) -> Any:
        return self.rows[rows] if isinstance(rows, int | np.integer) else type(self)(rows=_taken(self.rows, rows))

    @property
    def texts(self) -> list[list[str]]:
        """The texts of each question's right answers."""
        return [[answer.text for answer in row] for row in self.rows]

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which questions have an answer, [questions]."""
        return np.fromiter(map(bool, self.rows), bool, len(self.rows))

    @property
    def spans(self) -> NDArray[np.int64]:
        """First and one-past-last character of each question's first answer, -1, -1 where it has none, [questions, 2].

        White space around an answer is no part of it, as it is none of a token.
        """
        found = np.full((len(self.rows), 2), -1, np.int64)
        for place, row in enumerate(self.rows):
            for text, start in row[:1]:
                found[place] = start + len(text) - len(text.lstrip()), start + len(text.rstrip())
        return found

    def tobytes(self) -> bytes:
        """As an array has it."""
        return b"\0".join(row.tobytes() for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a model answers to questions.

    candidates: of each question, best first. none: the score of giving no answer, [questions] float64. losses: the
    mean loss over the windows of each question, [questions]; None where the right answers are not known.
    """

    candidates: tuple[tuple[Candidate, ...], ...]
    none: NDArray[np.float64]
    losses: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.candidates)

    def __getitem__(self, rows: Rows) -> Given:
        losses = None if self.losses is None else self.losses[rows]
        return Given(candidates=_taken(self.candidates, rows), none=self.none[rows], losses=losses)

    @property
    def best(self) -> list[str]:
        """The best answer of each question; "" where its context has no token."""
        return [row[0].text if row else "" for row in self.candidates]

    @property
    def preferences(self) -> NDArray[np.float64]:
        """By how much no answer scores higher than the best one, [questions]; infinite where there is no other."""
        scores = [row[0].score if row else -np.inf for row in self.candidates]
        found: NDArray[np.float64] = self.none - np.array(scores)
        return found


@dataclass(frozen=True, kw_only=True)
class AnswerPrediction(Prediction):
    """The answer to one question, "" where none is given, with its place in the context and its probability.

    answers: those that could be given, best first, each with its probability; no_answer: that of giving none, None
    where the run always gives one. They add up to 1.
    """

    answer: str
    start: int | None
    end: int | None
    probability: float
    answers: tuple[tuple[Candidate, float], ...]
    no_answer: float | None

    def fields(self) -> dict[str, Any]:
        told = [
            {"text": each.text, "start": each.start, "end": each.end, "probability": share}
            for each, share in self.answers
        ]
        found = {"answer": self.answer, "start": self.start, "end": self.end, "probability": self.probability}
        return {**found, "no_answer": self.no_answer, "answers": told}

    def schema(self, names: Sequence[str]) -> dict[str, Schema]:
        text, share, nothing = {"type": "string"}, {"type": "number"}, {"type": "null"}
        place = {"type": "integer", "minimum": 0}
        one = closed({"text": text, "start": place, "end": place, "probability": share})
        return {
            "answer": text,
            **{name: {"anyOf": [place, nothing]} for name in ("start", "end")},
            "probability": share,
            "no_answer": {"anyOf": [share, nothing]},
            "answers": {"type": "array", "items": one},
        }

    def cells(self) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in self.fields().items() if name not in ("no_answer", "answers")]

    def told(self) -> tuple[str, str]:
        return self.answer or NONE, f"{self.probability:.0%}".rjust(4)

    def _repr_html_(self) -> str:
        """In a notebook: the answer, and all that could be given."""
        none = [] if self.no_answer is None else [(NONE, self.no_answer)]
        shares = sorted([*((each.text, share) for each, share in self.answers), *none], key=lambda pair: -pair[1])
        return notebook.heading(*self.told()) + notebook.bars(shares)


def _taken(values: tuple[Value, ...], rows: Rows) -> tuple[Value, ...]:
    chosen = np.asarray(rows)
    return tuple(values[i] for i in (np.flatnonzero(chosen) if chosen.dtype == bool else chosen).tolist())


def read_answers(split: str, cells: Sequence[Any], where: Where) -> Answers:
    """The right answers of a split's questions; DataError where a cell is something else."""
    rows, odd = [], []
    for number, cell in enumerate(cells):
        found = _answers(cell)
        if found is None:
            odd.append(number)
        else:
            rows.append(found)
    if odd:
        raise DataError(
            f"{where(split, odd)}: got {cells[odd[0]]!r:.60}, expected a list of {{text, answer_start}}, with none in "
            "it where a question has no answer: write them as SQuAD has them"
        )
    return Answers(rows=tuple(rows))


def _answers(cell: Any) -> Rights | None:
    """The answers of a cell; None where it has others than answers."""
    if isinstance(cell, Mapping):
        texts, starts = (cell.get(key) for key in ("text", "answer_start"))
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            return None
        cell = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if not isinstance(cell, list) or not all(isinstance(each, Mapping) for each in cell):
        return None
    found = [(each.get("text"), each.get("answer_start")) for each in cell]
    whole = all(
        isinstance(text, str) and text.strip() and isinstance(start, int) and not isinstance(start, bool) and start >= 0
        for text, start in found
    )
    return Rights(Right(text, start) for text, start in found) if whole else None


def misplaced(answers: Answers, contexts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The questions whose answers do not stand in their context at the character that they are said to begin at, by
    number, and what is wrong."""
    for number, (row, context) in enumerate(zip(answers, contexts, strict=True)):
        for text, start in row:
            if not context.startswith(text, start):
                there = context[start : start + len(text)]
                yield (
                    number,
                    f"has the answer {text!r:.40}, but at {start} its context has {there!r:.40}, expected its "
                    "words from answer_start on, counted in characters from 0: correct it",
                )
                break
