"""Token ids to batches of few fixed shapes, the same on every backend.

In come a `TokenTable`, labels and a seed; out come `Batch`es. Every batch of a run has
`batch_size` rows and one of a few lengths, so a compiler that traces each shape does so a few times.
Rows of like length go together; the order is drawn by NumPy from (seed, epoch) and is nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoo.data.tokens import TokenTable

MULTIPLE = 4
"""Lengths are multiples of this many tokens: a batch of 32 rows then has a multiple of 128, which suits the matrix
units of CPUs, GPUs and TPUs, and less is padding than with 8."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's rows.

    inputs: token_ids, padding_mask and segment_ids, each [batch, length] int32.
    labels: the targets, [batch] or [batch, ...], int32 or float32; of tokens [batch, length] int32, -1 of those that
    have none. weights: [batch] float32, 0 where a row only fills the batch up.
    rows: [real rows] int64, which rows of the table these are, in order.
    tokens: real tokens, padding and filling rows not counted.
    """

    inputs: dict[str, np.ndarray]
    labels: np.ndarray
    weights: np.ndarray
    rows: np.ndarray
    tokens: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.inputs["token_ids"].shape


def choose_lengths(
    lengths: np.ndarray, *, shapes: int | None = None, saving: float = 0.0, among: Sequence[int] | None = None
) -> tuple[int, ...]:
    """The at most `shapes` lengths to which rows of these lengths are padded with the least padding.

    Args:
        lengths: tokens a row, [rows].
        shapes: how many lengths there may be; None sets no limit.
        saving: tokens of padding that each length has to save to be worth having.
        among: lengths to choose from, rising, the last as long as the longest row or longer; None takes multiples of 4.

    Returns:
        Lengths in rising order; the last holds the longest row. The choice is exact: dynamic programming over those of
        `among`, or the multiples of 4, that are next to a row's length.
    """
    if among is None:
        rounded = -(-np.asarray(lengths) // MULTIPLE) * MULTIPLE
    else:
        rounded = np.asarray(among)[np.searchsorted(among, lengths)]
    values, counts = np.unique(rounded, return_counts=True)
    rows = np.concatenate([[0], np.cumsum(counts)])
    # cost[k][j]: least padded tokens of the shortest j values with k lengths, the last of them values[j - 1]
    cost = np.full(len(values) + 1, np.inf)
    cost[0] = 0.0
    choices: list[np.ndarray] = []
    least: list[float] = []  # all tokens with as many lengths, and what these have to save
    for _ in range(len(values) if shapes is None else min(shapes, len(values))):
        options = cost[None, :] + (rows[1:, None] - rows[None, :]) * values[:, None]
        options[np.arange(len(values) + 1)[None, :] > np.arange(len(values))[:, None]] = np.inf
        choices.append(options.argmin(axis=1))
        cost = np.concatenate([[0.0], options.min(axis=1)])
        least.append(cost[-1] + saving * len(choices))
    chosen: list[int] = []
    end = len(values)
    for choice in reversed(choices[: int(np.argmin(least)) + 1]):
        if end == 0:
            break
        chosen.append(int(values[end - 1]))
        end = int(choice[end - 1])
    return tuple(sorted(chosen))


STEPS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
"""Lengths, in tokens, that texts of which more will come are padded to, below the longest."""


def few_lengths(longest: int) -> tuple[int, ...]:
    """The lengths that batches may have where each is compiled and more texts will come: few, and always the same, so
    that what was compiled serves those, too; the last holds a row of `longest` tokens."""
    last = -(-longest // MULTIPLE) * MULTIPLE
    return (*(step for step in STEPS if step < last), last)


def training_order(
    sizes: np.ndarray,
    *,
    lengths: Sequence[int],
    batch_size: int,
    seed: int,
    epoch: int,
    chosen: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Which rows each step of an epoch takes: every row once, in batches of like length, shuffled.

    Rows that are padded to the same length are cut into batches in the order in which they were drawn; what is left of
    them goes to the next length. So a row is padded to its own length but for at most one batch of each.

    Args:
        sizes: tokens a row, [rows].
        lengths: the lengths a batch may have, rising; the last holds the longest row.
        batch_size: rows a step; the batch that is left over has fewer.
        seed, epoch: what the order is drawn from.
        chosen: the rows that the epoch has; None is every row once.
    """
    random = np.random.Generator(np.random.PCG64([seed, epoch]))
    rows = random.permutation(len(sizes) if chosen is None else chosen)
    kinds = np.searchsorted(np.asarray(lengths), np.asarray(sizes)[rows])
    batches: list[np.ndarray] = []
    left = rows[:0]
    for kind in range(len(lengths)):
        waiting = np.concatenate([left, rows[kinds == kind]])
        whole = len(waiting) - len(waiting) % batch_size
        batches += [waiting[i : i + batch_size] for i in range(0, whole, batch_size)]
        left = waiting[whole:]
    if len(left):
        batches.append(left)
    return [batches[i] for i in random.permutation(len(batches))]


