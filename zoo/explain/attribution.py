"""Which words speak for a class, and which against it.

In comes a run and a text; out comes a score a word: by integrated gradients, in units of the class's logit, or by
occlusion, in units of its probability. Above 0 speaks for the class. Refused: what `zoo.explain.subject` refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from zoo.explain.subject import Span, Subject

if TYPE_CHECKING:
    from zoo.runs.run import Run

__all__ = ["Attribution", "Completeness", "Word", "integrated_gradients", "occlusion", "word_importance"]

Method = Literal["integrated_gradients", "occlusion"]
STEPS, MOST_STEPS = 32, 1024
"""Points of the path at first, and at most; both powers of two."""
TOLERANCE = 0.05
"""Share of the difference by which the sum of all scores may miss it."""


@dataclass(frozen=True, kw_only=True)
class Word(Span):
    """A word's place, and what it contributes to the class."""

    score: float


@dataclass(frozen=True, kw_only=True)
class Completeness:
    """How well the scores of integrated gradients add up (Sundararajan et al. 2017, proposition 1).

    total: the sum of all tokens' scores. difference: the class's logit of the text, less that of the baseline.
    steps: points of the path.
    """

    total: float
    difference: float
    steps: int

    @property
    def gap(self) -> float:
        """By how much the two differ, as a share of the difference."""
        apart = abs(self.total - self.difference)
        return apart / abs(self.difference) if self.difference else float(apart > 0)

    @property
    def holds(self) -> bool:
        return self.gap <= TOLERANCE

    def told(self) -> str:
        """A sentence for the user."""
        text = (
            f"the scores add up to {self.total:+.4f}, the logit rises by {self.difference:+.4f} from an empty text "
            f"to this one ({self.gap:.1%} apart, {self.steps} steps)"
        )
        if self.holds:
            return text
        return f"{text}; more than {TOLERANCE:.0%} apart even so: take the order of the words for a hint alone"


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """Scores of one method, by word in the order of the text.

    tokens: the same by token, [length] float64; None for occlusion, which has none. completeness: None likewise.
    """

    method: Method
    words: tuple[Word, ...]
    tokens: np.ndarray | None = None
    completeness: Completeness | None = None

    @property
    def order(self) -> np.ndarray:
        """Numbers of the words, those that speak most for the class first, [words] int64."""
        return np.argsort([-word.score for word in self.words], kind="stable")


def word_importance(
    run: Run,
    text: str,
    pair: str | None = None,
    *,
    label: str | None = None,
    method: Method = "integrated_gradients",
) -> list[Word]:
    """What each word of a text contributes to a class.

    Args:
        run: a finished run.
        text: the first text.
        pair: the second text, where the run was trained on pairs.
        label: the class; None is the one that the run predicts.
        method: see `integrated_gradients` and `occlusion`.

    Returns:
        A `Word` for each word of which the model sees at least a part, in order; those of the second text last.

    Raises:
        DataError: a text that is empty or has no token.
        RecipeError: a class that the run does not have.
    """
    return list(METHODS[method](Subject(run, text, pair, label)).words)


def integrated_gradients(subject: Subject, *, steps: int = STEPS) -> Attribution:
    """Integrated gradients of the class's logit by the token embeddings (Sundararajan, Taly and Yan 2017, section 3).

    The path is straight in the output of the token embedding, before positions and segments are added, which stay as
    they are all along. It begins at a text of the same length whose tokens are all [PAD], but for those that frame the
    row. The integral is taken by Gauss and Legendre's rule, with twice as many points until the scores add up.

    Args:
        subject: the text and the class.
        steps: points of the path at first, a power of two.
    """
    empty = np.where(subject.framing, subject.ids, subject.pad).astype(np.int32)
    whole = np.ones(len(subject), bool)
    # By the whole model and not by what the gradients are of, so that the check is of both.
    ends = subject.logits([whole, whole], [subject.ids, empty]).astype(np.float64) @ subject.weights
    path = subject.opened.embeddings(np.stack([subject.ids, empty]))
    while True:
        tokens = _integrated(subject, path[0], path[1], steps)
        found = Completeness(total=float(tokens.sum()), difference=float(ends[0] - ends[1]), steps=steps)
        if found.holds or steps >= MOST_STEPS:
            break
        steps *= 2
    return Attribution(
        method="integrated_gradients",
        words=_scored(subject, subject.parts @ tokens),
        tokens=tokens,
        completeness=found,
    )


def occlusion(subject: Subject) -> Attribution:
    """What the class's probability loses where a word is not to be read (Zeiler and Fergus 2014, section 4.2).

    Each token of the word gives way to the mask token, or where the vocabulary has none to the unknown one.
    """
    whole = np.ones(len(subject), bool)
    ids = [subject.ids] + [np.where(part > 0, subject.blank, subject.ids).astype(np.int32) for part in subject.parts]
    found = subject.probability([whole] * len(ids), ids)
    return Attribution(method="occlusion", words=_scored(subject, found[0] - found[1:]))


METHODS = {"integrated_gradients": integrated_gradients, "occlusion": occlusion}


def _integrated(subject: Subject, here: np.ndarray, empty: np.ndarray, steps: int) -> np.ndarray:
    """Scores [length] float64 by a path of so many points from `empty` to `here`, both [length, hidden_dim]."""
    places, shares = np.polynomial.legendre.leggauss(steps)
    places, shares = (places + 1) / 2, shares / 2  # from -1 to 1, to 0 to 1
    rows = min(steps, subject.rows_at_once)
    inputs = subject.inputs(rows)
    mean = np.zeros(here.shape)
    for start in range(0, steps, rows):
        part = slice(start, start + rows)
        along = empty + places[part, None, None] * (here - empty)
        mean += np.tensordot(shares[part], subject.opened.gradient(along, inputs, subject.weights), axes=1)
    scores: np.ndarray = ((here - empty) * mean).sum(axis=-1)
    return scores


def _scored(subject: Subject, scores: np.ndarray) -> tuple[Word, ...]:
    return tuple(
        Word(start=span.start, end=span.end, of=span.of, score=float(score))
        for span, score in zip(subject.spans, scores, strict=True)
    )
