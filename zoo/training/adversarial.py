"""Texts that are moved against the model: the recipe's `training.adversarial`.

In come the gradients of a batch's loss by its word embeddings; out comes what is added to these in the second pass of a
step (`zoo.backend.Adversary`). Nothing is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zoo.models.in_training import SHIFT
from zoo.recipe.training_group import Training

__all__ = ["FastGradient", "adversary_of"]


@dataclass(frozen=True, kw_only=True)
class FastGradient:
    """epsilon times the gradient by its L2 norm, of each text by itself (Miyato, Dai and Goodfellow 2017, section 3, as
    their code has it, research/adversarial_text of tensorflow/models).

    hidden_dim: of the embeddings.

    The embeddings are those of a text, not the rows of the table, which many programs move in place and have to set
    back: there a text's move depends on what else is in the batch, and a word that stands in it twice has one move.
    """

    epsilon: float
    hidden_dim: int
    moves: str = SHIFT

    def still(self, inputs: Any) -> Any:
        """Zeros, [rows, length, hidden_dim] float32."""
        from keras import ops

        return ops.zeros((*ops.shape(inputs["token_ids"]), self.hidden_dim), "float32")

    def against(self, gradient: Any, inputs: Any) -> Any:
        """What is added, of norm epsilon for each text, or 0 where the gradient is; shaped as the gradient.

        A row holds one text, or several whose tokens have their number in padding_mask (`zoo.data.packing`).
        """
        from keras import ops

        # By the largest one first: squares of small numbers would vanish.
        largest = ops.max(ops.abs(gradient), axis=(1, 2), keepdims=True)
        gradient = gradient / ops.where(largest > 0.0, largest, 1.0)
        squares = ops.expand_dims(ops.sum(ops.square(gradient), axis=-1), 1)
        number = inputs["padding_mask"]
        same = ops.equal(ops.expand_dims(number, 2), ops.expand_dims(number, 1))
        norm = ops.sqrt(ops.sum(ops.where(same, squares, 0.0), axis=-1))
        return gradient * ops.expand_dims(self.epsilon / ops.where(norm > 0.0, norm, 1.0), -1)


def adversary_of(config: Training, hidden_dim: int) -> FastGradient | None:
    """Whom a recipe asks for; hidden_dim: of its backbone."""
    asked = config.adversarial
    return None if asked is None else FastGradient(epsilon=asked.epsilon, hidden_dim=hidden_dim)
