"""Several short texts in one row, so that hardly any of a batch is padding.

In come a `TokenTable`, labels and a seed; out come `Batch`es whose rows hold whole texts one after the other. What
tells them apart is in the inputs: `padding_mask` has the text's number within its row, from 1, and 0 where there is
none; `positions` begin at 0 with each text; `first` has where each text's first token lies. `zoo.models.packed` is the
model that takes them (Krell et al. 2021, Efficient Sequence Packing without Cross-contamination). Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from zoo.data.batches import MULTIPLE, Batch, filled_up
from zoo.data.tokens import TokenTable

PACKED = ("positions", "first")
"""Inputs of packed rows beside those of others."""


def row_width(sizes: np.ndarray) -> int:
    """Tokens a row: the longest text, rounded up."""
    return int(-(-np.max(sizes) // MULTIPLE) * MULTIPLE)


def balanced_order(
    sizes: np.ndarray, *, batch_size: int, seed: int, epoch: int, chosen: np.ndarray | None = None
) -> list[np.ndarray]:
    """Which texts each step of an epoch takes: every text once, or those that are chosen, each batch with texts of
    all lengths.

    The texts, ordered by length, are cut into `batch_size` strata, and each batch draws one of each. So all batches
    have nearly the same number of tokens and fill nearly the same number of rows: one shape or a few. Batches differ in
    size by one text at most.

    Args:
        sizes: tokens a text, [texts].
        batch_size: most texts a step.
        seed, epoch: what the order is drawn from.
        chosen: the texts that the epoch has; None is every text once.
    """
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    texts = random.permutation(len(sizes) if chosen is None else chosen)
    count = -(-len(texts) // batch_size)
    texts = texts[np.argsort(-np.asarray(sizes)[texts], kind="stable")]  # what is left over is of the shortest
    batches: list[list[int]] = [[] for _ in range(count)]
    for start in range(0, len(texts), count):
        stratum = texts[start : start + count]
        for place, text in zip(random.permutation(count), stratum, strict=False):
            batches[place].append(int(text))
    return [np.array(batch) for batch in batches]


def fill_rows(sizes: Sequence[int], width: int) -> list[list[int]]:
    """Which texts each row holds, by first fit from the longest to the shortest (Johnson 1973).

    Args:
        sizes: tokens of each text, at most `width`.
        width: tokens a row.

    Returns:
        Places in `sizes`, each once.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for text in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        row = next((number for number, left in enumerate(room) if left >= sizes[text]), None)
        if row is None:
            rows.append([])
            room.append(width)
            row = len(rows) - 1
        rows[row].append(text)
        room[row] -= sizes[text]
    return rows


def packed_batches(
    table: TokenTable,
    labels: np.ndarray,
    order: Sequence[np.ndarray],
    *,
    batch_size: int,
    width: int,
    names: Sequence[str],
    weights: np.ndarray | None = None,
) -> Iterator[Batch]:
    """The batches of an order.

    Args:
        table: the texts' tokens.
        labels: the targets, [texts] or [texts, ...].
        order: texts a batch, from `balanced_order`.
        batch_size: texts of every batch; fewer are filled up with weight 0.
        width: tokens a row, at least the longest text's.
        names: which inputs the model takes.
        weights: how much each text counts, [texts] float32; None is 1.
    """
    for texts in order:
        sizes = table.lengths[texts]
        rows = fill_rows(sizes.tolist(), width)
        inputs: dict[str, np.ndarray] = {
            name: np.full((len(rows), width), table.pad if name == "token_ids" else 0, np.int32)
            for name in ("token_ids", "padding_mask", "segment_ids", "positions")
        }
        first = np.zeros(batch_size, np.int32)
        for number, row in enumerate(rows):
            start = 0
            for count, place in enumerate(row, 1):
                size, offset = int(sizes[place]), int(table.offsets[texts[place]])
                cells = (number, slice(start, start + size))
                inputs["token_ids"][cells] = table.ids[offset : offset + size]
                inputs["padding_mask"][cells] = count
                inputs["segment_ids"][cells] = np.arange(size) >= table.second[texts[place]]
                inputs["positions"][cells] = np.arange(size)
                first[place] = number * width + start
                start += size
        inputs["first"] = first
        yield filled_up({name: inputs[name] for name in names}, table, labels[texts], texts, batch_size, weights)
