"""Which tokens a word is made of, and in which window of its text it is looked at.

In come the places of tokens and of words, in characters of their texts; out come the tokens of each word. A word is
looked at in one row alone: that where the fewer of the tokens on its left and on its right are the most, as BERT does
with the windows of SQuAD (Devlin et al. 2019). Nothing is refused: a word may have no token, as where its text is cut,
and may share its only token with the words before it, as one piece of RoBERTa's holds an apostrophe and an s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.score.ragged import Ragged
from zoo.tasks.material import Tokenized

__all__ = ["Alignment", "align"]


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The tokens of words, by number of the word among those of all texts.

    first, last: [words] int64, the tokens first..last - 1 of the table; both -1 of a word without one.
    own: [words] bool, whether these tokens are no part of a word before.
    """

    first: np.ndarray
    last: np.ndarray
    own: np.ndarray

    @property
    def seen(self) -> np.ndarray:
        """Words that have a token, [words] bool."""
        found: np.ndarray = self.first >= 0
        return found

    def pieces(self, words: np.ndarray, *, every: bool) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that speak for some words: the first of each, or all; and of which of these words each is, rising.

        Args:
            words: numbers of words that have a token.
        """
        counts = (self.last - self.first)[words] if every else np.ones(len(words), np.int64)
        word = np.repeat(np.arange(len(words)), counts)
        return self.first[words][word] + np.arange(len(word)) - np.repeat(np.cumsum(counts) - counts, counts), word


def align(table: Tokenized, words: Ragged) -> Alignment:
    """The tokens of all words.

    Args:
        table: the tokens, with their spans.
        words: first and one past the last character of each word of each text, rising, [words, 2].
    """
    assert table.spans is not None
    rows = len(table.offsets) - 1
    real = np.flatnonzero(table.spans[:, 0] >= 0)
    # Places of all rows on one line, so that one search finds the tokens of all words. A normaliser may swap two
    # characters; what has been passed is passed.
    apart = 2 + max(int(table.spans.max(initial=0)), int(words.flat.max(initial=0)))
    row_of_token = np.repeat(np.arange(rows), np.diff(table.offsets))[real]
    starts, ends = (np.maximum.accumulate(row_of_token * apart + table.spans[real, side]) for side in (0, 1))
    counts = words.lengths[table.owners]
    row = np.repeat(np.arange(rows), counts)
    begins = np.cumsum(counts) - counts
    word = np.arange(counts.sum()) + np.repeat(words.offsets[table.owners] - begins, counts)
    first = np.searchsorted(ends, row * apart + words.flat[word, 0], side="right")
    last = np.searchsorted(starts, row * apart + words.flat[word, 1], side="left")
    borders = np.searchsorted(starts, np.arange(rows + 1) * apart)
    before = np.concatenate([[0], last[:-1]])  # where the word before it ends
    before[begins[counts > 0]] = borders[:-1][counts > 0]
    own = np.maximum(first, before) < last
    first = np.where(own, np.maximum(first, before), first)
    context = np.minimum(first - borders[row], borders[row + 1] - last)
    there = np.flatnonzero(last > first)
    order = there[np.lexsort((row[there], first[there] - last[there], -context[there], word[there]))]
    chosen = order[np.unique(word[order], return_index=True)[1]]
    found = Alignment(
        first=np.full(len(words.flat), -1), last=np.full(len(words.flat), -1), own=np.zeros(len(words.flat), bool)
    )
    found.first[word[chosen]] = real[first[chosen]]
    found.last[word[chosen]] = real[last[chosen] - 1] + 1
    found.own[word[chosen]] = own[chosen]
    return found
