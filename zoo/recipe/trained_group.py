"""What of a model is trained: the recipe's `training.freeze`, `unfreeze`, `lora` and `average`.

Refused: what kinds.py refuses. That a model has so many layers, or weights by such a name, is for the model to say.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag

from zoo.recipe.kinds import Config, Count, Fraction, Positive, Text, Width, kind_or

Target = Literal["query", "key", "value", "attention_output", "feedforward_intermediate", "feedforward_output"]


class Freeze(Config):
    """Weights of the preset that stay as they are; the finished model has them all the same."""

    layers: Annotated[int, Field(ge=0)] | Literal["all"] = 0
    """Transformer layers from the first one on that are not trained, or all: then the head alone is, with BERT's
    pooler."""
    embeddings: bool = True
    """Whether the embeddings, below all layers, are not trained either."""
    names: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """Patterns of weights that are not trained, as `*/query/*` or `*norm*`; each has to match one at least. Paths are
    those of the Keras model, as `transformer_layer_0/self_attention_layer/query/kernel`."""


class Unfreeze(Config):
    """Gradual unfreezing (Howard and Ruder 2018, ULMFiT, section 3.3): at first the head alone is trained, with BERT's
    pooler, then from the last transformer layer down more and more, the embeddings at the end."""

    layers: Count = 1
    """Transformer layers that join at a time."""
    epochs: Count = 1
    """Epochs from one time to the next."""


class Lora(Config):
    """Low-rank adapters (Hu et al. 2021, LoRA) in place of the backbone's weights: these stay, and what is trained is
    the head, with BERT's pooler, and of each target the product of two thin matrices that is added to it. The finished
    model has the sums, and is of the same size and speed as any other."""

    rank: Width = 8
    """Columns of the first matrix, rows of the second."""
    alpha: Positive = 16.0
    """What is added is scaled by `alpha / rank`."""
    dropout: Fraction = 0.0
    """Share of what the adapters read that is dropped in training. Above 0 layers are computed product by product,
    which is slower."""
    targets: Annotated[tuple[Target, ...], Field(strict=False, min_length=1)] = ("query", "value")
    """The products of each transformer layer that have adapters."""


class Ema(Config):
    """Exponential moving average of the trained weights (Polyak and Juditsky 1992; as Keras's `use_ema`)."""

    type: Literal["ema"] = "ema"
    """Kind of average."""
    decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999
    """After each step the average is `decay` of what it was, and the rest the weights; it begins with the weights after
    the first step. Validation judges the average, and the run ends with that of the epoch that is kept."""


class Epochs(Config):
    """What the means over epochs have."""

    type: str
    epochs: Annotated[int, Field(ge=2, le=100)] = 3
    """How many; of a shorter run all."""


class LastEpochs(Epochs):
    """Mean of the weights after each of the last epochs (Izmailov et al. 2018), in place of `keep`."""

    type: Literal["last"] = "last"
    """Kind of average."""


class BestEpochs(Epochs):
    """Mean of the weights after those epochs that validation finds best (Wortsman et al. 2022), in place of `keep`."""

    type: Literal["best"] = "best"
    """Kind of average."""


Average = Annotated[
    Annotated[Ema, Tag("ema")] | Annotated[LastEpochs, Tag("last")] | Annotated[BestEpochs, Tag("best")], kind_or("ema")
]
