"""What a run will take, before anything is built: rough figures from the dimensions of the backbone.

In come a recipe, the backbone's `Dimensions` and the number of training rows; out goes an `Estimate` of
memory and work. It is an upper bound on the length side (each row counts with `tokens.max_length`), and
an order of magnitude on the time side (the speed of a machine is assumed, and said).
"""

from __future__ import annotations

from dataclasses import dataclass

from zoo.recipe.types import Recipe

EPOCHS = 3
"""Passes over train where a recipe gives neither epochs nor steps."""
CORE_FLOPS = 25e9
"""Assumed of one CPU core: floating point operations a second that a training step really gets, float32."""
GPU_FLOPS = 40e12
"""Assumed of one data-centre GPU, likewise, bfloat16."""


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """What decides the cost of a backbone."""

    num_layers: int
    num_heads: int
    hidden_dim: int
    intermediate_dim: int
    vocabulary_size: int
    max_positions: int

    @property
    def layer_parameters(self) -> int:
        """Weights of all transformer layers: four projections, two of the feed-forward, biases, two norms."""
        h, i = self.hidden_dim, self.intermediate_dim
        return self.num_layers * (4 * h * h + 2 * h * i + 9 * h + i)

    @property
    def parameters(self) -> int:
        """Weights in all, embeddings of tokens, positions and two segments included."""
        return self.layer_parameters + (self.vocabulary_size + self.max_positions + 4) * self.hidden_dim


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Rough figures of one run; memory in bytes, work in floating point operations."""

    parameters: int
    state_bytes: int
    activation_bytes: int
    rows: int | None
    steps: int | None
    operations: float | None

    @property
    def memory_bytes(self) -> int:
        """Peak of a training step: weights, gradients, moments, and what the backward pass needs."""
        return self.state_bytes + self.activation_bytes

    def seconds(self, speed: float) -> float | None:
        """Training time at so many operations a second; None where the number of rows is not known."""
        return None if self.operations is None else self.operations / speed


def estimate(recipe: Recipe, size: Dimensions, rows: int | None) -> Estimate:
    """What training takes on `rows` training rows (None: not known, then no time)."""
    batch, length = recipe.training.batch_size, recipe.tokens.max_length
    steps = recipe.training.steps
    if steps is None and rows is not None:
        steps = (recipe.training.epochs or EPOCHS) * -(-rows // batch)
    operations = None
    if steps is not None:
        # Forward and backward: 6 a weight and token; the attention's two products 12 a width, length and token.
        per_token = 6 * size.layer_parameters + 12 * size.num_layers * size.hidden_dim * length
        operations = float(steps) * batch * length * per_token
    # Korthikanti et al. 2022, equation 2: bytes a layer at 2 bytes a value, 1 byte a value of a dropout's mask.
    # Hidden dropout keeps two masks; that of attention a mask and what it puts out. A rate that the recipe leaves to
    # the checkpoint counts as above zero.
    rates = recipe.model.backbone
    attention_rate = rates.dropout if rates.attention_dropout is None else rates.attention_dropout
    per_width = 32 if rates.dropout == 0.0 else 34
    per_pair = 2 if attention_rate == 0.0 else 5
    per_layer = batch * length * (per_width * size.hidden_dim + per_pair * size.num_heads * length)
    width = 1 if recipe.training.precision == "bfloat16" else 2
    return Estimate(
        parameters=size.parameters,
        # float32: the weight, its gradient and AdamW's two moments.
        state_bytes=16 * size.parameters,
        activation_bytes=size.num_layers * per_layer * width,
        rows=rows,
        steps=steps,
        operations=operations,
    )
