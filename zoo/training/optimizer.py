"""The optimizer of a recipe.

In come the recipe's optimizer, the model's variables and the learning rate of each step; out comes a
keras.optimizers.Optimizer built on these variables, with a factor on the rate for each layer (Sun et
al. 2019, section 5.3.4) and for the head, and no decay of biases and layer norms (Devlin et al. 2019, appendix A.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zoo.models.backbone import depth, in_head
from zoo.recipe.optimizers import SGD, Adafactor, Adam, AdamW, Lamb, Lion, Moments, Optimizer

NO_DECAY = ("bias", "gamma", "beta")
"""Names of variables that weight decay leaves alone."""


def build_optimizer(
    config: Optimizer,
    variables: Iterable[Any],
    *,
    num_layers: int,
    rates: Sequence[float] | np.ndarray,
    average: float | None = None,
) -> Any:
    """The optimizer of a recipe, built on these variables; arguments are those of `unbuilt_optimizer`."""
    variables = list(variables)
    optimizer = unbuilt_optimizer(config, variables, num_layers=num_layers, rates=rates, average=average)
    optimizer.build(variables)
    return optimizer


def unbuilt_optimizer(
    config: Optimizer,
    variables: Sequence[Any],
    *,
    num_layers: int,
    rates: Sequence[float] | np.ndarray,
    average: float | None = None,
) -> Any:
    """The optimizer of a recipe, still to be built on these variables.

    Args:
        config: the recipe's optimizer.
        variables: the model's trainable variables.
        num_layers: transformer layers of the backbone, for `layer_decay` and `head_rate`.
        rates: learning rate of each step, [steps].
        average: decay of a moving average of the variables, which the optimizer keeps; None keeps none.
    """
    # Their base class is Keras's, and Keras may be imported only after the backend is chosen.
    from zoo.training import adamw, rules

    given: dict[str, Any] = {
        "factors": {v.path: rate_factor(config, v.path, num_layers) for v in variables},
        "decays": {v.path: 0.0 if v.name in NO_DECAY else config.weight_decay for v in variables},
        "clip_norm": config.clip_norm,
        "average": average,
    }
    if isinstance(config, Moments):
        given["epsilon"] = config.epsilon
    given["name"] = config.type  # of its variables too: Keras would number those of a second one in a process
    match config:
        case AdamW():
            return adamw.AdamW(rates, beta_1=config.beta_1, beta_2=config.beta_2, **given)
        case Adam():
            return adamw.Adam(rates, beta_1=config.beta_1, beta_2=config.beta_2, **given)
        case Lion():
            return rules.Lion(rates, beta_1=config.beta_1, beta_2=config.beta_2, **given)
        case Lamb():
            return rules.Lamb(rates, beta_1=config.beta_1, beta_2=config.beta_2, **given)
        case SGD():
            return rules.SGD(rates, momentum=config.momentum, nesterov=config.nesterov, **given)
        case Adafactor():
            own = config.model_dump(include={"beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold"})
            return rules.Adafactor(rates, **own, **given)
    return rules.Muon(
        rates,
        hidden=frozenset(
            v.path for v in variables if v.name == "kernel" and 0 < depth(v.path, num_layers) <= num_layers
        ),
        adam_beta_1=config.beta_1,
        adam_beta_2=config.beta_2,
        momentum=config.momentum,
        nesterov=config.nesterov,
        ns_steps=config.iterations,
        **given,
    )


def rate_factor(config: Optimizer, path: str, num_layers: int) -> float:
    """The factor on the learning rate of a variable: that of its layer, or in the head what `head_rate` makes of it."""
    if config.head_rate is not None and in_head(path, num_layers):
        return config.head_rate / config.learning_rate
    return layer_factor(config.layer_decay, depth(path, num_layers), num_layers)


def carry_over(before: Any, optimizer: Any) -> None:
    """Give an optimizer what another one has of the same variables, and its count of steps."""
    known = {variable.path: variable for variable in before.variables}
    for variable in optimizer.variables:
        if variable.path in known:
            variable.assign(known[variable.path].value)


def layer_factor(decay: float, level: int, num_layers: int) -> float:
    """The factor on the learning rate of what is `level` steps from the input, as `zoo.models.backbone.depth` counts.

    Head, pooler and the top transformer layer keep the rate; each layer below has `decay` times that of the one above
    it (Sun et al. 2019, section 5.3.4), and the embeddings, the last, `decay ** num_layers`. The authors' program
    (github.com/xuyige/BERT4doc-Classification) leaves the embeddings at the full rate, which their text does not say.
    """
    return float(decay ** max(0, num_layers - level))
