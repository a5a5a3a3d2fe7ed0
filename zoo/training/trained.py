"""Which weights are trained, and in which epochs.

In come a recipe's training and a model; out go its variables with `trainable` set. Refused: a
pattern that matches no weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from zoo.errors import RecipeError
from zoo.models.backbone import depth
from zoo.models.weights import ADAPTERS, SEED
from zoo.recipe.training_group import Training

__all__ = ["Trained"]

OFFSETS = ("bias", "beta")
"""Names of biases and of the offsets of layer norms."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What of a model a recipe trains.

    num_layers: transformer layers of the backbone. paths: of the weights that can be trained at all.
    """

    config: Training
    num_layers: int
    paths: frozenset[str]

    @classmethod
    def of(cls, config: Training, model: Any, num_layers: int) -> Self:
        """What a recipe's training says of a model as it was assembled.

        Raises RecipeError where it names what the model has not.
        """
        if config.freeze is not None:
            _refuse_unmatched(config.freeze.names, [variable.path for variable in model.variables])
        # What no loss depends on, as a pooler that the head has no use for, is not trained from the start.
        paths = frozenset(variable.path for variable in model.trainable_variables)
        return cls(config=config, num_layers=num_layers, paths=paths)

    def mark(self, model: Any, epoch: int) -> bool:
        """Set which variables are trained in an epoch, counted from 0; returns whether any was set anew."""
        changed = False
        for variable in model.variables:
            if variable.path in self.paths:
                wanted = self._joins(variable) and epoch >= self._first_epoch(variable)
                changed |= variable.trainable != wanted
                variable.trainable = wanted
        return changed

    def left_out(self, model: Any) -> frozenset[str]:
        """Paths of the weights that checkpoints leave out: with adapters those that are the preset's in all epochs."""
        if self.config.lora is None:
            return frozenset()
        return frozenset(v.path for v in model.variables if v.name != SEED and not self._joins(v))

    def _joins(self, variable: Any) -> bool:
        """Whether a variable is trained in any epoch."""
        config, freeze, path = self.config, self.config.freeze, variable.path
        level = depth(path, self.num_layers)
        if freeze is not None and any(fnmatchcase(path, pattern) for pattern in freeze.names):
            return False
        if level > self.num_layers:  # the head
            return True
        if freeze is not None:
            layers = self.num_layers if freeze.layers == "all" else freeze.layers
            if (level == 0 and freeze.embeddings) or 0 < level <= layers:
                return False
        if variable.name in ADAPTERS:
            return True
        if config.train == "biases":
            return variable.name in OFFSETS
        return config.lora is None

    def _first_epoch(self, variable: Any) -> int:
        """The epoch from which a variable is trained, counted from 0."""
        unfreeze = self.config.unfreeze
        if unfreeze is None:
            return 0
        above = self.num_layers + 1 - depth(variable.path, self.num_layers)
        return -(-above // unfreeze.layers) * unfreeze.epochs


def _refuse_unmatched(patterns: Sequence[str], paths: Sequence[str]) -> None:
    """Raise RecipeError where a pattern matches none of a model's weights."""
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in paths):
            raise RecipeError(
                f"training.freeze.names: got {pattern}, which no weight of the model matches: they are named as "
                f"{paths[len(paths) // 2]}"
            )
