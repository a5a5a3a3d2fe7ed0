"""A text classifier that can be looked into.

In comes a float32 classifier; out come, beside its logits, its token embeddings, the gradient of a logit by these, and
the attention of every layer and head. They are computed by keras.Models of the classifier's own layers and variables.
Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from zoo.backend import activate
from zoo.models.heads import layers_by_name
from zoo.models.inference import input_names, to_host
from zoo.models.topology import classify, encode

EMBEDDED = "embeddings"
"""The input that takes the place of token_ids: token embeddings [batch, length, hidden_dim] float32."""


class Opened:
    """A classifier and its parts; each is built when it is first asked for."""

    def __init__(self, model: Any) -> None:
        self.model, self._layers = model, layers_by_name(model)

    @cached_property
    def predict(self) -> Callable[[Any], Any]:
        """A function from inputs, each [batch, length] int32, to logits [batch, units] on the device."""
        return activate().predictor(self.model, precision="float32")

    def embeddings(self, token_ids: np.ndarray) -> np.ndarray:
        """What the token embedding gives for ids, [batch, length] to [batch, length, hidden_dim] float32.

        Positions and segments are not in it, and it is not yet normalised.
        """
        return to_host(self._layers["token_embedding"](token_ids))

    def gradient(self, embeddings: np.ndarray, inputs: dict[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
        """The gradient of a weighted sum of each row's logits by its token embeddings, [batch, length, hidden_dim].

        Args:
            embeddings: [batch, length, hidden_dim] float32.
            inputs: padding_mask and segment_ids, each [batch, length] int32.
            weights: [units], of the logits in the sum.
        """
        given = {name: inputs[name] for name in input_names(self._from_embeddings) if name != EMBEDDED}
        repeated = np.repeat(weights[None].astype(np.float32), len(embeddings), axis=0)
        return to_host(self._gradient({EMBEDDED: embeddings.astype(np.float32), **given}, repeated))

    def attention(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Weights of one row, [layers, heads, length, length] float32; the last two are query and key.

        Args:
            inputs: token_ids, padding_mask and segment_ids, each [1, length] int32.
        """
        given = {name: inputs[name] for name in input_names(self._attending) if name != EMBEDDED}
        found = self._attend({EMBEDDED: self.embeddings(inputs["token_ids"]), **given})
        layers = found if isinstance(found, list | tuple) else [found]  # of a model of one output Keras makes no list
        return np.concatenate([to_host(weights) for weights in layers]).astype(np.float32)

    @cached_property
    def _gradient(self) -> Callable[[Any, Any], Any]:
        return activate().gradient(self._from_embeddings, EMBEDDED)

    @cached_property
    def _attend(self) -> Callable[[Any], Any]:
        return activate().predictor(self._attending, precision="float32")

    @cached_property
    def _from_embeddings(self) -> Any:
        """From token embeddings to logits."""
        import keras

        inputs = self._inputs()
        x = encode(self._layers, **inputs)
        return keras.Model(_by_name(inputs), classify(self._layers, x[:, 0, :]), name="from_embeddings")

    @cached_property
    def _attending(self) -> Any:
        """From token embeddings to each layer's attention."""
        import keras

        from zoo.models.layers import Attending

        found: list[Any] = []

        def attending(layer: Any) -> Callable[..., Any]:
            def call(x: Any, padding_mask: Any) -> Any:
                states, weights = Attending(layer)(x, padding_mask)
                found.append(weights)
                return states

            return call

        looking = {
            n: attending(each) if n.startswith("transformer_layer_") else each for n, each in self._layers.items()
        }
        inputs = self._inputs()
        encode(looking, **inputs)
        return keras.Model(_by_name(inputs), found, name="attending")

    def _inputs(self) -> dict[str, Any]:
        """What `encode` takes: the model's inputs by name, but token embeddings in place of token_ids."""
        import keras

        names = [name for name in input_names(self.model) if name != "token_ids"]
        width = self._layers["token_embedding"].output_dim
        embedded = keras.Input((None, width), dtype="float32", name=EMBEDDED)
        return {"embedded": embedded, **{name: keras.Input((None,), dtype="int32", name=name) for name in names}}


def _by_name(inputs: dict[str, Any]) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in inputs.values()}
