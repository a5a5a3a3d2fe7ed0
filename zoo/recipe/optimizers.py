"""The recipe's `training.optimizer`: a class a kind. What is refused is said by kinds.py, and here contradictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Tag

from zoo.recipe.kinds import Clash, Config, Fraction, Positive, kind_or

Decay = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Rule(Config):
    """What all optimizers have."""

    type: str
    learning_rate: Positive = 2e-5
    """Peak learning rate of the last layers."""
    weight_decay: Decay = 0.01
    """Decoupled weight decay; biases and layer norms are left out."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Factor on the learning rate for each layer below the top one, the embeddings the last of them; the top layer and
    the head keep the rate (Sun et al. 2019, section 5.3.4)."""
    head_rate: Positive | None = None
    """Peak learning rate of the head, which is all that stands on the encoder, BERT's pooler not among it; None is that
    of the last layers. It follows the same schedule."""
    clip_norm: Positive | None = 1.0
    """Largest global norm of the gradient; None does not clip."""


class Moments(Rule):
    """An optimizer that keeps the mean of gradients and of their squares."""

    beta_1: Fraction = 0.9
    """Decay of the first moment."""
    beta_2: Fraction = 0.999
    """Decay of the second moment."""
    epsilon: Positive = 1e-8
    """Added to the root of the second moment."""


class AdamW(Moments):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), as torch.optim.AdamW computes it."""

    type: Literal["adamw"] = "adamw"
    """Kind of optimizer."""


class Adam(Moments):
    """Adam (Kingma and Ba 2015), as torch.optim.Adam computes it; Keras's Adam decays as AdamW does."""

    type: Literal["adam"] = "adam"
    """Kind of optimizer."""
    weight_decay: Decay = 0.0
    """L2 penalty: so much of each weight is added to its gradient after clipping, and goes through the moments as the
    gradient does; biases and layer norms are left out. The decoupled one is AdamW's."""


class SGD(Rule):
    """Gradient descent with momentum, as torch.optim.SGD computes it: the rate of a step holds for all of its momentum,
    where Keras keeps each gradient under the rate it came with."""

    type: Literal["sgd"] = "sgd"
    """Kind of optimizer."""
    learning_rate: Positive = 1e-2
    """Peak learning rate of the last layers."""
    weight_decay: Decay = 0.0
    """L2 penalty: so much of each weight is added to its gradient after clipping; biases and layer norms are left
    out."""
    momentum: Fraction = 0.9
    """Share of the last step's direction that is added to the gradient."""
    nesterov: bool = False
    """Whether the gradient counts once more on top of the momentum it was added to (Sutskever et al. 2013)."""

    def clashes(self) -> Iterator[Clash]:
        if self.nesterov and not self.momentum:
            yield Clash(("nesterov", "momentum"), "got true, expected false with momentum: 0, which it looks ahead by")


class Lion(Rule):
    """Lion (Chen et al. 2023): each weight moves by the rate, in the direction of the sign of a mean of gradients. It
    keeps one moment."""

    type: Literal["lion"] = "lion"
    """Kind of optimizer."""
    learning_rate: Positive = 5e-6
    """Peak learning rate of the last layers; the authors take 3 to 10 times less than for AdamW."""
    weight_decay: Decay = 0.04
    """Decoupled weight decay, 3 to 10 times that of AdamW; biases and layer norms are left out."""
    beta_1: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.9
    """Share of the moment in the mean whose sign is taken."""
    beta_2: Fraction = 0.99
    """Decay of the moment."""


class Lamb(Moments):
    """LAMB (You et al. 2020, algorithm 2): AdamW's step, decay included, scaled in each array to the norm of its
    weights. Keras's leaves the decay out of the scale."""

    type: Literal["lamb"] = "lamb"
    """Kind of optimizer."""
    learning_rate: Positive = 5e-4
    """Peak learning rate of the last layers: the share of its own norm by which an array moves."""
    epsilon: Positive = 1e-6
    """Added to the root of the second moment."""


class Adafactor(Rule):
    """Adafactor (Shazeer and Stern 2018, algorithm 4, without momentum): of the squared gradients of a matrix the means
    of rows and columns are kept, which takes hardly any memory. Keras's keeps a whole array beside them."""

    type: Literal["adafactor"] = "adafactor"
    """Kind of optimizer."""
    learning_rate: Positive = 5e-4
    """Peak learning rate of the last layers: the share of its root mean square by which an array moves. From step t on
    it is at most 1 / √t."""
    weight_decay: Decay = 0.0
    """Decoupled weight decay; biases and layer norms are left out."""
    beta_2_decay: Annotated[float, Field(ge=-1.0, lt=0.0)] = -0.8
    """By which power of the step's number the share of its squared gradients in the means falls."""
    epsilon_1: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-30
    """Added to squared gradients."""
    epsilon_2: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-3
    """Least root mean square that an array is taken to have."""
    clip_threshold: Positive = 1.0
    """Largest root mean square of an array's step before the rate."""


class Muon(Moments):
    """Muon (Jordan et al. 2024) for the matrices of the transformer layers: momentum whose singular values are brought
    near 1, scaled to the size of AdamW's steps (Liu et al. 2025, section 2.2). All else, embeddings, biases, layer
    norms, pooler and head, goes by AdamW. Keras's leaves the attention's matrices out and takes biases for some."""

    type: Literal["muon"] = "muon"
    """Kind of optimizer."""
    momentum: Fraction = 0.95
    """Decay of the matrices' momentum; the two betas and `epsilon` are of AdamW's part."""
    nesterov: bool = True
    """Whether the gradient counts once more on top of the momentum it was added to."""
    iterations: Annotated[int, Field(ge=1, le=20)] = 5
    """Newton-Schulz iterations."""


Optimizer = Annotated[
    Annotated[AdamW, Tag("adamw")]
    | Annotated[Adam, Tag("adam")]
    | Annotated[SGD, Tag("sgd")]
    | Annotated[Lion, Tag("lion")]
    | Annotated[Lamb, Tag("lamb")]
    | Annotated[Adafactor, Tag("adafactor")]
    | Annotated[Muon, Tag("muon")],
    kind_or("adamw"),
]
