"""What one family of encoders has that others have not. A family is a module of its own beside this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Activation = Literal["gelu", "gelu_tanh", "relu"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of encoders, as its authors released it, keras-hub builds it and transformers names it."""

    name: str
    """As recipes and Hugging Face's `model_type` say it."""
    class_prefix: str
    """What begins the names of its classes in keras-hub and transformers, as in BertBackbone."""
    embeddings: str | None
    """keras-hub's name of the layer around the embeddings of tokens and positions; None where each is by itself."""
    num_segments: int | None
    """Rows of the segment embedding where nothing says how many; None where the family has no segments."""
    activation: Activation
    """Of the feed-forward layers, where nothing says which."""
    layer_norm_epsilon: float
    """Of all layer norms, where nothing says which."""
    keras_hub_activation: Activation
    """What keras-hub's class has in place of `activation`, and cannot be told otherwise."""
    attention_output_dropout: bool
    """Whether what attention puts out is dropped at the rate of the hidden states."""
    dense: Literal["pooled_dense", "head_dense"]
    """The layer between the first token and the logits: the encoder's own pooler, or one of the head."""
    dense_activation: Literal["tanh", "relu"]
    """Of that layer."""
    head_input_dropout: bool
    """Whether the head also drops what comes into it."""
    modules: Mapping[str, str]
    """Layers of the encoder outside the transformer layers, but for embeddings, and what transformers calls them."""
    heads: Mapping[str, Mapping[str, str]]
    """transformers' name of a kind of head, as in BertForTokenClassification -> its layers, and what transformers calls
    them; of the last layer of a masked language model it has the bias alone."""
    masked_activation: Activation | None
    """Of the dense layer in the head of a masked language model; None is the backbone's."""
    layers: str
    """What transformers calls the list of transformer layers."""
    layer_modules: Mapping[str, str]
    """Layers within a transformer layer, and what transformers calls them."""
    first_position: int
    """Row of transformers' position embedding at which the first token stands."""

    def module(self, layer: str, program: str | None) -> str | None:
        """What transformers calls a layer with weights that is no embedding; None where the family has none such.

        Args:
            layer: its path, as transformer_layer_3/self_attention_layer/query.
            program: the kind of head, one of `heads`; None is none.
        """
        if not layer.startswith("transformer_layer_"):
            return {**self.modules, **(self.heads[program] if program else {})}.get(layer)
        number, _, inner = layer.removeprefix("transformer_layer_").partition("/")
        return f"{self.layers}.{number}.{self.layer_modules[inner]}"
