"""Near duplicates: rows whose texts are the same but for a few words.

In come texts; out come groups of rows, found in time that grows with their number: MinHash signatures of words and
pairs of neighbouring words (Broder 1997) are looked up by bands (locality-sensitive hashing), and what that finds is
compared word by word. Nothing is refused.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["ALIKE", "Alike", "near_duplicates", "words_of"]

ALIKE = 0.8
"""Share of the words and pairs of neighbouring words of two texts that both have, from which they are near duplicates:
of fourteen words one may differ."""
BANDS, IN_A_BAND = 20, 6
"""So that two texts which are just alike share a band with a probability of 0.998."""
HASHES = BANDS * IN_A_BAND
SLACK = 0.11
"""By how much a signature may underestimate that: three standard deviations."""
KEPT, CROWD, COMPARED = 20, 1000, 50
"""Rows of a group that later ones are compared with; rows that may be alike, from which on another one is not kept for
later ones; and those of them that are compared word by word, the likeliest. Thousands of one mould would cost their
square: of these, all whose words are the same are found, and not all others."""
_TELL_EVERY = 500
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
"""Scripts that set no spaces between words: a character is a word."""
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W{_IDEOGRAPHS}]+")


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Rows that are near duplicates of each other, directly or through others of them.

    rows: their numbers, two or more, rising. similarity: the least by which any of them was joined, 1 where all have
    the same words.
    """

    rows: tuple[int, ...]
    similarity: float


def words_of(text: str) -> list[str]:
    """The words of a text in one writing: no case, no punctuation, one form of each character."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def near_duplicates(
    texts: Sequence[str], pairs: Sequence[str] | None = None, *, progress: Callable[[int], None] | None = None
) -> list[Alike]:
    """Groups of near duplicates, the largest first.

    Args:
        texts: first text of each row.
        pairs: second text of each row, or None; of two rows both texts have to be alike.
        progress: called with the number of rows done since the last call.
    """
    from datasketch import MinHash, MinHashLSH  # half a second

    columns = (texts,) if pairs is None else (texts, pairs)
    groups = _Groups(len(texts))
    first: dict[tuple[str, ...], int] = {}
    for row, of_row in enumerate(zip(*columns, strict=True)):
        key = tuple(" ".join(words_of(text)) or text.strip() for text in of_row)
        groups.join(first.setdefault(key, row), row, 1.0)
    unique = list(first.values())
    keys = list(first)

    @functools.lru_cache(maxsize=4096)
    def parts(number: int) -> tuple[frozenset[str], ...]:
        return tuple(frozenset(_shingles(text)) for text in keys[number])

    signatures = np.zeros((len(unique), HASHES), np.uint32)
    index = MinHashLSH(num_perm=HASHES, params=(BANDS, IN_A_BAND))
    sketches = MinHash.generator(
        (set().union(*map(_shingles, key)) for key in keys), num_perm=HASHES, hashfunc=_hash, seed=1
    )
    for number, sketch in enumerate(sketches):
        signatures[number] = sketch.hashvalues
        found = np.sort(np.array(index.query(sketch), np.int64))
        if found.size:
            estimated = (signatures[found] == signatures[number]).mean(axis=1)
            likely = np.flatnonzero(estimated >= ALIKE - SLACK)
            for other in found[likely[np.argsort(-estimated[likely], kind="stable")[:COMPARED]]].tolist():
                alike = min(map(_jaccard, parts(other), parts(number)))
                if alike >= ALIKE:
                    groups.join(unique[other], unique[number], alike)
        if len(found) < CROWD and groups.count_kept(unique[number]):
            index.insert(number, sketch, check_duplication=False)
        if progress is not None and (number + 1) % _TELL_EVERY == 0:
            progress(_TELL_EVERY)
    if progress is not None:
        progress(len(texts) - len(unique) // _TELL_EVERY * _TELL_EVERY)
    return groups.found()


class _Groups:
    """Rows that are joined to sets (union by a forest)."""

    def __init__(self, rows: int) -> None:
        self._above = list(range(rows))
        self._least: dict[int, float] = {}
        self._kept: dict[int, int] = {}

    def _top(self, row: int) -> int:
        while self._above[row] != row:
            self._above[row] = self._above[self._above[row]]
            row = self._above[row]
        return row

    def join(self, one: int, other: int, similarity: float) -> None:
        """Two rows are in one group; a row with itself changes nothing."""
        low, high = sorted((self._top(one), self._top(other)))
        if low == high:
            return
        self._above[high] = low
        self._least[low] = min(similarity, self._least.get(low, 1.0), self._least.pop(high, 1.0))
        self._kept[low] = self._kept.get(low, 0) + self._kept.pop(high, 0)

    def count_kept(self, row: int) -> bool:
        """Whether another row of this group may be compared with later ones; it is then counted."""
        top = self._top(row)
        self._kept[top] = self._kept.get(top, 0) + 1
        return self._kept[top] <= KEPT

    def found(self) -> list[Alike]:
        members: dict[int, list[int]] = {}
        for row in range(len(self._above)):
            members.setdefault(self._top(row), []).append(row)
        groups = [
            Alike(rows=tuple(rows), similarity=self._least[top]) for top, rows in members.items() if len(rows) > 1
        ]
        return sorted(groups, key=lambda group: (-len(group.rows), group.rows))


def _shingles(text: str) -> set[str]:
    """Words of a normal writing and pairs of neighbours."""
    words = text.split(" ")
    return {*words, *map(" ".join, pairwise(words))}


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def _hash(shingle: str) -> int:
    return zlib.crc32(shingle.encode("utf-8", "surrogatepass"))
