"""Changed copies of training texts: words change places, are left out, hidden or misspelled (EDA, Wei and Zou 2019).

In come the rows to train on, and the recipe's `data.augment`; out come these rows with changed copies behind them,
which have their labels. Each copy is drawn from (seed, copy, the row's id) by the raw output of NumPy's PCG64: the same
on every machine, for a run that goes on, and whichever other rows there are. Nothing is refused.

Copies are made once, before texts are cut into tokens, and not anew in each epoch: so they are rows like any other to
the cache of tokens, to packing, windows, sampling by class and a teacher, none of which has to know of them, and
characters can change, which are no more to be had behind the tokenizer. An epoch sees all copies of a row.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from zoo.data.split import Split
from zoo.data.strings import Strings
from zoo.recipe.little_data import Augment

__all__ = ["augmented", "changed"]

SPACE = re.compile(r"(\s+)")
MASKS = {"roberta": "<mask>"}
"""What stands for a hidden word in texts, by family of vocabulary; [MASK] in others."""


def augmented(train: Split, asked: Augment, *, seed: int, family: str) -> Split:
    """The rows with `asked.copies` changed copies of each, or of a share of them, behind them."""
    mask = MASKS.get(family, "[MASK]")
    chosen = np.flatnonzero([next(_draws(seed, key)) < asked.share for key in train.ids])
    rows = np.concatenate([np.arange(len(train)), np.tile(chosen, asked.copies)])
    found = train.take(rows)
    texts, pairs, ids = list[str](), list[str](), list[str]()
    for copy in range(1, asked.copies + 1):
        for row in chosen.tolist():
            draws = _draws(seed, f"{train.ids[row]}+{copy}")
            texts.append(changed(train.texts[row], asked, draws, mask))
            if train.pairs is not None:
                pairs.append(changed(train.pairs[row], asked, draws, mask))
            ids.append(f"{train.ids[row]}+{copy}")
    return replace(
        found,
        texts=Strings.joined([train.texts, Strings.of(texts)]),
        pairs=None if train.pairs is None else Strings.joined([train.pairs, Strings.of(pairs)]),
        ids=Strings.joined([train.ids, Strings.of(ids)]),
    )


def changed(text: str, asked: Augment, draws: Iterator[float], mask: str) -> str:
    """A text with some of its words changed, one at least; white space between those that stay stays as it is.

    Args:
        draws: numbers from 0 to below 1: one a word in the order of the text, then what misspelled words take.
        mask: what stands for a hidden word.
    """
    pieces = SPACE.split(text)  # words at even places, white space between them
    places = [place for place in range(0, len(pieces), 2) if pieces[place]]
    lots = np.array([next(draws) for _ in places])
    if not len(places):
        return text
    rates = np.cumsum([asked.swap, asked.drop, asked.mask, asked.typo])
    if lots.min() >= rates[-1]:  # none is drawn: the one that is nearest to it, by the same shares
        lots[lots.argmin()] = next(draws) * rates[-1]
    rules = np.searchsorted(rates, lots, side="right").tolist()  # 4: the word stays as it is
    words = [pieces[place] for place in places]
    for number, rule in enumerate(rules):
        if rule == SWAP and len(words) > 1:
            other = number + 1 if number + 1 < len(words) else number - 1
            words[number], words[other] = words[other], words[number]
    for number, rule in enumerate(rules):
        if rule == MASK:
            words[number] = mask
        elif rule == TYPO:
            words[number] = _misspelled(words[number], draws)
    for place, word in zip(places, words, strict=True):
        pieces[place] = word
    dropped = [place for place, rule in zip(places, rules, strict=True) if rule == DROP]
    for place in dropped if len(dropped) < len(places) else dropped[1:]:  # a text keeps a word
        pieces[place : place + 2] = [""] * len(pieces[place : place + 2])
    return "".join(pieces).strip() if dropped else "".join(pieces)


SWAP, DROP, MASK, TYPO = range(4)
"""Rules by their number: a word and the next change places; it is left out; it is hidden; it is misspelled."""


def _misspelled(word: str, draws: Iterator[float]) -> str:
    """The word with two characters that have changed places, one that is left out, or one that stands twice."""
    kind = int(next(draws) * 3)
    place = int(next(draws) * max(1, len(word) - 1))
    if len(word) == 1 or kind == 2:
        return word[: place + 1] + word[place:]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _draws(seed: int, key: str) -> Iterator[float]:
    """Numbers from 0 to below 1 that belong to a key."""
    bits = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(key.encode())]))
    while True:
        yield from _shares(bits.random_raw(64))


def _shares(raw: np.ndarray) -> Sequence[float]:
    shares: Sequence[float] = ((raw >> np.uint64(11)) * 2.0**-53).tolist()
    return shares
