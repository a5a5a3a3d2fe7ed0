"""The recipe's `model.backbone`: a pretrained encoder, or the dimensions of a fresh one.

In comes plain data, out goes a `Backbone`. Refused: what kinds.py refuses, and here a preset beside dimensions, half a
set of dimensions, a width that the heads do not divide, an address of an unknown kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from zoo.recipe.kinds import Clash, Config, Fraction, Text, Width

MAX_LAYERS = 1000
"""Of an encoder, in a recipe and in a preset's config: ten times what any has."""
Layer = Annotated[int, Field(ge=0, lt=MAX_LAYERS)]
PRESET_SCHEMES = ("hf", "kaggle", "pypi")


class Backbone(Config):
    """A pretrained encoder by `preset`, or a fresh one by its dimensions."""

    family: Literal["bert", "distilbert", "roberta"]
    """Architecture."""
    preset: Text | None = None
    """Catalog name, hf://org/name@revision, kaggle://..., pypi://name==version#path, or a local folder: a preset, or a
    finished run."""
    layers: Annotated[tuple[Layer, ...], Field(strict=False, min_length=1)] | None = None
    """Which transformer layers of the preset are taken, counted from 0, rising: a smaller student of it, with its
    embeddings and its pooler as they are (Sanh et al. 2019, section 3); None takes all."""
    reinitialize: Annotated[int, Field(ge=0, lt=MAX_LAYERS)] = 0
    """Transformer layers of the preset, from the last one down, whose weights are drawn anew, and with them BERT's
    pooler: what pretraining taught them last may be too much its own (Zhang et al. 2021)."""
    dropout: Fraction | None = None
    """Rate of dropout on the hidden states, 0 to 1; None takes the preset's own (0.1 for a fresh one)."""
    attention_dropout: Fraction | None = None
    """Rate of dropout on the attention's weights, 0 to 1; None takes `dropout` where that is given, else the
    preset's own (0.1 for a fresh one)."""
    num_layers: Annotated[int, Field(gt=0, le=MAX_LAYERS)] | None = None
    """Fresh backbone: transformer layers."""
    num_heads: Width | None = None
    """Fresh backbone: attention heads a layer."""
    hidden_dim: Width | None = None
    """Fresh backbone: width of the hidden states."""
    intermediate_dim: Width | None = None
    """Fresh backbone: width of the feed-forward layer."""
    max_positions: Width | None = None
    """Fresh backbone: longest row in tokens; None means 512."""
    vocabulary: Text | None = None
    """Fresh backbone: a catalog vocabulary, a catalog backbone, a vocab.txt, a tokenizer.json, or a folder of one."""

    def clashes(self) -> Iterator[Clash]:
        needed = ("num_layers", "num_heads", "hidden_dim", "intermediate_dim", "vocabulary")
        given = tuple(key for key in (*needed, "max_positions") if getattr(self, key) is not None)
        missing = tuple(key for key in needed if getattr(self, key) is None)
        if self.preset is not None and given:
            message = f"got {', '.join(given)} beside a preset, expected one or the other: a preset has its own"
            yield Clash((given[0], "preset"), message)
        if self.preset is None and missing:
            message = f"got no preset and no {', '.join(missing)}, expected a preset or a whole set of dimensions"
            yield Clash(("preset", *missing), message)
        if self.hidden_dim and self.num_heads and self.hidden_dim % self.num_heads:
            message = f"got {self.hidden_dim}, expected a multiple of num_heads: {self.num_heads}"
            yield Clash(("hidden_dim", "num_heads"), message)
        if self.reinitialize and self.preset is None:
            yield Clash(
                ("reinitialize", "preset"), f"got {self.reinitialize}, expected 0 without a preset: all are drawn"
            )
        if self.layers is not None:
            listed = ", ".join(map(str, self.layers))
            if self.preset is None:
                yield Clash(("layers", "preset"), f"got {listed}, expected null without a preset: give num_layers")
            elif list(self.layers) != sorted(set(self.layers)):
                yield Clash(("layers",), f"got {listed}, expected each layer once, in rising order")
        scheme, separator, _ = (self.preset or "").partition("://")
        if separator and scheme not in PRESET_SCHEMES:
            known = ", ".join(f"{name}://" for name in PRESET_SCHEMES)
            message = f"got {scheme}://, expected a catalog name, a local folder, or one of {known}"
            yield Clash(("preset",), message)
