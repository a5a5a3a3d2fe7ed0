"""What a run will take, before anything is built: from the dimensions of the backbone and the recipe alone.

In come a recipe, the backbone's `Dimensions` and the number of training rows; out goes an `Estimate` of memory and
work, and by `Machine` of time. Each row counts with `tokens.max_length`, so texts that are shorter take less. Nothing
is measured here and nothing refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zoo.recipe.dimensions import Dimensions
from zoo.recipe.heads import MaskedHead
from zoo.recipe.length import run_length
from zoo.recipe.optimizers import SGD, Adafactor, Lion, Muon, Optimizer
from zoo.recipe.trained_weights import (
    TrainedWeights,
    at_once,
    differentiated_layers,
    passes,
    step_flops,
    trained_weights,
)
from zoo.recipe.training_group import Training
from zoo.recipe.types import Keys

Precision = Literal["float32", "tf32", "bfloat16"]

SHARE_OF_PEAK = 0.4
"""Assumed of every machine: the share of its peak that a training step reaches."""
OPTIMIZER_TRAFFIC = 12
"""Bytes that an optimizer reads and writes a trained weight: it both ways, and the gradient; 8 more for each moment."""
ACTIVATION_TRAFFIC = 4
"""How often what a step keeps is written or read, forward and backward."""


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """The least time that work can take on a machine (Williams, Waterman and Patterson 2009), in seconds."""

    arithmetic: float
    traffic: float

    @property
    def seconds(self) -> float:
        """Of both at once: what takes longer."""
        return max(self.arithmetic, self.traffic)

    @property
    def bound(self) -> Literal["operations", "bytes"]:
        """What takes longer."""
        return "operations" if self.arithmetic >= self.traffic else "bytes"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Peaks as the maker states them, dense: floating point operations a second by precision, bytes a second."""

    name: str
    flops: dict[Precision, float]
    bandwidth: float
    memory: float | None = None
    """Bytes on the device; None where it is the computer's own."""
    link: float | None = None
    """Bytes a second that it can send to others of its kind, by NVLink or a TPU's interconnect; None where it has
    neither."""

    def roofline(self, operations: float, bytes_accessed: float, precision: Precision) -> Roofline:
        """How long so many operations and so many bytes from and to memory take at the peaks."""
        return Roofline(arithmetic=operations / self.flops[precision], traffic=bytes_accessed / self.bandwidth)


def _tpu(name: str, bfloat16: float, bandwidth: float, memory: float, link: float) -> Machine:
    """A TPU: it multiplies bfloat16 alone, and takes six such products for one of float32.

    So XLA's compiler for a v5e has it: 816,000 cycles for matrices of 2,048 rows and columns, and 143,000 in bfloat16.
    """
    flops: dict[Precision, float] = {"float32": bfloat16 / 6, "bfloat16": bfloat16}
    return Machine(name=name, flops=flops, bandwidth=bandwidth, memory=memory, link=link)


MACHINES = (
    Machine(name="T4", flops={"float32": 8.1e12}, bandwidth=0.32e12, memory=16e9),
    Machine(name="L4", flops={"float32": 30e12, "tf32": 60e12, "bfloat16": 121e12}, bandwidth=0.3e12, memory=24e9),
    Machine(
        name="A100",
        flops={"float32": 19.5e12, "tf32": 156e12, "bfloat16": 312e12},
        bandwidth=2e12,
        memory=80e9,
        link=300e9,
    ),
    Machine(
        name="H100",
        flops={"float32": 67e12, "tf32": 494e12, "bfloat16": 989e12},
        bandwidth=3.35e12,
        memory=80e9,
        link=450e9,
    ),
    _tpu("TPU v5e", bfloat16=197e12, bandwidth=0.819e12, memory=16e9, link=200e9),
    _tpu("TPU v6e", bfloat16=918e12, bandwidth=1.64e12, memory=32e9, link=448e9),
)
"""From the makers' data sheets: SXM modules of 80 GB, no sparsity; links in one direction. A T4 has neither TF32 nor
bfloat16."""


