"""The optimizer of a recipe.

In come the recipe's optimizer, the model's variables and the learning rate of each step; out comes a
keras.optimizers.Optimizer built on these variables, with a factor on the rate for each layer (Sun et
al. 2019, section 5.3.3) and no decay of biases and layer norms (Devlin et al. 2019, appendix A.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from zoo.model.backbone import depth
from zoo.recipe.types import AdamW

NO_DECAY = ("bias", "gamma", "beta")
"""Names of variables that weight decay leaves alone."""


def build_optimizer(config: AdamW, variables: Iterable[Any], *, num_layers: int, rates: Sequence[float]) -> Any:
    """The optimizer of a recipe, built on these variables.

    Args:
        config: the recipe's optimizer.
        variables: the model's trainable variables.
        num_layers: transformer layers of the backbone, for `layer_decay`.
        rates: learning rate of each step, [steps].
    """
    # Its base class is Keras's, and Keras may be imported only after the backend is chosen.
    from zoo.training import adamw

    variables = list(variables)
    optimizer = adamw.AdamW(
        rates,
        factors={v.path: config.layer_decay ** (num_layers + 1 - depth(v.path, num_layers)) for v in variables},
        decays={v.path: 0.0 if v.name in NO_DECAY else config.weight_decay for v in variables},
        beta_1=config.beta_1,
        beta_2=config.beta_2,
        epsilon=config.epsilon,
        clip_norm=config.clip_norm,
    )
    optimizer.build(variables)
    return optimizer
