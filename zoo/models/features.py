"""What a backbone makes of texts before it has learned a task: a vector a text.

In come a preset, the vocabulary and texts; out come the means of the last hidden states over each text's tokens, scaled
to length 1.
Refused: what `build_model` refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from zoo.backend import activate
from zoo.data.backbones import Preset
from zoo.data.tokens import Tokenizer
from zoo.models import inference
from zoo.models.blueprint import Blueprint
from zoo.models.builder import build_model
from zoo.models.contrastive import attach
from zoo.recipe.types import Tokens

__all__ = ["features"]


def features(
    blueprint: Blueprint,
    preset: Preset,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    tokens: Tokens,
    *,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """A vector for each text, [texts, hidden_dim] float32: the mean over its tokens, scaled to
    length 1 (of a long text the mean of its windows'), dropout off.

    Args:
        blueprint: of the recipe, of which the backbone counts.
        preset: its weights.
        tokenizer: of its vocabulary.
        texts: at least one.
        tokens: length, and what becomes of longer texts.
        batch_size: rows a batch.
        progress: called with the number of rows done since the last call.
    """
    model = build_model(blueprint, preset=preset, seed=0, precision="float32")
    pooled = attach(model.get_layer("backbone"))
    table = tokenizer.encode(texts, None, tokens)
    found = inference.logits(
        activate().predictor(pooled, precision="float32"),
        table,
        names=inference.input_names(pooled),
        batch_size=batch_size,
        progress=progress,
    )
    firsts = np.searchsorted(table.owners, np.arange(len(table.full)))
    sums = np.add.reduceat(found, firsts, axis=0)
    means: NDArray[np.float32] = (sums / table.windows[:, None]).astype(np.float32)
    return means
