"""From token ids to logits, dropout off.

In come a predictor (`Backend.predictor`) and a `TokenTable`; out come logits in the table's order, and of these the
outputs of each text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import numpy as np

from zoo.data.batches import batches, choose_lengths, evaluation_order
from zoo.data.masking import TARGETS, Masking
from zoo.data.tokens import TokenTable
from zoo.tasks import Task
from zoo.tasks.material import Rows

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
    masking: Masking | None = None,
    around: Callable[[tuple[int, int]], AbstractContextManager[object]] = lambda shape: nullcontext(),
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Logits [rows, units] float32 of all rows, in the table's order; of a model for tokens [tokens, units].

    Args:
        predict: from inputs, each [batch, length] int32, to logits [batch, units] or [batch, length, units].
        table: the rows, at least one.
        names: the model's inputs.
        batch_size: rows a batch.
        lengths: the lengths a batch may have; None chooses SHAPES for this table.
        masking: what hides tokens, the same ones each time, where `predict` judges a masked language model.
        around: gives what is entered around the computation of a batch of this shape.
        progress: called with the number of rows done since the last call.
    """
    lengths = lengths or choose_lengths(table.lengths, shapes=SHAPES)
    order = evaluation_order(table.lengths, batch_size=batch_size)
    result: np.ndarray | None = None
    for batch in batches(table, None, order, batch_size=batch_size, lengths=lengths, names=names):
        inputs = batch.inputs
        if masking is not None:
            hidden = masking.hidden(batch, seed=0, turn=0)
            inputs = {**hidden.inputs, TARGETS: hidden.labels}
        with around(batch.shape):
            values = to_host(predict(inputs))[: len(batch.rows)]
        if result is None:
            things = len(table) if values.ndim == 2 else len(table.ids)
            result = np.zeros((things, values.shape[-1]), np.float32)
        if values.ndim == 2:
            result[batch.rows] = values
        else:
            for row, of_row in zip(batch.rows, values, strict=True):
                start, end = table.offsets[row : row + 2]
                result[start:end] = of_row[: end - start]
        if progress is not None:
            progress(len(batch.rows))
    assert result is not None
    return result


def by_text(
    outputs: np.ndarray, task: Task, table: TokenTable, rows: Rows, *, pool: Literal["mean", "max"]
) -> np.ndarray:
    """Outputs of a table as the task's `values` takes them: of each text.

    Args:
        outputs: from `logits`.
        table: whose they are.
        rows: the texts.
        pool: how the outputs of a text's windows become those of the text, where it has one output.
    """
    if task.each == "token":
        found: np.ndarray = task.gathered(outputs, table, rows)
        return found
    if not table.windowed:
        return outputs
    firsts = np.searchsorted(table.owners, np.arange(len(table.full)))
    if task.each == "place":
        totals: np.ndarray = np.add.reduceat(outputs, firsts, axis=0)
        return totals
    if pool == "max":
        largest: np.ndarray = np.maximum.reduceat(outputs, firsts, axis=0)
        return largest
    sums = np.add.reduceat(outputs, firsts, axis=0, dtype=np.float64)
    means: np.ndarray = (sums / table.windows[:, None]).astype(np.float32)
    return means


def to_host(values: Any) -> np.ndarray:
    """A device array as NumPy's; waits until it is computed."""
    from keras import ops

    return np.asarray(ops.convert_to_numpy(values))
