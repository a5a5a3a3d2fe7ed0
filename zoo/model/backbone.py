"""A backbone from its dimensions: a keras-hub BERT, DistilBERT or RoBERTa.

In comes a `BackboneConfig`, out comes the keras-hub model, its weights still blank. What a checkpoint was
trained with and keras-hub's classes fix (the kind of GELU, the layer norm's epsilon, one rate for all
dropout) is set here, in one place. Refused: an activation that none of these families was trained with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal
from unittest import mock

from zoo.backend import without_tensorflow
from zoo.errors import EnvironmentFault

Activation = Literal["gelu", "gelu_tanh", "relu"]

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""Names that Hugging Face configs use, and what they compute."""


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """All that decides what a backbone computes, its weights apart.

    num_segments is None where the family takes no segment_ids. dropout is the rate on the embeddings and on
    what attention and feed-forward put out, attention_dropout the rate on the attention's weights.
    """

    family: Literal["bert", "distilbert", "roberta"]
    vocabulary_size: int
    num_layers: int
    num_heads: int
    hidden_dim: int
    intermediate_dim: int
    max_positions: int
    num_segments: int | None
    activation: Activation
    layer_norm_epsilon: float
    dropout: float
    attention_dropout: float


RATES = {"dropout": 0.1, "attention_dropout": 0.1}

DEFAULTS: dict[str, dict[str, Any]] = {
    # Devlin et al. 2019, Sanh et al. 2019, Liu et al. 2019, as their authors released them.
    "bert": {"num_segments": 2, "activation": "gelu", "layer_norm_epsilon": 1e-12, **RATES},
    "distilbert": {"num_segments": None, "activation": "gelu", "layer_norm_epsilon": 1e-12, **RATES},
    "roberta": {"num_segments": None, "activation": "gelu", "layer_norm_epsilon": 1e-5, **RATES},
}
"""What a family has where a recipe or a checkpoint does not say."""


def activation_named(name: str) -> Activation:
    """The activation that a Hugging Face config calls `name`.

    Raises:
        EnvironmentFault: an activation that these families do not know.
    """
    try:
        return ACTIVATIONS[name]
    except KeyError:
        raise EnvironmentFault(
            f"the checkpoint's activation is {name!r}, expected one of {', '.join(ACTIVATIONS)}: use another checkpoint"
        ) from None


def assemble(config: BackboneConfig, *, dtype: str) -> Any:
    """The keras-hub backbone of this config.

    Args:
        config: dimensions and rates.
        dtype: a Keras dtype policy, e.g. float32 or mixed_bfloat16.

    Returns:
        A keras.Model from token_ids, padding_mask (and segment_ids), each [batch, length] int32, to
        hidden states [batch, length, hidden_dim]; BERT's is a dict that also holds pooled_output.
        Its weights are blank: all kernels and embeddings are zero.
    """
    with without_tensorflow():
        import keras_hub

        from zoo.model.embedding import ReversibleEmbedding
        from zoo.model.encoder import TransformerEncoder
    import keras

    classes = {
        "bert": keras_hub.models.BertBackbone,
        "distilbert": keras_hub.models.DistilBertBackbone,
        "roberta": keras_hub.models.RobertaBackbone,
    }
    arguments: dict[str, Any] = {
        "vocabulary_size": config.vocabulary_size,
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "hidden_dim": config.hidden_dim,
        "intermediate_dim": config.intermediate_dim,
        "max_sequence_length": config.max_positions,
        # The larger of the two, or a layer would be built without a generator that it needs; set apart below.
        "dropout": max(config.dropout, config.attention_dropout),
        "dtype": dtype,
    }
    if config.num_segments is not None:
        arguments["num_segments"] = config.num_segments
    with nothing_drawn():
        backbone = classes[config.family](**arguments)
    activation = {
        "gelu": keras.activations.gelu,
        "gelu_tanh": _tanh_gelu(),
        "relu": keras.activations.relu,
    }[config.activation]
    # Few rows are looked up, and in bfloat16 Keras would cast the whole table for them, and the gradient back.
    for layer in backbone._flatten_layers(include_self=False):
        if "embedding" in layer.name and layer is not backbone.embeddings_dropout:
            layer.dtype_policy = "float32"
    backbone.token_embedding.__class__ = ReversibleEmbedding
    backbone.embeddings_layer_norm.epsilon = config.layer_norm_epsilon
    backbone.embeddings_dropout.rate = backbone.dropout = config.dropout
    for layer in backbone.transformer_layers:
        # keras-hub builds every BERT with tanh-GELU; checkpoints from Hugging Face were trained with erf-GELU,
        # and the outputs differ by 3e-3 (docs/upstream/keras-hub-gelu.md). The activation belongs to the checkpoint.
        layer.activation = activation
        layer._feedforward_intermediate_dense.activation = activation
        for norm in (layer._self_attention_layer_norm, layer._feedforward_layer_norm):
            norm.epsilon = config.layer_norm_epsilon
        layer.layer_norm_epsilon = config.layer_norm_epsilon
        # The object stands in a graph that keras-hub traced: it has to stay, only what it does is exchanged.
        layer.__class__ = TransformerEncoder
        layer._self_attention_layer._dropout = config.attention_dropout
        layer._self_attention_layer._dropout_layer.rate = config.attention_dropout
        layer._self_attention_dropout.rate = layer._feedforward_dropout.rate = layer.dropout = config.dropout
        if config.family == "distilbert":
            layer._self_attention_dropout.rate = 0.0  # Sanh et al. 2019 have none there, keras-hub has
    return backbone


@contextlib.contextmanager
def nothing_drawn() -> Iterator[None]:
    """Let Keras fill with zeros what it would draw.

    All weights are taken from a checkpoint or drawn by `zoo.model.weights` afterwards; keras-hub draws them first,
    which takes seconds (a truncated normal, compiled for each shape on jax), and can be told no other way.
    """
    import keras

    def zeros(self: Any, shape: Any, dtype: Any = None, **_: Any) -> Any:
        return keras.ops.zeros(shape, dtype)

    with mock.patch.object(keras.initializers.TruncatedNormal, "__call__", zeros):
        yield


def _tanh_gelu() -> Any:
    """GELU by its tanh approximation, in the form that keras-hub can save."""
    with without_tensorflow():
        from keras_hub.src.utils.keras_utils import gelu_approximate
    return gelu_approximate


def depth(path: str, num_layers: int) -> int:
    """How far a variable is from the input: 0 embeddings, 1 to num_layers the layers, num_layers + 1 the head.

    Args:
        path: `keras.Variable.path`, e.g. transformer_layer_3/self_attention_layer/query/kernel.
    """
    top = path.split("/", 1)[0]
    if top.startswith("transformer_layer_"):
        return int(top.removeprefix("transformer_layer_")) + 1
    if "embedding" in top:
        return 0
    return num_layers + 1
