"""The recipe's `training.optimizer`: a class a kind. What is refused is said by kinds.py."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zoo.recipe.kinds import Config, Fraction, Positive


class AdamW(Config):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW computes it."""

    type: Literal["adamw"] = "adamw"
    """Kind of optimizer."""
    learning_rate: Positive = 2e-5
    """Peak learning rate of the last layers."""
    weight_decay: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.01
    """Decoupled weight decay; biases and layer norms are left out."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Factor on the learning rate for each layer below the top one, the embeddings the last of them; the top layer and
    the head keep the rate (Sun et al. 2019, section 5.3.4)."""
    beta_1: Fraction = 0.9
    """Decay of the first moment."""
    beta_2: Fraction = 0.999
    """Decay of the second moment."""
    epsilon: Positive = 1e-8
    """Added to the root of the second moment."""
    clip_norm: Positive | None = 1.0
    """Largest global norm of the gradient; None does not clip."""
