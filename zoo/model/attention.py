"""Attention that is fused wherever nothing has to be dropped between its two products.

In comes a keras.layers.MultiHeadAttention that keras-hub built; out goes the same object, which asks for the fused
form (keras.ops.dot_product_attention: torch's scaled_dot_product_attention, jax.nn.dot_product_attention) in
prediction whatever its rate of dropout, and in training where that rate is 0. Keras looks at the rate alone, so with
any dropout in the recipe it would never use it. Nothing is refused.
"""

from __future__ import annotations

from typing import Any

import keras


class FusedAttention(keras.layers.MultiHeadAttention):  # type: ignore[misc]  # Keras ships no types
    """keras.layers.MultiHeadAttention that has no dropout outside training."""

    _dropout: float

    def _compute_attention(
        self,
        query: Any,
        key: Any,
        value: Any,
        attention_mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        **named: Any,
    ) -> Any:
        rate = self._dropout
        self._dropout = rate if training else 0.0  # all that Keras looks at
        try:
            return super()._compute_attention(
                query, key, value, attention_mask, training, return_attention_scores, **named
            )
        finally:
            self._dropout = rate
