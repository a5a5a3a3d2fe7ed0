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
from zoo.model.backbone import BackboneConfig
from zoo.model.inference import input_names, to_host
from zoo.model.packed import HEAD

EMBEDDED = "embeddings"
"""The input that takes the place of token_ids: token embeddings [batch, length, hidden_dim] float32."""


class Opened:
    """A classifier and its parts; each is built when it is first asked for."""

    def __init__(self, model: Any, config: BackboneConfig) -> None:
        self.model, self.config = model, config

    @cached_property
    def predict(self) -> Callable[[Any], Any]:
        """A function from inputs, each [batch, length] int32, to logits [batch, units] on the device."""
        return activate().predictor(self.model)

    def embeddings(self, token_ids: np.ndarray) -> np.ndarray:
        """What the token embedding gives for ids, [batch, length] to [batch, length, hidden_dim] float32.

        Positions and segments are not in it, and it is not yet normalised.
        """
        own = {layer.name: layer for layer in self.model.layers}
        if self.config.family == "bert":
            return to_host(own["token_embedding"](token_ids))
        return to_host(own[_EMBEDDER[self.config.family]].token_embedding(token_ids))

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
        return activate().predictor(self._attending)

    @cached_property
    def _from_embeddings(self) -> Any:
        """From token embeddings to logits."""
        import keras

        own = {layer.name: layer for layer in self.model.layers}
        inputs, x = self._entrance()
        for number in range(self.config.num_layers):
            x = own[f"transformer_layer_{number}"](x, padding_mask=inputs["padding_mask"])
        x = x[:, 0, :]
        for name in HEAD:
            if name in own:
                x = own[name](x)
        return keras.Model(inputs, x, name="from_embeddings")

    @cached_property
    def _attending(self) -> Any:
        """From token embeddings to each layer's attention."""
        import keras

        from zoo.model.attending import Attending

        own = {layer.name: layer for layer in self.model.layers}
        inputs, x = self._entrance()
        found = []
        for number in range(self.config.num_layers):
            x, weights = Attending(own[f"transformer_layer_{number}"])(x, inputs["padding_mask"])
            found.append(weights)
        return keras.Model(inputs, found, name="attending")

    def _entrance(self) -> tuple[dict[str, Any], Any]:
        """Inputs, by name, and the hidden states that the first transformer layer gets."""
        import keras

        own = {layer.name: layer for layer in self.model.layers}
        names = [name for name in input_names(self.model) if name != "token_ids"]
        inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
        embedded = keras.Input((None, self.config.hidden_dim), dtype="float32", name=EMBEDDED)
        if self.config.family == "bert":
            placed = own["position_embedding"](embedded)
            x = own["embeddings_add"]((embedded, placed, own["segment_embedding"](inputs["segment_ids"])))
        else:
            x = embedded + own[_EMBEDDER[self.config.family]].position_embedding(embedded)
        x = own["embeddings_dropout"](own["embeddings_layer_norm"](x))
        return {EMBEDDED: embedded, **inputs}, x


_EMBEDDER = {"distilbert": "token_and_position_embedding", "roberta": "embeddings"}
"""The layer of tokens and positions, which BERT has apart."""
