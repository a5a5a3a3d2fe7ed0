"""The recipe's `training`: how the model is fitted.

In comes plain data, out goes a `Training`. Refused: what kinds.py refuses, and here epochs beside steps, and parts of a
batch that cannot be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from zoo.recipe.kinds import Clash, Config, Count, FigureName, Positive, Text, Width
from zoo.recipe.learning import ClassWeights, Loss, Resample
from zoo.recipe.optimizers import AdamW, Optimizer
from zoo.recipe.robustness import Adversarial, Mixup, RDrop
from zoo.recipe.schedules import Linear, Schedule
from zoo.recipe.trained_group import Average, Freeze, Lora, Unfreeze

MAX_STEPS = 10_000_000
"""Optimizer steps of a run: ten times those of BERT's pretraining. The learning rates of all are held at once."""


class EarlyStopping(Config):
    """Stop when validation no longer improves."""

    patience: Count = 2
    """Epochs without a better `training.monitor` before training stops."""
    min_delta: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    """Smallest change of the monitored figure that counts as better."""


class Saves(Config):
    """How often the state of a run is written down within an epoch, for `--resume`. It is after each epoch in any case,
    and where Ctrl-C or SIGTERM stops a run. No weight depends on it."""

    minutes: Positive | None = 10.0
    """Minutes between two checkpoints: what a run that is killed loses at most; None does not look at the time."""
    steps: Count | None = None
    """Steps between two checkpoints; None does not count them."""


class Stop(Config):
    """When to end training before its length is done; the learning rates are those of the whole length all the same."""

    target: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Value of `training.monitor` on validation that is enough: at least so much, or at most where less is better. It
    is looked at after each epoch."""
    hours: Positive | None = None
    """Hours of training steps, compiling included and evaluation not, over all parts of a run that was resumed."""
    tokens: Annotated[int, Field(gt=0, le=10**15)] | None = None
    """Tokens of training texts that have been seen, special ones counted and padding not."""

    def clashes(self) -> Iterator[Clash]:
        if self.target is None and self.hours is None and self.tokens is None:
            yield Clash(("target",), "got none of target, hours and tokens, expected one at least, or stop: null")


class Distil(Config):
    """A finished run as a teacher: its outputs for the training texts are learned beside their labels (Hinton, Vinyals
    and Dean 2015, section 2)."""

    teacher: Text
    """Folder of a finished run of the same task, the same head and the same classes, from the recipe's folder; or the
    name of a stage before this one."""
    temperature: Positive = 2.0
    """By what the outputs of teacher and student are divided before they are compared: above 1 they are softer."""
    weight: Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)] = 0.5
    """The teacher's part of the loss; the labels have the rest."""


