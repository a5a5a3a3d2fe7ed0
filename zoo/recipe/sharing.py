"""What cannot be computed where each device sees its own rows of a batch alone.

In comes a recipe; out come faults, a sentence each. Where one program computes the batch on all devices, as on jax, all
of it can be computed.
"""

from __future__ import annotations

from zoo.recipe.heads import ContrastiveHead
from zoo.recipe.reading import Recipe

__all__ = ["beyond_own_rows"]


def beyond_own_rows(recipe: Recipe) -> list[str]:
    """Faults of a recipe for `training.devices` that see their own rows; none with one device."""
    config = recipe.training
    if config.devices == 1:
        return []
    found = []
    if isinstance(recipe.model.head, ContrastiveHead):
        found.append("model.head.type: got contrastive, and its pairs are of all rows of a batch")
    if config.dropout_masks == "native":
        found.append("training.dropout_masks: got native, and each device would draw the same masks")
    if config.accumulate == "auto":
        found.append("training.accumulate: got auto, and what fits is tried by one device alone: give a number")
    elif config.mixup is not None and config.batch_size // config.accumulate // config.devices % 2:
        rows = config.batch_size // config.accumulate // config.devices
        found.append(f"training.mixup: got {rows} rows of a part for each device, and pairs are mixed: make it even")
    more = "training.devices: got {}, each of which sees its own rows: use 1, or KERAS_BACKEND=jax"
    return [*found, more.format(config.devices)] if found else []
