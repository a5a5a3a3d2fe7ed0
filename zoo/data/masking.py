"""Words left open for a masked language model (Devlin et al. 2019, section 3.1), drawn by NumPy alone.

In come a batch of rows and what the masks are drawn from; out comes the batch with some of its tokens hidden, their
places and what stood there. Each row is drawn from (seed, round, its number in the table) by itself: the same on every
backend, in any order and in batches of any size. Refused: a vocabulary without a mask token.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from tokenizers.models import WordPiece

from zoo.data.batches import Batch
from zoo.data.tokens import Tokenizer
from zoo.errors import EnvironmentFault
from zoo.recipe.heads import Head, MaskedHead

__all__ = ["MASKS", "NOTHING", "PLACES", "SPACE", "TARGETS", "Masking", "mask_of", "masking_for"]

NOTHING = -1
"""Target of a place at which nothing is predicted."""
PLACES = "predicted_positions"
"""The input that says where in its row each prediction is made, [batch, places] int32."""
TARGETS = "targets"
"""The input that says what stands at these places, [batch, places] int32, where a model judges its own scores."""
MASKS = ("[MASK]", "<mask>")
FRAMES = ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "<s>", "</s>", "<pad>", "<unk>", *MASKS)
"""Entries of a vocabulary that are no part of a text, and are neither predicted nor put in its place."""
CONTINUES, SPACE = "##", "\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}"
"""What begins a piece within a word in BERT's vocabularies, and the first piece of a word in RoBERTa's."""


@dataclass(frozen=True, kw_only=True)
class Masking:
    """How tokens of one vocabulary are hidden.

    head: says how many, and what becomes of them. mask: id of the mask token. ordinary: [vocabulary] bool, whether an
    entry is part of texts; begins: [vocabulary] bool, whether it begins a word.
    """

    head: MaskedHead
    mask: int
    ordinary: np.ndarray
    begins: np.ndarray

    @classmethod
    def of(cls, head: MaskedHead, tokenizer: Tokenizer) -> Self:
        """The masking that a recipe's head asks for.

        Raises:
            EnvironmentFault: the vocabulary has no mask token.
        """
        entries = tokenizer.rust.get_vocab(with_added_tokens=True)
        size = max(entries.values()) + 1
        ordinary, begins = np.zeros(size, bool), np.zeros(size, bool)
        pieces = isinstance(tokenizer.rust.model, WordPiece)
        for entry, number in entries.items():
            ordinary[number] = entry not in FRAMES
            begins[number] = not entry.startswith(CONTINUES) if pieces else entry.startswith(SPACE)
        return cls(head=head, mask=mask_of(tokenizer), ordinary=ordinary, begins=begins)

    def hidden(self, batch: Batch, *, seed: int, turn: int) -> Batch:
        """The batch with some of its tokens hidden.

        Args:
            batch: with token_ids and padding_mask, [batch, length].
            seed, turn: what the masks are drawn from; turn is 0 where they are to be the same each time, and else the
                number of the epoch, from 1.

        Returns:
            The batch with token_ids as the model sees them, `PLACES` [batch, places] in rising order, 0 where there
            is none, and as labels the ids that stood there, [batch, places] int32, `NOTHING` where there is none.
            `places` is fixed by the length.
        """
        ids = batch.inputs["token_ids"].copy()
        count = self.head.places(ids.shape[1])
        positions = np.zeros((len(ids), count), np.int32)
        targets = np.full((len(ids), count), NOTHING, np.int32)
        others = np.flatnonzero(self.ordinary)
        for place, row in enumerate(batch.rows):
            draw = np.random.Generator(np.random.PCG64([seed, turn, int(row)]))
            length = int(batch.inputs["padding_mask"][place].sum())
            chosen = self.chosen(ids[place, :length], draw)
            found = len(chosen)
            positions[place, :found], targets[place, :found] = chosen, ids[place, chosen]
            lot, other = draw.random(found), others[draw.integers(len(others), size=found)]
            seen = np.where(lot < self.head.masked + self.head.random, other, ids[place, chosen])
            ids[place, chosen] = np.where(lot < self.head.masked, self.mask, seen)
        return replace(batch, inputs={**batch.inputs, "token_ids": ids, PLACES: positions}, labels=targets)

    def chosen(self, ids: np.ndarray, draw: np.random.Generator) -> np.ndarray:
        """Which tokens of a row, [tokens], are hidden, in rising order: a share of those that are part of its text, at
        least one where there are any. Whole words are taken as they are drawn, one that is too long for what is left
        passed over; where all are too long, the first one's beginning is hidden."""
        candidates = np.flatnonzero(self.ordinary[ids])
        if not len(candidates):
            return candidates
        wanted = self.head.places(len(candidates))
        if not self.head.whole_word:
            return np.sort(draw.permutation(candidates)[:wanted])
        first = self.begins[ids[candidates]] | (np.diff(candidates, prepend=-2) > 1)
        words = np.split(candidates, np.flatnonzero(first)[1:])
        order = draw.permutation(len(words))
        taken, left = list[np.ndarray](), wanted
        for number in order:
            if len(words[number]) <= left:
                taken.append(words[number])
                left -= len(words[number])
            if not left:
                break
        return np.sort(np.concatenate(taken)) if taken else words[order[0]][:wanted]


def masking_for(head: Head, tokenizer: Tokenizer) -> Masking | None:
    """The masking of a recipe's head; None where none of its tokens are hidden. Raises as `Masking.of`."""
    return Masking.of(head, tokenizer) if isinstance(head, MaskedHead) else None


def mask_of(tokenizer: Tokenizer) -> int:
    """The id of the mask token; EnvironmentFault where the vocabulary has none."""
    found = [number for token in MASKS if (number := tokenizer.rust.token_to_id(token)) is not None]
    if not found:
        raise EnvironmentFault(
            f"the vocabulary has neither {' nor '.join(MASKS)}, which hiding words needs: use another one"
        )
    return found[0]
