"""What the recipe's `training` says of losses, and what does not go with the head or other keys.

In come groups of a recipe; out come contradictions, with keys written from the recipe on. Nothing else is refused here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zoo.recipe.backbone_group import Backbone
from zoo.recipe.data_group import Data
from zoo.recipe.heads import Head
from zoo.recipe.kinds import Clash
from zoo.recipe.training_group import Training

__all__ = ["clashes_of_data", "clashes_with_dropout", "clashes_with_head", "clashes_with_pairs"]

NOT_DRAWN = {
    "multilabel": "a text may have several classes: training.class_weights weighs each",
    "tokens": "a text has words of many classes: training.class_weights weighs each",
    "contrastive": "its batches pair rows by class by themselves",
    "joint": "`sampling` says how many rows of each task an epoch has",
}
"""Why rows of a head's task are not drawn by class; of others, as they have none."""


def clashes_with_head(training: Training, head: Head, *, windows: bool) -> Iterator[Clash]:
    """What `training` says that has no meaning for a head, or, for `resample`, with texts seen through windows."""
    if training.class_weights is not None and not head.classed:
        why = "pairs of one class and of two weigh alike" if head.paired else "it has no classes to weigh"
        yield _without(training.class_weights, "class_weights", head, why)
    if training.loss is not None and not head.classed:
        yield _without(training.loss.type, "loss", head, "its loss is not the cross-entropy of classes")
    if training.r_drop is not None and not head.classed:
        several = "outputs of several tasks are not of one kind"
        why = several if head.type == "joint" else "its outputs are no scores of classes that could agree"
        message = f"got weight {training.r_drop.weight:g}, expected null with head {head.type}: {why}"
        yield Clash(("training.r_drop", "model.head.type"), message)
    if training.mixup is not None and (head.each != "text" or head.paired or head.type == "joint"):
        why = "a text of one task has no label of another" if head.type == "joint" else "its texts are no one vector"
        why = "it has no layer that would learn a mixture" if head.paired else why
        message = f"got alpha {training.mixup.alpha:g}, expected null with head {head.type}: {why}"
        yield Clash(("training.mixup", "model.head.type"), message)
    if training.calibrate is not None and not head.taught:
        why = "words are not calibrated" if head.each == "token" else "it has no probabilities of classes"
        why = "outputs of several tasks have no one temperature" if head.type == "joint" else why
        message = f"got {training.calibrate}, expected null with head {head.type}: {why}"
        yield Clash(("training.calibrate", "model.head.type"), message)
    if training.resample is not None and head.task != "classification":
        why = NOT_DRAWN.get(head.type, "it has no classes to draw by")
        message = f"got {training.resample.type}, expected null with head {head.type}: {why}"
        yield Clash(("training.resample", "model.head.type"), message)
    elif training.resample is not None and windows:
        message = (
            f"got {training.resample.type} beside tokens.long: window, expected null: windows of a text go together, "
            "and epochs would be of another length each"
        )
        yield Clash(("training.resample", "tokens.long"), message)


def clashes_with_dropout(training: Training, backbone: Backbone, head: Head) -> Iterator[Clash]:
    """What `training` says that has no meaning where nothing is dropped."""
    # What the recipe leaves to the preset counts as above zero; attention then has the backbone's own.
    dropped = backbone.attention_dropout or (training.lora is not None and training.lora.dropout)
    if training.r_drop is not None and not dropped and backbone.dropout == head.dropout == 0.0:
        message = (
            f"got weight {training.r_drop.weight:g}, expected null with model.backbone.dropout: 0 and "
            "model.head.dropout: 0: where nothing is dropped both passes are the same"
        )
        yield Clash(("training.r_drop", "model.backbone.dropout", "model.head.dropout"), message)


def clashes_with_pairs(training: Training, *, windows: bool) -> Iterator[Clash]:
    """What does not go with a loss of pairs of a batch's rows."""
    if training.batch_size < 2:
        message = f"got {training.batch_size}, expected 2 at least: the loss is of pairs of rows"
        yield Clash(("training.batch_size", "model.head.type"), message)
    if training.accumulate != 1:
        message = (
            f"got {training.accumulate}, expected 1: the loss is of pairs of rows, and those of two parts never meet"
        )
        yield Clash(("training.accumulate", "model.head.type"), message)
    if training.optimizer.head_rate is not None:
        message = f"got {training.optimizer.head_rate:g}, expected null: this head has no weights"
        yield Clash(("training.optimizer.head_rate", "model.head.type"), message)
    if training.unfreeze is not None:
        message = "got layers that join, expected null: this head has no weights, and at first none would be trained"
        yield Clash(("training.unfreeze", "model.head.type"), message)
    if training.freeze is not None and training.freeze.layers == "all" and training.lora is None:
        message = "got all, expected a number of layers: this head has no weights, and none would be trained"
        yield Clash(("training.freeze.layers", "model.head.type"), message)
    if training.packing:
        message = "got true, expected false: embeddings are means over a row, and packed rows have several texts"
        yield Clash(("training.packing", "model.head.type"), message)
    if windows:
        message = "got window, expected cut: windows of a text would be pairs of one class by themselves"
        yield Clash(("tokens.long", "model.head.type"), message)


def clashes_of_data(data: Data, head: Head) -> Iterator[Clash]:
    """What `data` says of which rows a training has that does not go with a head."""
    if data.few_shot is not None and head.task not in ("classification", "contrastive"):
        why = "it has no one class a text to draw rows by"
        message = f"got {data.few_shot.rows} rows a class, expected null with head {head.type}: {why}"
        yield Clash(("data.few_shot", "model.head.type"), message)
    if data.augment is not None and (head.each != "text" or not head.labelled):
        why = "it hides others of its tokens in each epoch" if not head.labelled else "its labels are of words"
        message = f"got {data.augment.copies} copies, expected null with head {head.type}: {why}"
        yield Clash(("data.augment", "model.head.type"), message)
    if data.folds is not None and getattr(head, "threshold", None) == "tune":
        message = "got tune beside data.folds, expected a number: each fold would have its own, all rows have one"
        yield Clash(("model.head.threshold", "data.folds"), message)


def _without(value: Any, key: str, head: Head, why: str) -> Clash:
    told = ", ".join(value) if isinstance(value, Mapping) else value
    if head.type == "joint":
        why = "each of `tasks` has classes and a loss of its own"
    return Clash((f"training.{key}", "model.head.type"), f"got {told}, expected null with head {head.type}: {why}")
