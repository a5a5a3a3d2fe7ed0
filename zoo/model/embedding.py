"""The lookup of token ids, with a gradient that is no larger than it has to be.

In comes the token embedding that keras-hub built; out goes the same object. Nothing is refused.
"""

from __future__ import annotations

from typing import Any

import keras_hub

from zoo.backend import kernels


class ReversibleEmbedding(keras_hub.layers.ReversibleEmbedding):  # type: ignore[misc]  # Keras ships no types
    """keras-hub's layer, not to be used in reverse, with its name, by which Keras finds a layer's weights in a file."""

    def call(self, inputs: Any) -> Any:
        """token_ids [batch, length] to [batch, length, hidden_dim]."""
        return kernels().look_up(self.embeddings, inputs)
