"""Which rows of a batch are mixed, and how much of each: the recipe's `training.mixup`, drawn by NumPy alone.

In come batches; out come the same with neighbours paired, `SHARE` and `PARTNER` among their inputs and the targets of
both in each row (`zoo.tasks.mixed`). The order of rows is drawn for each epoch, so neighbours are any two, and a step
in parts of an even number of rows has the same pairs as a whole one. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from zoo.data.batches import Batch
from zoo.tasks.mixed import joined

__all__ = ["PARTNER", "SHARE", "mixed"]

SHARE = "mixup_share"
"""The input that says how much of a mixed row is the row itself, [batch] float32."""
PARTNER = "mixup_partner"
"""The input that says how many rows further the other one stands, [batch] int32: 1, -1, or 0 where there is none."""
STREAM = 0x6D6978
"""What keeps these draws apart from others by seed and epoch."""


def mixed(found: Iterable[Batch], *, alpha: float, seed: int, turn: int, done: int = 0) -> Iterator[Batch]:
    """Batches whose rows are mixed with their neighbours.

    Args:
        found: batches of an epoch, in order; those of packed rows have several texts a row, which then are meant.
        alpha: of the Beta distribution from which the share of a pair is drawn.
        seed, turn: what it is drawn from, with the number of the batch; turn is the number of the epoch.
        done: how many batches of the epoch came before.
    """
    for number, batch in enumerate(found, done):
        place = np.arange(len(batch.weights))
        partner = place ^ 1
        alone = np.maximum(place, partner) >= len(batch.rows)
        random = np.random.Generator(np.random.PCG64([seed, turn, number, STREAM]))
        drawn = random.beta(alpha, alpha, size=-(-len(place) // 2))
        # Of a pair each row comes once as the larger part: the same mixtures, and a row is mostly itself.
        share = np.where(alone, 1.0, np.maximum(drawn, 1.0 - drawn)[place // 2]).astype(np.float32)
        partner = np.where(alone, place, partner)
        inputs = {**batch.inputs, SHARE: share, PARTNER: (partner - place).astype(np.int32)}
        yield replace(batch, inputs=inputs, labels=joined(batch.labels, batch.weights, share, partner))
