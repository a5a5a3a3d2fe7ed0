"""The best spans of texts, from logits of where an answer starts and ends.

In come logits of the tokens of windows and which characters each token is; out come, for each text, its best spans over
all of its windows, and how high the windows score that there is none. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

__all__ = ["Best", "best_spans", "places", "probabilities"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best spans of one text, best first.

    spans: [spans, 2] int64, first and one-past-last character. scores: [spans] float64, sum of the start's and the
    end's logit. none: that of the first token, [CLS], which stands for no answer; the least over the windows.
    """

    spans: NDArray[np.int64]
    scores: Floats
    none: float


def best_spans(
    logits: NDArray[np.floating],
    offsets: NDArray[np.int64],
    owners: Sequence[int] | NDArray[np.integer],
    spans: NDArray[np.integer],
    *,
    count: int,
    longest: int,
) -> Iterator[Best]:
    """The best spans of each text, in the order of the texts.

    All spans of a window are compared, and not those of the best starts and ends alone, as in BERT's run_squad.py,
    whose rules these are (Devlin et al. 2019, section 4.3). A span that stands in several windows counts once, with its
    best score.

    Args:
        logits: [tokens, 2], of start and end, window after window.
        offsets: [windows + 1], where each window begins.
        owners: [windows], the text of each, rising, from 0.
        spans: [tokens, 2], first and one-past-last character of a token in its text; -1, -1 where it may be no part of
            a span.
        count: spans a text, at most.
        longest: tokens a span, at most.
    """
    texts = np.split(np.arange(len(offsets) - 1), np.flatnonzero(np.diff(owners)) + 1)
    for windows in texts:
        found: dict[tuple[int, int], float] = {}
        for window in windows:
            rows = slice(offsets[window], offsets[window + 1])
            for key, score in _best_of(logits[rows], spans[rows], count, longest):
                found[key] = max(score, found.get(key, -np.inf))
        # Of equal scores the one that stands first, and of those the shortest.
        ranked = sorted(found, key=lambda key: (-found[key], key))[:count]
        firsts = logits[offsets[windows]].astype(np.float64).sum(axis=1)
        yield Best(
            spans=np.array(ranked, np.int64).reshape(-1, 2),
            scores=np.array([found[key] for key in ranked], np.float64),
            none=float(firsts.min()),
        )


def _best_of(
    logits: NDArray[np.floating], spans: NDArray[np.integer], count: int, longest: int
) -> Iterator[tuple[tuple[int, int], float]]:
    """The best spans of one window, each with its score, in any order."""
    tokens = np.flatnonzero(spans[:, 1] > spans[:, 0])
    if not len(tokens):
        return
    start, end = logits[tokens].astype(np.float64).T
    ahead = np.concatenate([end, np.full(longest - 1, -np.inf)])
    sums = (start[:, None] + np.lib.stride_tricks.sliding_window_view(ahead, longest)).ravel()
    chosen = np.argpartition(-sums, count)[:count] if count < len(sums) else np.arange(len(sums))
    for place in chosen[np.isfinite(sums[chosen])]:
        first, further = divmod(int(place), longest)
        yield (int(spans[tokens[first], 0]), int(spans[tokens[first + further], 1])), float(sums[place])


def probabilities(scores: Floats) -> Floats:
    """Softmax of the scores of a text's answers, [answers]."""
    found: Floats = softmax(scores) if len(scores) else scores
    return found


def places(
    wanted: NDArray[np.integer],
    offsets: NDArray[np.int64],
    owners: NDArray[np.integer],
    spans: NDArray[np.integer],
) -> NDArray[np.int64]:
    """Which tokens of each window begin and end a span of its text, [windows, 2], -1 where the window has it not whole.

    Args:
        wanted: [texts, 2], first and one-past-last character; -1, -1 where there is none.
        offsets, owners, spans: see `best_spans`.
    """
    windows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    first, last = wanted[owners][windows].T
    real = spans[:, 0] >= 0
    found = np.full((len(offsets) - 1, 2), -1, np.int64)
    # The first token that ends behind the span's begin, and the last one that begins before its end.
    behind = np.flatnonzero(real & (spans[:, 1] > first) & (first >= 0))
    before = np.flatnonzero(real & (spans[:, 0] < last))[::-1]
    for column, tokens in enumerate((behind, before)):
        window, at = np.unique(windows[tokens], return_index=True)
        found[window, column] = tokens[at]
    begin, end = spans[found[:, 0], 0], spans[found[:, 1], 1]
    wanted = wanted[owners]
    whole = (found >= 0).all(axis=1) & (begin <= wanted[:, 0]) & (end >= wanted[:, 1])
    return np.where(whole[:, None], found, -1)
