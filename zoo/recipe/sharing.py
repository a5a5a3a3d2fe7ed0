"""What cannot be computed by processes that each see their own rows of a batch.

In comes a recipe; out come faults, a sentence each. Devices of one process, as jax has them, compute all of it.
"""

from __future__ import annotations

from zoo.recipe.heads import ContrastiveHead
from zoo.recipe.reading import Recipe

__all__ = ["beyond_processes"]


def beyond_processes(recipe: Recipe) -> list[str]:
    """Faults of a recipe for `training.devices` that are processes, as torch has them; none with one device."""
    config = recipe.training
    if config.devices == 1:
        return []
    found = []
    if isinstance(recipe.model.head, ContrastiveHead):
        found.append("model.head.type: got contrastive, and its pairs are of all rows of a batch")
    if config.dropout_masks == "native":
        found.append("training.dropout_masks: got native, and each process would draw the same masks")
    if config.accumulate == "auto":
        found.append("training.accumulate: got auto, and what fits is tried by a process alone: give a number")
    elif config.mixup is not None and config.batch_size // config.accumulate // config.devices % 2:
        rows = config.batch_size // config.accumulate // config.devices
        found.append(f"training.mixup: got {rows} rows of a part for each device, and pairs are mixed: make it even")
    more = "training.devices: got {}, each a process that sees its own rows: use 1, or KERAS_BACKEND=jax"
    return [*found, more.format(config.devices)] if found else []
