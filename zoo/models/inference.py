"""From token ids to logits, dropout off.

In come a predictor (`Backend.predictor`) and a `TokenTable`; out come logits in the table's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from zoo.data.batches import batches, choose_lengths, evaluation_order
from zoo.data.tokens import TokenTable

SHAPES = 6
"""Lengths that batches of one table may have."""
COMPILING = 1e11
"""Floating point operations that a length has to save where it is compiled: a second of two cores, less than a compiler
takes for a step."""


def input_names(model: Any) -> tuple[str, ...]:
    """Which inputs a model takes, of token_ids, padding_mask and segment_ids."""
    return tuple(tensor.name for tensor in model.inputs)


def logits(
    predict: Callable[[Any], Any],
    table: TokenTable,
    *,
    names: Sequence[str],
    batch_size: int,
    lengths: Sequence[int] | None = None,
    around: Callable[[tuple[int, int]], AbstractContextManager[object]] = lambda shape: nullcontext(),
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Logits [rows, units] float32 of all rows, in the table's order.

    Args:
        predict: from inputs, each [batch, length] int32, to logits [batch, units].
        table: the rows, at least one.
        names: the model's inputs.
        batch_size: rows a batch.
        lengths: the lengths a batch may have; None chooses SHAPES for this table.
        around: gives what is entered around the computation of a batch of this shape.
        progress: called with the number of rows done since the last call.
    """
    lengths = lengths or choose_lengths(table.lengths, shapes=SHAPES)
    order = evaluation_order(table.lengths, batch_size=batch_size)
    result: np.ndarray | None = None
    for batch in batches(table, None, order, batch_size=batch_size, lengths=lengths, names=names):
        with around(batch.shape):
            values = to_host(predict(batch.inputs))[: len(batch.rows)]
        if result is None:
            result = np.zeros((len(table), values.shape[1]), np.float32)
        result[batch.rows] = values
        if progress is not None:
            progress(len(batch.rows))
    assert result is not None
    return result


def to_host(values: Any) -> np.ndarray:
    """A device array as NumPy's; waits until it is computed."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(values))