def machine_named(name: str) -> Machine:
    """The one of MACHINES with this name."""
    return next(machine for machine in MACHINES if machine.name == name)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Figures of one run: weights by part, bytes, floating point operations."""

    parts: dict[str, int]
    trained: int
    """Weights that are trained, and have a gradient."""
    moments: int
    """Numbers that the optimizer keeps of these together."""
    activations: dict[Precision, int]
    """Bytes that the backward pass needs of a device's share of a batch."""
    flops_per_token: int
    rows: int | None
    steps: int | None
    operations: float | None
    """Of the whole training; None where the number of rows is not known."""
    divisible: int = 1
    """Into how many parts a step that does not fit may still be cut."""
    devices: int = 1
    """That share each batch; each has the activations above, and all weights but for those that are cut."""
    model_parallel: int = 1
    """In how many parts these are cut, each on another device."""
    cut: int = 0
    """Numbers of weights, gradients and what the optimizer keeps, together, that are cut."""

    @property
    def parameters(self) -> int:
        return sum(self.parts.values())

    @property
    def state_bytes(self) -> int:
        """Weights, gradients and what the optimizer keeps on each device, each float32 in every precision."""
        whole = self.parameters + self.trained + self.moments - self.cut
        return 4 * (whole + self.cut // self.model_parallel)

    @property
    def copied_bytes(self) -> int:
        """What the host holds beside it while a checkpoint is written: weights and what the optimizer keeps."""
        return 4 * (self.parameters + self.moments)

    def memory_bytes(self, precision: Precision) -> int:
        """What a training step keeps: state and activations, on an accelerator nearly all of its peak."""
        return self.state_bytes + self.activations[precision]

    def fits(self, machine: Machine, precision: Precision) -> bool:
        """Whether the machine computes in this precision and has the memory."""
        least = self.state_bytes + self.activations[precision] // self.divisible
        room = machine.memory is None or least <= machine.memory
        return room and precision in machine.flops

    def seconds(self, machine: Machine, precision: Precision) -> float | None:
        """Training time by roofline (Williams, Waterman and Patterson 2009): arithmetic or memory, what takes longer.

        None where the number of rows is not known, and where the step does not fit the machine.
        """
        if self.operations is None or self.steps is None or not self.fits(machine, precision):
            return None
        machines = 1 if machine.memory is None else self.devices  # a CPU's devices are one machine
        arithmetic = self.operations / (machines * SHARE_OF_PEAK * machine.flops[precision])
        held = self.state_bytes / (4 * (self.parameters + self.trained + self.moments))
        optimizer = held * (OPTIMIZER_TRAFFIC * self.trained + 8 * self.moments)
        traffic = optimizer + ACTIVATION_TRAFFIC * self.activations[precision]
        return max(arithmetic, self.steps * traffic / machine.bandwidth)


def moments(config: Optimizer, size: Dimensions, trained: TrainedWeights) -> int:
    """Numbers that an optimizer keeps of the weights of a model that are trained."""
    match config:
        case SGD(momentum=0.0):
            return 0
        case SGD() | Lion():
            return trained.total
        case Adafactor():
            # Of embeddings, the pooler and the head; then of each layer. Where some are not trained, their share.
            sides = 9 * size.hidden_dim + size.vocabulary_size + size.max_positions
            layer = 8 * size.hidden_dim + 2 * (size.hidden_dim + size.intermediate_dim)
            vectors = 9 * size.hidden_dim + size.intermediate_dim
            return (sides + size.num_layers * (layer + vectors)) * trained.total // size.parameters
        case Muon():  # one of the matrices of the layers
            return trained.matrices + 2 * trained.others
    return 2 * trained.total


def divided_told(figures: Mapping[str, Any]) -> list[str]:
    """In words, what each device has of the state of a run whose weights are shared out.

    Args:
        figures: of an `Estimate` its fields and `state_bytes`; none where nothing is known.
    """
    if figures.get("model_parallel", 1) == 1:
        return []
    whole = 4 * sum(figures[name] for name in ("parameters", "trained", "moments"))
    return [
        f"model_parallel {figures['model_parallel']}: of weights, gradients and moments each device has "
        f"{figures['state_bytes'] / 1e6:,.0f} MB, in place of {whole / 1e6:,.0f} MB"
    ]


def _cut(config: Training, size: Dimensions, trained: TrainedWeights, kept: int) -> int:
    """Numbers that devices share out, see `Estimate.cut`; `zoo.models.divided` says which weights these are.

    Args:
        kept: numbers that the optimizer keeps.
    """
    h, i, parts = size.hidden_dim, size.intermediate_dim, config.model_parallel
    by_width = size.parameters - size.layer_parameters - 2 * h  # the norm of the embeddings is whole
    by_heads = size.num_layers * (4 * h * h + 3 * h)
    by_inner = size.num_layers * (2 * h * i + i)
    weights = sum(
        count
        for length, count in ((h, by_width), (size.num_heads, by_heads), (i, by_inner))
        if parts > 1 and length % parts == 0
    )
    moved = trained.total if trained.matrices else 0  # of adapters and biases nearly all are whole
    if isinstance(config.optimizer, Adafactor):  # it keeps rows and columns, which are small
        kept = 0
    return weights + round(weights / size.parameters * (moved + (kept if moved else 0)))


def estimate(recipe: Keys, size: Dimensions, rows: int | None, parts: int | None = None) -> Estimate:
    """What training takes on `rows` training rows (None: not known, then no time). Raises what run_length raises.

    parts: in how many a step is computed; None is as few as the recipe allows.
    """
    batch, length = recipe.training.batch_size, recipe.tokens.max_length
    parts = (parts or recipe.training.least_parts) * recipe.training.shares  # as far as activations go
    steps = recipe.training.steps if rows is None else run_length(recipe.training, rows=rows).steps
    trained = trained_weights(recipe.training, size)
    per_token = step_flops(recipe.training, size, length)
    if recipe.training.remat:  # forward twice: 8 in place of 6
        per_token = per_token * 4 // 3
    # Korthikanti et al. 2022, section 4: bytes a layer at 2 bytes a value, 1 byte a value of a dropout's mask. Devices
    # that share weights out (equation 2) share what lies within attention, by heads, and the feed-forward half.
    # Hidden dropout keeps two masks; that of attention a mask and what it puts out. A rate that the recipe leaves to
    # the preset counts as above zero.
    rates = recipe.model.backbone
    attention_rate = rates.dropout if rates.attention_dropout is None else rates.attention_dropout
    divided = recipe.training.model_parallel
    by_heads, by_inner = (divided if n % divided == 0 else 1 for n in (size.num_heads, size.intermediate_dim))
    per_width = (8 if rates.dropout == 0.0 else 10) + 8 / by_heads + 16 / by_inner
    per_pair = (2 if attention_rate == 0.0 else 5) / by_heads
    per_layer = round(batch * length * (per_width * size.hidden_dim + per_pair * size.num_heads * length))
    per_layer //= parts
    forward, layers = at_once(recipe.training), differentiated_layers(recipe.training, size)
    kept = forward * layers * per_layer
    if recipe.training.remat:  # one layer at a time, and what each was given, 2 bytes a value
        kept = per_layer + forward * layers * (2 * batch * length * size.hidden_dim // parts)
    scores = 0
    if isinstance(head := recipe.model.head, MaskedHead):
        # Of the hidden tokens alone; float32 in every precision, and with their gradient.
        hidden = batch * head.places(length)
        scores = 8 * hidden * size.vocabulary_size // parts
        of_scores = 6 * size.hidden_dim * (size.hidden_dim + size.vocabulary_size) * head.places(length) // length
        per_token += passes(recipe.training) * of_scores
    kept_by_rule = moments(recipe.training.optimizer, size, trained)
    return Estimate(
        parts=size.parts,
        trained=trained.total,
        moments=kept_by_rule,
        activations={"float32": 2 * kept + scores, "tf32": 2 * kept + scores, "bfloat16": kept + scores},
        flops_per_token=per_token,
        rows=rows,
        steps=steps,
        operations=None if steps is None else float(steps) * batch * length * per_token,
        divisible=batch // recipe.training.shares if recipe.training.accumulate == "auto" else 1,
        devices=recipe.training.devices,
        model_parallel=divided,
        cut=_cut(recipe.training, size, trained, kept_by_rule),
    )
