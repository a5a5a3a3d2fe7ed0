"""How well answers to questions fit: exact match, F1 of words, and from which threshold on to give none.

In come predicted answers, "" for none, and the right ones of each question, none where it has no answer; out come
shares of 1, as SQuAD 2.0's official script computes them in percent (Rajpurkar et al. 2018, section 4; of SQuAD 1.1
they are the same). Nothing is refused.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zoo.score.metrics import wilson_interval

__all__ = ["best_threshold", "evaluate", "kind_table", "matches", "normalised"]

Floats = NDArray[np.float64]

ARTICLES = re.compile(r"\b(a|an|the)\b")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """An answer as it is compared: in small letters, without ASCII's punctuation, articles and more than one space."""
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(WITHOUT_PUNCTUATION)).split())


def matches(predicted: Sequence[str], right: Iterable[Sequence[str]]) -> tuple[Floats, Floats]:
    """Exact match, 1 or 0, and F1 of words of each question, [questions]: the best over its right answers.

    Right answers of which `normalised` leaves nothing do not count; where none is left, "" alone is right.
    """
    exact, f1 = np.zeros(len(predicted)), np.zeros(len(predicted))
    for row, (given, golds) in enumerate(zip(predicted, right, strict=True)):
        words = normalised(given)
        wanted = [gold for gold in map(normalised, golds) if gold] or [""]
        exact[row] = words in wanted
        f1[row] = max(_overlap(gold.split(), words.split()) for gold in wanted)
    return exact, f1


def _overlap(right: list[str], given: list[str]) -> float:
    """F1 of words; of no words it is 1 where the other has none either."""
    if not right or not given:
        return float(right == given)
    same = (Counter(right) & Counter(given)).total()
    # The same order of operations as the script's, so that not even the last digit differs.
    precision, recall = same / len(given), same / len(right)
    return 2 * precision * recall / (precision + recall) if same else 0.0


def evaluate(exact: Floats, f1: Floats, answerable: NDArray[np.bool_]) -> dict[str, float]:
    """How many questions there are, the means of exact match (with its 95% interval) and F1, and where some questions
    have an answer and some have none, the means of both kinds.

    Args:
        exact, f1: of each question, [questions], see `matches`.
        answerable: which of them have an answer, [questions].
    """
    low, high = wilson_interval(int(exact.sum()), len(exact))
    found: dict[str, float] = {
        "rows": len(exact),
        "exact_match": float(exact.mean()),
        "exact_match_low": low,
        "exact_match_high": high,
        "f1": float(f1.mean()),
    }
    if answerable.any() and not answerable.all():
        for kind, rows in (("has_answer", answerable), ("no_answer", ~answerable)):
            found |= {f"{kind}_exact_match": float(exact[rows].mean()), f"{kind}_f1": float(f1[rows].mean())}
    return found


def kind_table(predicted: Sequence[str], right: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """How well questions of each kind are answered, the kinds that there are: how many they are, exact match, F1, and
    the share of them that is given an answer at all. Words are those of a question's first right answer."""
    exact, f1 = matches(predicted, right)
    given, there = (np.array(list(map(bool, rows))) for rows in (predicted, right))
    words = np.array([len(normalised(golds[0]).split()) if golds else 0 for golds in right])
    kinds = {
        "all": np.ones(len(there), bool),
        "answer of one word": there & (words <= 1),
        "answer of two or three words": (words == 2) | (words == 3),
        "answer of more words": words > 3,
        "no answer": ~there,
    }
    return [
        {
            "name": name,
            "rows": int(chosen.sum()),
            "exact_match": float(exact[chosen].mean()),
            "f1": float(f1[chosen].mean()),
            "answered": float(given[chosen].mean()),
        }
        for name, chosen in kinds.items()
        if chosen.any()
    ]


def best_threshold(
    scores: ArrayLike, preferences: ArrayLike, answerable: ArrayLike, answered: ArrayLike
) -> tuple[float, float]:
    """The mean score at best, and the threshold that reaches it: above it, no answer is given.

    As the official script has it, which takes 0 where it is best to answer nothing, although 0 answers every question
    whose preference is not above it; then the threshold is here below all preferences, if 0 is not.

    Args:
        scores: exact match or F1 of each question's best answer, [questions].
        preferences: how much rather than that answer there is none, [questions]: the higher, the sooner none is given.
        answerable: which questions have an answer, [questions].
        answered: which best answers are not "", [questions].
    """
    preferred = np.asarray(preferences, np.float64)
    order = np.argsort(preferred, kind="stable")
    rising = preferred[order]
    # One question more is answered: what is then right, or no longer is.
    gains = np.where(answerable, scores, np.where(answered, -1.0, 0.0))[order]
    reached = np.concatenate([[np.count_nonzero(~np.asarray(answerable, bool))], gains]).cumsum()
    # Questions of the same preference are answered together.
    reached[1:-1][rising[:-1] == rising[1:]] = -np.inf
    best = int(reached.argmax())
    threshold = float(rising[best - 1]) if best else min(0.0, float(np.nextafter(rising[0], -np.inf)))
    return float(reached[best] / len(rising)), threshold
