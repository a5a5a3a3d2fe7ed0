"""The sizes of a backbone that decide what it costs, and the numbers that follow from them alone."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Dimensions:
    """What decides the cost of a backbone."""

    num_layers: int
    num_heads: int
    hidden_dim: int
    intermediate_dim: int
    vocabulary_size: int
    max_positions: int

    @classmethod
    def of(cls, backbone: object) -> Self:
        """Those of what has them among its attributes: a backbone's config, or its card in the catalog."""
        return cls(**{field.name: getattr(backbone, field.name) for field in fields(cls)})

    @property
    def layer_matrices(self) -> int:
        """Weights of one layer's products, without biases."""
        return 4 * self.hidden_dim**2 + 2 * self.hidden_dim * self.intermediate_dim

    @property
    def layer_parameters(self) -> int:
        """Weights of all transformer layers: four projections, two of the feed-forward, biases, two norms."""
        h, i = self.hidden_dim, self.intermediate_dim
        return self.num_layers * (self.layer_matrices + 9 * h + i)

    @property
    def parts(self) -> dict[str, int]:
        """Weights by part; positions hold two segments and the embeddings' norm too, the head is a pooler alone."""
        h = self.hidden_dim
        return {
            "tokens": self.vocabulary_size * h,
            "positions": (self.max_positions + 4) * h,
            "layers": self.layer_parameters,
            "head": h * h + h,
        }

    @property
    def parameters(self) -> int:
        """Weights in all."""
        return sum(self.parts.values())

    def flops_per_token(self, length: int) -> int:
        """Floating point operations of a training step for each token of a row of this length.

        Forward and backward: 6 a weight of the layers; the attention's two products 12 a width and token of the row.
        """
        return 6 * self.layer_parameters + 12 * self.num_layers * self.hidden_dim * length
