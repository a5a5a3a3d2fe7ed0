"""An answer to a question, by where it stands in a context: extractive question answering.

In come answers, logits of where one starts and where it ends for every token, and windows of contexts; out come
cross-entropy, answers with their scores, and figures as SQuAD's official script has them. Where train has questions
without an answer, none is given where that scores higher than the best one by more than a threshold. Refused: what
zoo.tasks.answers refuses, and data with classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from zoo.errors import DataError
from zoo.recipe.heads import SpanHead
from zoo.recipe.notebook import Mark
from zoo.recipe.showing import listed
from zoo.score import answers, metrics, spans
from zoo.tasks.answers import NONE, AnswerPrediction, Answers, Candidate, Given, Right, Rights, misplaced, read_answers
from zoo.tasks.by_class import class_occurrences
from zoo.tasks.losses import BITS, END, START, span_loss
from zoo.tasks.material import Rows, Stated, Tokenized
from zoo.tasks.prediction import Prediction
from zoo.tasks.refused import Where, by_number, each_split
from zoo.tasks.shown import Column, Mistake, Mistakes, Picture, Table
from zoo.tasks.task import Floats, Rankings, Task
from zoo.tasks.thresholds import enough, left_alone

__all__ = ["Span"]


@dataclass(frozen=True, kw_only=True)
class Span(Task):
    """Targets are `Answers`, and values `Given`.

    longest: tokens of an answer, at most; count: answers that are told of a question, at most. unanswerable: whether
    train has questions without an answer. threshold: by how much no answer has to score higher than the best one for
    none to be given; None where one is always given. asked: what the recipe says of that, None has validation decide.
    """

    type: Literal["span"] = "span"
    longest: int = 30
    count: int = 20
    unanswerable: bool = False
    threshold: float | None = None
    asked: float | None = None

    each: ClassVar[Literal["text", "token"]] = "token"
    spanned: ClassVar[bool] = True
    pair: ClassVar[tuple[str, str]] = ("question", "context")
    watched: ClassVar[bool] = False
    pipeline: ClassVar[str] = "question-answering"
    piped: ClassVar[bool] = False
    titles: ClassVar[Mapping[str, str]] = {
        "f1": "F1",
        "exact_match": "exact match",
        "has_answer_f1": "F1, questions with an answer",
        "has_answer_exact_match": "exact match, questions with an answer",
        "no_answer_f1": "questions without an answer right",
        "loss": "loss, nats",
    }
    shares: ClassVar[frozenset[str]] = frozenset(titles) - {"loss"}
    headline: ClassVar[tuple[str, ...]] = ("exact_match", "f1")
    drawn: ClassVar[tuple[str, ...]] = ("f1", "exact_match")
    quantity: ClassVar[str] = "score"
    options: ClassVar[str | None] = '--question "..." --context "..."'

    # --- from rows to targets

    @classmethod
    def of(cls, head: SpanHead) -> Self:
        asked = None if head.threshold == "tune" else head.threshold
        return cls(longest=head.max_answer_length, count=head.n_best, asked=asked)

    def misfit(self, stated: Stated) -> str | None:
        if stated.names is None:
            return None
        return f"got span, expected a head for classes: the data has {listed(stated.names)}, and no answers"

    def missing(self, label: Any) -> bool:
        """A list without an answer in it is a question without one, and nothing missing."""
        return label is None or label != label

    def learned(
        self, labels: Mapping[str, Sequence[Any]], stated: Stated, where: Where = by_number
    ) -> tuple[Self, dict[str, Any]]:
        return self, each_split(labels, lambda split, cells: read_answers(split, cells, where))

    def targets(self, labels: Sequence[Any], stated: Stated, where: Where = by_number) -> Any:
        return read_answers("rows", labels, where)

    def misplaced(self, targets: Any, rows: Rows) -> Iterable[tuple[int, str]]:
        return misplaced(targets, rows.pairs or ())

    def fitted(self, train: Any) -> Self:
        there = train.there
        if not there.any():
            raise DataError("label: no question of train has an answer: there is nothing to learn")
        if there.all():
            return self
        return replace(self, unanswerable=True, threshold=0.0 if self.asked is None else self.asked)

    def strata(self, targets: Any) -> NDArray[np.int64]:
        """Questions with an answer and without one."""
        _, numbers = np.unique(targets.there, return_inverse=True)
        found: NDArray[np.int64] = numbers.astype(np.int64)
        return found

    def refuse_few(self, targets: Any, parts: tuple[str, ...]) -> None:
        """No question has to stand in every part."""

    def account(self, targets: Mapping[str, Any]) -> dict[str, Any]:
        counts = {split: [int(rows.there.sum()), int((~rows.there).sum())] for split, rows in targets.items()}
        return {"label_names": ["an answer", NONE], "label_counts": counts}

    # --- from targets to a trained model

    @property
    def units(self) -> int:
        return 2

    @property
    def unit_names(self) -> tuple[str, ...]:
        return ("start", "end")

    @property
    def activation(self) -> Literal["softmax"]:
        return "softmax"

    @property
    def problem_type(self) -> None:
        return None

    def placed(self, targets: Any, table: Tokenized, rows: Rows) -> NDArray[np.int32]:
        """1 where the first answer starts, 2 more where it ends, both at a window's first token where it has the answer
        not whole, and 0 elsewhere, [tokens] int32."""
        assert table.spans is not None
        at = spans.places(targets.spans, table.offsets, table.owners, table.spans)
        at = np.where(at < 0, table.offsets[:-1, None], at)
        found = np.zeros(len(table.ids), np.int32)
        for column, bit in enumerate((START, END)):
            found[at[:, column]] += bit
        return found

    def loss(self, outputs: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
        """Cross-entropy in nats over the tokens, the mean of that of the start and that of the end; see `Task.loss`."""
        return span_loss(outputs, targets, weights)

    def hits(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Mapping[str, float]:
        return {}

    # --- from outputs to what is said of them

    def gathered(self, outputs: np.ndarray, table: Tokenized, rows: Rows) -> Given:
        """The best answers over the windows of each question."""
        assert table.spans is not None
        logits = metrics.finite(outputs, self.units)
        best = spans.best_spans(
            logits, table.offsets, table.owners, table.spans, count=self.count, longest=self.longest
        )
        candidates, none = [], []
        for context, found in zip(rows.pairs or (), best, strict=True):
            candidates.append(tuple(_candidate(context, *each) for each in _ranked(found)))
            none.append(found.none)
        known = getattr(rows, "labels", None)
        losses = None if known is None else self._losses(logits, table, self.placed(known, table, rows))
        return Given(candidates=tuple(candidates), none=np.array(none), losses=losses)

    def _losses(self, logits: Floats, table: Tokenized, targets: NDArray[np.int32]) -> Floats:
        """The mean of each question's windows, as `loss` has it, [questions]."""
        each = [
            -sum(float(log_softmax(logits[rows, column])[(targets[rows] & bit) > 0].sum()) for column, bit in BITS) / 2
            for rows in map(slice, table.offsets[:-1].tolist(), table.offsets[1:].tolist())
        ]
        found: Floats = np.bincount(table.owners, each) / np.bincount(table.owners)
        return found

    def values(self, outputs: Any) -> Any:
        return outputs

    def _answered(self, values: Given) -> NDArray[np.bool_]:
        """Which questions an answer is given to, [questions]."""
        if self.threshold is None:
            return np.ones(len(values), bool)
        found: NDArray[np.bool_] = values.preferences <= self.threshold
        return found

    def decided(self, values: Any) -> Any:
        """The answer to each question, "" where none is given."""
        return [best if given else "" for best, given in zip(values.best, self._answered(values), strict=True)]

    def same(self, first: Any, second: Any) -> NDArray[np.bool_]:
        pairs = zip(self.decided(first), self.decided(second), strict=True)
        return np.array([one == other for one, other in pairs], bool)

    def difference(self, first: Any, second: Any) -> float:
        """The largest between scores of the best answers, and of giving none."""
        scores = [np.array([row[0].score for row in each.candidates if row]) for each in (first, second)]
        return max(float(np.abs(a - b).max(initial=0.0)) for a, b in (scores, (first.none, second.none)))

    def tuned(self, values: Any, targets: Any) -> Self:
        """With the threshold of the best F1, where train has questions without an answer and the recipe says none."""
        if not self.unanswerable or self.asked is not None:
            return self
        if not enough(targets.there):
            return replace(self, asked=self.threshold)
        _, f1 = answers.matches(values.best, targets.texts)
        answered = np.array(list(map(bool, values.best)))
        _, threshold = answers.best_threshold(f1, values.preferences, targets.there, answered)
        return replace(self, threshold=threshold)

    def untuned(self, targets: Any) -> str | None:
        if not self.unanswerable or self.asked is not None or enough(targets.there):
            return None
        return left_alone(["no answer"], f"{self.threshold:g}")

    def figures(self, values: Any, targets: Any) -> dict[str, float]:
        exact, f1 = answers.matches(self.decided(values), targets.texts)
        found = answers.evaluate(exact, f1, targets.there)
        return found if values.losses is None else {**found, "loss": float(values.losses.mean())}

    def predictions(self, values: Any) -> list[Prediction]:
        found: list[Prediction] = []
        for row, none, answered in zip(values.candidates, values.none, self._answered(values), strict=True):
            beside = [none] if self.unanswerable else []
            shares = spans.probabilities(np.array([*(each.score for each in row), *beside])).tolist()
            given = row[0] if row and answered else None
            no_answer = shares[len(row)] if self.unanswerable else None
            found.append(
                AnswerPrediction(
                    answer=given.text if given else "",
                    start=given.start if given else None,
                    end=given.end if given else None,
                    probability=shares[0] if given else no_answer or 0.0,
                    answers=tuple(zip(row, shares, strict=False)),
                    no_answer=no_answer,
                )
            )
        return found

    @property
    def blank(self) -> Given:
        return Given(candidates=((Candidate("", 0, 0, 0.0),),), none=np.full(1, -np.inf))

    def rows(self, ids: Sequence[str], targets: Any, values: Any) -> Iterator[dict[str, Any]]:
        """id, label (the right answers) and their starts, prediction, what could be answered, and the score of none."""
        decided = self.decided(values)
        for key, own, chosen, row, none in zip(ids, targets, decided, values.candidates, values.none, strict=True):
            yield {
                "id": key,
                "label": self.label(own),
                "starts": [answer.start for answer in own],
                "prediction": chosen,
                "answers": [{**each._asdict(), "score": round(each.score, 8)} for each in row],
                "no_answer_score": round(float(none), 8),
            }

    def label(self, target: Any) -> list[str]:
        return [answer.text for answer in target]

    def of_rows(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
        right = Answers(rows=tuple(Rights(map(Right, row["label"], row["starts"])) for row in rows))
        candidates = tuple(tuple(Candidate(**each) for each in row["answers"]) for row in rows)
        return right, Given(candidates=candidates, none=np.array([row["no_answer_score"] for row in rows]))

    # --- what is shown to people

    @property
    def aim(self) -> str:
        unless = ", or say that it has none" if self.unanswerable else ""
        return f"answer questions from a text, by the words of it that are the answer{unless}"

    @property
    def listed_names(self) -> str:
        return f"answers: words of the context{', or none' if self.unanswerable else ''}"

    def tables(self, targets: Any, values: Any, *, most: int, rankings: Rankings | None = None) -> list[Table]:
        rows = answers.kind_table(self.decided(values), targets.texts)
        return [
            Table(
                title="By kind of question, on the test split",
                columns=(
                    Column(title="questions", kind="name"),
                    Column(title="rows", kind="number"),
                    Column(title="exact match", kind="share", rows="rows"),
                    Column(title="F1", kind="share", rows="rows"),
                    Column(title="answered", kind="share", rows="rows"),
                ),
                rows=tuple(tuple(row.values()) for row in rows),
            )
        ]

    def details(self, targets: Any, values: Any) -> dict[str, Any]:
        return {"questions": answers.kind_table(self.decided(values), targets.texts)}

    def pictures(self, targets: Any, values: Any, rankings: Rankings) -> dict[str, Picture]:
        return {}

    def occurrences(self, account: Mapping[str, Any]) -> Picture | None:
        return class_occurrences(account, account.get("label_names", ())) if self.unanswerable else None

    def mistakes(self, targets: Any, values: Any, *, most: int) -> Mistakes:
        decided, sure = self.decided(values), self._sure(values)
        exact, f1 = answers.matches(decided, targets.texts)
        wrong = np.flatnonzero(exact == 0)
        worst = wrong[np.lexsort((-sure[wrong], f1[wrong]))][:most]
        return Mistakes(
            note=f"The {len(worst)} of {len(wrong):,} test questions with another answer than the right ones that "
            "share the fewest words with them, those first that the model is surest of: a look here often finds wrong "
            "labels.",
            figure="probability",
            wrong=len(wrong),
            worst=tuple(
                Mistake(
                    row=int(row),
                    label=" / ".join(dict.fromkeys(self.label(targets[int(row)]))) or NONE,
                    prediction=decided[row] or NONE,
                    figure=f"{sure[row]:.1%}",
                    marks=_marks(targets[int(row)], values.candidates[row][0] if decided[row] else None),
                )
                for row in worst
            ),
        )

    def _sure(self, values: Given) -> Floats:
        """The probability of what is answered to each question, [questions]."""
        return np.array([each.probability for each in self.predictions(values)])  # type: ignore[attr-defined]

    def showcase(self, values: Any) -> list[int]:
        """Those first that the model is surest of."""
        found: list[int] = np.argsort(-self._sure(values), kind="stable").tolist()
        return found

    @property
    def explained(self) -> str:
        none = " Where a question has no answer, giving none is right, for both figures." if self.unanswerable else ""
        return (
            "Exact match is the share of answers that are one of the right ones but for capitals, punctuation and "
            "articles; F1 is the mean overlap of their words with those of the right answer that is nearest. Both are "
            f"as SQuAD's official script computes them, there in percent.{none} Probabilities are a softmax over the "
            "scores of the answers that are told, not over all that there could be."
        )

    @property
    def limits(self) -> tuple[str, ...]:
        if self.threshold is None:
            return ("It gives an answer to every question, also to one that the context does not answer.",)
        tuned = ", tuned for F1 on the validation split" if self.asked is None else ""
        return (
            f"It gives no answer where that scores more than {self.threshold:.4g} higher than the best one{tuned}.",
        )

    @property
    def threshold_note(self) -> str | None:
        if self.threshold is None:
            return None
        return (
            "gives logits of starts and ends alone, and knows no threshold: the run gives no answer where the sum of "
            f"the first token's logits is more than {self.threshold:.4g} above that of the best answer"
        )


def _marks(right: Rights, given: Candidate | None) -> tuple[tuple[Mark, ...], tuple[Mark, ...]]:
    """The first right answer and the one that is given, in their context."""
    first = tuple(Mark(answer.start, answer.end, "right", 1) for answer in right[:1])
    return first, () if given is None else (Mark(given.start, given.end, "given", 0),)


def _candidate(context: str, start: int, end: int, score: float) -> Candidate:
    """A candidate without the white space that byte-level tokens begin with."""
    text = context[start:end]
    start += len(text) - len(text.lstrip())
    return Candidate(text.strip(), start, start + len(text.strip()), score)


def _ranked(found: spans.Best) -> Iterator[tuple[int, int, float]]:
    for (start, end), score in zip(found.spans.tolist(), found.scores.tolist(), strict=True):
        yield start, end, score
