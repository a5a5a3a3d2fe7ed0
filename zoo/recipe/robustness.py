"""What the recipe's `training` says of robustness: inputs that are moved against the model.

What is refused is said by kinds.py.
"""

from __future__ import annotations

from typing import Literal

from zoo.recipe.kinds import Config, Positive

__all__ = ["Adversarial"]


class Adversarial(Config):
    """A second pass of each step on texts whose word embeddings are moved to where the loss grows (Miyato, Dai and
    Goodfellow 2017, section 3; Goodfellow et al. 2015); the gradients of both are added. A step takes twice as long."""

    type: Literal["fgm"] = "fgm"
    """Kind of attack: the fast gradient method, `epsilon` times the gradient by its norm."""
    epsilon: Positive = 1.0
    """How far a text is moved: the L2 norm of what is added to the embeddings of all its tokens together. Those of
    BERT-Base have a norm of about 1.4 each."""
