"""How many of a backbone's weights a recipe trains, and what a step computes for them.

In come the recipe's `training` and the backbone's `Dimensions`; out come numbers for estimates, of the epoch in which
most is trained. Patterns of names are not looked at: the weights that they freeze count as trained.
"""

from __future__ import annotations

from dataclasses import dataclass

from zoo.recipe.dimensions import Dimensions
from zoo.recipe.training_group import Training

__all__ = ["TrainedWeights", "at_once", "differentiated_layers", "passes", "step_flops", "trained_weights"]


@dataclass(frozen=True, kw_only=True)
class TrainedWeights:
    """matrices: those of the transformer layers' products; others: all the rest, the head and adapters among them."""

    matrices: int
    others: int

    @property
    def total(self) -> int:
        return self.matrices + self.others


def trained_weights(config: Training, size: Dimensions) -> TrainedWeights:
    """Numbers in the weights that are trained; see `zoo.training.trained`, which says which these are."""
    h, i, layers = size.hidden_dim, size.intermediate_dim, size.num_layers - _frozen(config, size)
    embeddings, head = _embeddings(config), size.parts["head"]
    others = head
    if config.lora is not None:
        ends = {"feedforward_intermediate": h + i, "feedforward_output": h + i}
        others += layers * config.lora.rank * sum(ends.get(target, 2 * h) for target in config.lora.targets)
    if config.train == "biases":  # of four projections, two of the feed-forward, and two norms; of the embeddings' one
        others += layers * (7 * h + i) + (h if embeddings else 0)
    if config.lora is not None or config.train == "biases":
        return TrainedWeights(matrices=0, others=others)
    others += layers * (9 * h + i) + (size.parts["tokens"] + size.parts["positions"] if embeddings else 0)
    return TrainedWeights(matrices=layers * size.layer_matrices, others=others)


def passes(config: Training) -> int:
    """How often a step computes its batch, forward and backward."""
    return (1 if config.adversarial is None else 2) * at_once(config)


def at_once(config: Training) -> int:
    """How often before it goes backward, so that as many activations are kept."""
    return 1 if config.r_drop is None else 2


def step_flops(config: Training, size: Dimensions, length: int) -> int:
    """Floating point operations of a training step for each token of a row of this length, of products alone.

    Of a layer's weights two are of the forward pass, two of what is given to the layer below, two of the weights'
    gradients. Below the lowest weight that is trained there is a forward pass alone.
    """
    weights, attention = 2 * size.layer_parameters // size.num_layers, 4 * size.hidden_dim * length  # forward
    layers = differentiated_layers(config, size)
    own = 3 if trained_weights(config, size).matrices else 2
    trained = min(layers, size.num_layers - _frozen(config, size))
    by_layer = trained * (own * weights + 3 * attention) + (layers - trained) * (2 * weights + 3 * attention)
    return passes(config) * (by_layer + (size.num_layers - layers) * (weights + attention))


def differentiated_layers(config: Training, size: Dimensions) -> int:
    """Transformer layers that gradients go back through, and that keep what this takes: down to the lowest weight that
    is trained, or to the embeddings where an adversary moves them."""
    reached = config.adversarial is not None or (_embeddings(config) and config.lora is None)
    return size.num_layers - (0 if reached else _frozen(config, size))


def _frozen(config: Training, size: Dimensions) -> int:
    """Transformer layers, from the first one on, that are not trained."""
    if config.freeze is None:
        return 0
    return size.num_layers if config.freeze.layers == "all" else min(config.freeze.layers, size.num_layers)


def _embeddings(config: Training) -> bool:
    """Whether anything of the embeddings may be trained."""
    return config.freeze is None or not config.freeze.embeddings