def evaluation_order(lengths: np.ndarray, *, batch_size: int) -> list[np.ndarray]:
    """Every row once, longest first: least padding, and a row that does not fit in memory fails at once."""
    rows = np.argsort(-np.asarray(lengths), kind="stable")
    return [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]


def batches(
    table: TokenTable,
    labels: np.ndarray | None,
    order: Sequence[np.ndarray],
    *,
    batch_size: int,
    lengths: Sequence[int],
    names: Sequence[str],
    each: Literal["text", "token", "place"] = "text",
    weights: np.ndarray | None = None,
) -> Iterator[Batch]:
    """The batches of an order.

    Args:
        table: the rows' tokens.
        labels: the targets, [rows] or [rows, ...], flat by token [tokens] int32, or None where only logits are wanted.
        order: rows a batch, from `training_order` or `evaluation_order`.
        batch_size: rows of every batch; fewer rows are filled up with weight 0.
        lengths: the lengths a batch may have, rising; the last holds the longest row.
        names: which inputs the model takes, of token_ids, padding_mask and segment_ids.
        each: what the targets are of: a row's text, or every token; hidden places get theirs later.
        weights: how much each row counts, [rows] float32; None is 1.
    """
    sizes = table.lengths
    for rows in order:
        longest = int(sizes[rows].max())
        length = next(candidate for candidate in lengths if candidate >= longest)
        column = np.arange(length)[None, :]
        size = np.zeros(batch_size, np.int64)
        size[: len(rows)] = sizes[rows]
        size[len(rows) :] = 1  # a filling row attends to one token, so that its softmax is finite
        second = np.full(batch_size, length)
        second[: len(rows)] = table.second[rows]
        real = column < size[:, None]
        positions = np.zeros(batch_size, np.int64)
        positions[: len(rows)] = table.offsets[rows]
        places = np.minimum(positions[:, None] + column, len(table.ids) - 1)
        token_ids = np.where(real, table.ids[places], table.pad)
        inputs = {
            "token_ids": token_ids.astype(np.int32),
            "padding_mask": real.astype(np.int32),
            "segment_ids": (real & (column >= second[:, None])).astype(np.int32),
        }
        taken = None
        if labels is not None:
            taken = labels[rows] if each != "token" else np.where(real, labels[places], -1)[: len(rows)]
        found = {name: inputs[name] for name in names}
        yield filled_up(found, table, taken, rows, batch_size, weights, blank=-1 if each == "token" else 0)


def filled_up(
    inputs: dict[str, np.ndarray],
    table: TokenTable,
    taken: np.ndarray | None,
    rows: np.ndarray,
    batch_size: int,
    weights: np.ndarray | None = None,
    blank: int = 0,
) -> Batch:
    """The batch of these inputs and rows, with targets and weights of `batch_size` places; weights are 0 where there is
    no row.

    Args:
        taken: the targets of these rows, [rows of the batch, ...]; None is none.
        weights: how much each row of the table counts, [rows]; None is 1.
        blank: the target where there is no row.
    """
    taken = np.zeros(len(rows), np.int32) if taken is None else taken
    kind = np.int32 if np.issubdtype(taken.dtype, np.integer) else np.float32
    filled = np.full((batch_size, *taken.shape[1:]), blank, kind)
    filled[: len(rows)] = taken
    counting = np.zeros(batch_size, np.float32)
    counting[: len(rows)] = 1.0 if weights is None else weights[rows]
    return Batch(inputs=inputs, labels=filled, weights=counting, rows=rows, tokens=int(table.lengths[rows].sum()))
