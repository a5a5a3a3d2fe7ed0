"""What a recipe's backbone comes with, from the cache: where its preset lies, and what cuts texts for it.

In comes a recipe; out come both. Refused: what is not in the cache, or damaged.
"""

from __future__ import annotations

from dataclasses import dataclass

from zoo.data.backbones import Preset, locate_backbone, locate_vocabulary
from zoo.data.tokens import Tokenizer, load_tokenizer
from zoo.recipe import Recipe

__all__ = ["Parts", "load_parts"]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a backbone comes with: the preset, None for a fresh one, and what cuts texts."""

    preset: Preset | None
    tokenizer: Tokenizer


def load_parts(recipe: Recipe) -> Parts:
    """The parts of a recipe's backbone, from the cache; EnvironmentFault where they are not there or damaged."""
    wanted = recipe.model.backbone
    preset = locate_backbone(wanted) if wanted.preset is not None else None
    return Parts(preset=preset, tokenizer=load_tokenizer(locate_vocabulary(wanted)))
