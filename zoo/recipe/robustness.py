"""What the recipe's `training` says of robustness: texts that are moved against the model, computed twice, or mixed.

What is refused is said by kinds.py.
"""

from __future__ import annotations

from typing import Literal

from zoo.recipe.kinds import Config, Positive

__all__ = ["Adversarial", "Mixup", "RDrop"]


class Adversarial(Config):
    """A second pass of each step on texts whose word embeddings are moved to where the loss grows (Miyato, Dai and
    Goodfellow 2017, section 3; Goodfellow et al. 2015); the gradients of both are added. A step takes twice as long."""

    type: Literal["fgm"] = "fgm"
    """Kind of attack: the fast gradient method, `epsilon` times the gradient by its norm."""
    epsilon: Positive = 0.1
    """How far a text is moved: the L2 norm of what is added to the embeddings of all its tokens together. Those of
    MiniLM have a norm of 1.1 each: there 0.1 is learned well, 0.3 slowly and 1.0 not at all; those of a fresh backbone
    are far smaller, and want 0.01."""


class RDrop(Config):
    """Each text is computed twice under other masks of dropout, and both outputs are to agree (Liang et al. 2021,
    R-Drop). A step takes twice as long, and twice the memory of activations."""

    weight: Positive = 1.0
    """By how much the divergence of the outputs counts, the mean of Kullback and Leibler's in both directions in nats,
    beside the mean of both losses. The paper adds both losses up: its alpha is twice this number."""


class Mixup(Config):
    """Texts are mixed by pairs where a text is one vector, before the last dropout and the last layer, and learned by
    the labels of both (Zhang et al. 2018; of transformers Sun et al. 2020, Mixup-Transformer)."""

    alpha: Positive = 0.2
    """Of the Beta distribution from which a pair's shares are drawn: the smaller it is, the nearer they are to all or
    nothing; at 1 all are alike, and above it halves are likelier."""