class Training(Config):
    """How the model is fitted."""

    epochs: Annotated[int, Field(gt=0, le=10_000)] | None = None
    """Passes over train; None means 3, or as many as `steps` needs."""
    steps: Annotated[int, Field(gt=0, le=MAX_STEPS)] | None = None
    """Optimizer steps in all; or give `epochs`."""
    batch_size: Width = 32
    """Rows a step."""
    accumulate: Count | Literal["auto"] = 1
    """Parts in which a step computes its batch, one after the other: the gradient is that of the whole batch, of sums
    and counts, and activations take a part's memory. It has to divide `batch_size`. auto is the fewest that fit in the
    memory of the device at hand: on a GPU or TPU by trial of a step on the longest texts, on a CPU, where a process
    that takes too much is killed, by estimate."""
    devices: Count = 1
    """Devices that share each batch by rows, of this machine; on jax and, a process each, on torch also of several:
    together they compute the step that one computes, by the gradient of the whole batch and under the same masks of
    portable dropout. The rows of a batch, or of a part of it where there are several, have to be a multiple. A run may
    go on on another number."""
    model_parallel: Count = 1
    """Over how many devices each large weight is shared out, with what the optimizer keeps of it, on jax: a divisor of
    `devices`. So many devices together hold one model and compute the same rows, of which each group has its share. It
    is for a model that does not fit on one device, on devices that are linked quickly: they talk in every layer. A run
    may go on on another number."""
    remat: bool = False
    """Whether the backward pass computes each transformer layer again from what it was given, in place of keeping what
    lies between: a third more arithmetic, and a small share of the memory of activations (Chen et al. 2016). jax on a
    CPU gains nothing: its compiler keeps what lies between."""
    packing: bool = False
    """Whether short texts share a row of the longest one's length in training, each seen by itself: hardly any padding
    and few shapes, where the texts are of many lengths. A batch then has texts of all lengths."""
    eval_batch_size: Width | None = None
    """Rows a batch in evaluation and prediction; None means twice `batch_size`."""
    precision: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"
    """Number type of matrix products in training. float32 is IEEE's on every device; tf32 is float32 whose
    factors are cut to ten bits, on NVIDIA GPUs of compute capability 8.0 and above; auto is the quickest one by a trial
    of a step on the device at hand, kept in the cache. Weights and the finished model are float32."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether a training step is compiled: on TensorFlow as a whole by XLA, on torch layer by layer by torch.compile.
    auto is the quicker one on a GPU, by a trial like that of `precision`, and off on a CPU, where a compiler takes
    longer than it wins back. jax always compiles; off, TensorFlow compiles the pieces between matrix products."""
    dropout_masks: Literal["portable", "native"] = "portable"
    """How dropout is drawn: by a generator of ours, with the same masks on every backend, or by the backend's own."""
    optimizer: Optimizer = AdamW()
    """The update rule."""
    schedule: Schedule = Linear()
    """The learning rate over the steps."""
    monitor: FigureName | None = None
    """The validation figure that picks the best epoch, drives early stopping and is held against `stop.target`: any
    that the task is judged by, as `accuracy`, `f1`, `macro_f1`, `matthews` or `loss` of classification; None takes the
    first of its task: `accuracy` of classification, `f1` of multilabel, tokens and span, `loss` of regression and
    masked. Of several `tasks` it is the figure of one, as `imdb.accuracy`, or `loss`, or `mean`, the default: the mean
    of the figure that matters most of each (accuracy, F1, R²)."""
    loss: Loss | None = None
    """What is made small, of classes; None is cross-entropy, of other tasks their own. The loss of validation and test
    is always the plain one."""
    class_weights: ClassWeights | None = None
    """By how much a class counts in the loss: `balanced`, in inverse proportion to its rows in train (scikit-learn's
    compute_class_weight), or numbers by class, 1 for those that are not named. Of tokens these are of words; of
    multilabel they weigh the rows that have the class against those that do not, and `balanced` is the number of these
    by the number of those. None counts all alike."""
    resample: Resample | None = None
    """Rows of classes drawn anew for each epoch, for a task with one class a text; None has every row once."""
    calibrate: Literal["temperature"] | None = None
    """What makes the probabilities of classes as sure as they are right: `temperature` divides the outputs of the
    trained model by a number that is fitted on validation (Guo et al. 2017), in the model that is saved. None leaves
    them as they are."""
    distil: Distil | None = None
    """A teacher; None learns from the labels alone."""
    adversarial: Adversarial | None = None
    """Texts that are moved against the model in training; None moves none."""
    r_drop: RDrop | None = None
    """Outputs under two masks of dropout that are to agree; None computes each text once."""
    mixup: Mixup | None = None
    """Texts that are mixed by pairs; None mixes none."""
    train: Literal["all", "biases"] = "all"
    """What of the backbone is trained: everything, or its biases and the offsets of its layer norms alone (Ben
    Zaken et al. 2022, BitFit). The head is always trained whole."""
    freeze: Freeze | None = None
    """Weights of the preset that are not trained; None freezes none."""
    unfreeze: Unfreeze | None = None
    """By how many epochs the backbone's layers join in training, from the last one down; None trains all from the
    start."""
    lora: Lora | None = None
    """Low-rank adapters; None has none."""
    average: Average | None = None
    """Weights of several steps or epochs that are averaged; None takes those of one epoch, see `keep`."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights the run ends with."""
    early_stopping: EarlyStopping | None = None
    """When to stop before the last epoch; None never does."""
    stop: Stop | None = None
    """What else ends training; None is nothing. The epoch that is being trained is evaluated, and the run is finished
    as any other."""
    log_every: Count = 20
    """Steps between two rows of history.jsonl."""
    checkpoint: Saves = Saves()
    """How often the state of the run is written down within an epoch, so that it can go on from there."""

    @property
    def least_parts(self) -> int:
        """In how many parts a step is computed at least: with `accumulate: auto` as a whole, where that fits."""
        return 1 if self.accumulate == "auto" else self.accumulate

    @property
    def least_rows(self) -> int:
        """What the rows of a part are a multiple of."""
        return math.lcm(1 if self.mixup is None else 2, self.shares)

    @property
    def shares(self) -> int:
        """In how many shares the rows of a batch are computed at once: one for each group of devices with a model."""
        return max(1, self.devices // self.model_parallel)

    def clashes(self) -> Iterator[Clash]:
        if self.epochs is not None and self.steps is not None:
            message = f"got {self.steps} beside epochs: {self.epochs}, expected one of the two: make the other null"
            yield Clash(("steps", "epochs"), message)
        if self.steps is not None and self.schedule.warmup >= self.steps:
            message = f"got {self.schedule.warmup} steps, expected fewer than training.steps: {self.steps}"
            yield Clash(("schedule.warmup", "steps"), message)
        if self.accumulate != "auto" and self.batch_size % self.accumulate:
            message = f"got {self.accumulate} beside batch_size: {self.batch_size}, expected a divisor of it"
            yield Clash(("accumulate",), message)
        yield from self._unshared()
        if self.accumulate != 1 and self.packing:
            message = f"got {self.accumulate} beside packing: true, expected 1: packed rows do not part"
            yield Clash(("accumulate",), message)
        if self.mixup is not None:
            yield from self._unpaired(self.mixup.alpha)
        if self.resample is not None and self.class_weights == "balanced":
            message = f"got balanced beside resample: {self.resample.type}, expected one of the two: both even out"
            yield Clash(("class_weights", "resample"), message)
        if self.remat and self.dropout_masks == "native":
            message = "got true beside dropout_masks: native, expected false: what is computed again would drop others"
            yield Clash(("remat",), message)

    def _unshared(self) -> Iterator[Clash]:
        """What several devices could not share equally."""
        if self.devices % self.model_parallel:
            message = f"got {self.model_parallel} beside devices: {self.devices}, expected a divisor of it"
            yield Clash(("model_parallel", "devices"), message)
            return
        if self.shares == 1:
            return
        got = f"got {self.devices}"
        if self.model_parallel > 1:
            got += f", which are {self.shares} groups of model_parallel: {self.model_parallel},"
        if self.packing:
            one = self.model_parallel
            yield Clash(("devices",), f"{got} beside packing: true, expected {one}: packed rows are not shared out")
        expected = "expected a divisor of" if self.model_parallel == 1 else "expected as many groups as divide"
        rows = self.batch_size // self.least_parts
        if rows % self.shares:
            message = f"{got} beside {rows} rows a step's part, {expected} them"
            yield Clash(("devices", "batch_size", "accumulate"), message)
        if self.eval_batch_size is not None and self.eval_batch_size % self.shares:
            message = f"{got} beside eval_batch_size: {self.eval_batch_size}, {expected} it"
            yield Clash(("devices",), message)

    def _unpaired(self, alpha: float) -> Iterator[Clash]:
        """What leaves texts of a batch without another one to be mixed with."""
        if self.batch_size == 1:
            yield Clash(("mixup", "batch_size"), f"got alpha {alpha:g}, expected null with batch_size: 1")
        elif self.accumulate == "auto":
            if self.batch_size % 2:
                message = (
                    f"got auto beside mixup and batch_size: {self.batch_size}, expected an even one: pairs are mixed"
                )
                yield Clash(("accumulate", "batch_size", "mixup"), message)
        elif self.accumulate > 1 and (rows := self.batch_size // self.accumulate) % 2:
            message = f"got {self.accumulate} beside mixup, expected parts of an even number of rows, not {rows}"
            yield Clash(("accumulate", "mixup"), message)
