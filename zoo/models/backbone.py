"""What decides which function an encoder computes, and how far its variables are from its input.

`BackboneConfig` is read from a preset or a recipe; `zoo.models.encoder` builds what it says. Importing this imports
no Keras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from zoo.errors import EnvironmentFault
from zoo.models.families import FAMILIES
from zoo.models.family import Activation
from zoo.models.topology import kind
from zoo.recipe.backbone_group import MAX_LAYERS

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""Names that Hugging Face configs use, and what they compute."""


# Where they are read from a file. The bounds are a hundred times what any encoder has; beyond them a number is damage.
Size = Annotated[int, Field(strict=True, gt=0, le=2**26)]
Rate = Annotated[float, Field(strict=True, ge=0.0, lt=1.0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """All that decides what a backbone computes, its weights apart.

    num_segments is None where the family takes no segment_ids. dropout is the rate on the embeddings and on
    what attention and feed-forward put out, attention_dropout the rate on the attention's weights.
    """

    family: Literal["bert", "distilbert", "roberta"]
    vocabulary_size: Size
    num_layers: Annotated[int, Field(strict=True, gt=0, le=MAX_LAYERS)]
    num_heads: Size
    hidden_dim: Size
    intermediate_dim: Size
    max_positions: Size
    num_segments: Size | None
    activation: Activation
    layer_norm_epsilon: Annotated[float, Field(strict=True, gt=0.0, lt=1.0, allow_inf_nan=False)]
    dropout: Rate
    attention_dropout: Rate

    def __post_init__(self) -> None:
        if self.hidden_dim % self.num_heads:
            raise ValueError(f"hidden_dim {self.hidden_dim} is no multiple of num_heads {self.num_heads}")


_CONFIG = TypeAdapter(BackboneConfig)


def checked_config(**values: Any) -> BackboneConfig:
    """The config of values from a file; ValidationError where one has another type, or is nothing that can be built."""
    return _CONFIG.validate_python(values)


def wrong_values(error: ValidationError) -> list[tuple[str, str]]:
    """The first values that were refused: the name of each, and what is wrong with it."""
    return [
        (".".join(map(str, wrong["loc"])), f"got {wrong['input']!r:.60}, {wrong['msg'][:1].lower()}{wrong['msg'][1:]}")
        for wrong in error.errors()[:5]
    ]


RATES = {"dropout": 0.1, "attention_dropout": 0.1}

DEFAULTS: dict[str, dict[str, Any]] = {
    name: {
        "num_segments": family.num_segments,
        "activation": family.activation,
        "layer_norm_epsilon": family.layer_norm_epsilon,
        **RATES,
    }
    for name, family in FAMILIES.items()
}
"""What a family has where a recipe or a preset does not say."""


def activation_named(name: str) -> Activation:
    """The activation that a Hugging Face config calls `name`.

    Raises:
        EnvironmentFault: an activation that these families do not know.
    """
    try:
        return ACTIVATIONS[name]
    except (KeyError, TypeError):
        raise EnvironmentFault(
            f"the preset's activation is {name!r:.60}, expected one of {', '.join(ACTIVATIONS)}: use another preset"
        ) from None


def depth(path: str, num_layers: int) -> int:
    """How far a variable is from the input: 0 embeddings, 1 to num_layers the layers, num_layers + 1 the head.

    Args:
        path: `keras.Variable.path`, e.g. transformer_layer_3/self_attention_layer/query/kernel.
    """
    top = kind(path.split("/", 1)[0])
    if top.startswith("transformer_layer_"):
        return int(top.removeprefix("transformer_layer_")) + 1
    if "embedding" in top:
        return 0
    return num_layers + 1


def in_head(path: str, num_layers: int) -> bool:
    """Whether a variable is the head's; BERT's pooler belongs to its encoder. Arguments are those of `depth`."""
    return depth(path, num_layers) > num_layers and kind(path.split("/", 1)[0]) != "pooled_dense"
