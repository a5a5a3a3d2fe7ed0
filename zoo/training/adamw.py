"""AdamW and Adam, by the backend's own kernels where it has them; importing it imports Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from zoo.backend import AdamWStep, activate
from zoo.training.rated import Rated, clipped


class AdamW(Rated):
    """AdamW (Loshchilov and Hutter 2019) in torch.optim.AdamW's form.

    Args:
        rates, factors, clip_norm, average: see `Rated`.
        decays: decoupled weight decay by variable path.
        beta_1, beta_2: decay of the first and the second moment.
        epsilon: added to the root of the corrected second moment.
    """

    def __init__(
        self,
        rates: Sequence[float] | np.ndarray,
        *,
        factors: Mapping[str, float],
        decays: Mapping[str, float],
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        clip_norm: float | None = None,
        average: float | None = None,
        name: str = "adamw",
    ) -> None:
        super().__init__(rates, factors=factors, decays=decays, clip_norm=clip_norm, average=average, name=name)
        self._beta_1, self._beta_2, self._epsilon = beta_1, beta_2, epsilon

    def build(self, variables: list[Any]) -> None:
        super().build(variables)
        self._fused = activate().fused_adamw()
        self._first, self._second = self.add_optimizer_variables(variables, ["first_moment", "second_moment"])

    def _apply_rule(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        indices = [self._get_variable_index(variable) for variable in trainable_variables]
        step = AdamWStep(
            gradients=grads,
            variables=trainable_variables,
            first=[self._first[index] for index in indices],
            second=[self._second[index] for index in indices],
            factors=[self._factors[variable.path] for variable in trainable_variables],
            decays=[self._decays[variable.path] for variable in trainable_variables],
            rate=self._rate(),
            step=self._step,
            beta_1=self._beta_1,
            beta_2=self._beta_2,
            epsilon=self._epsilon,
            clip_norm=self._clip_norm,
        )
        (self._fused or adamw_step)(step)


class Adam(AdamW):
    """Adam (Kingma and Ba 2015) in torch.optim.Adam's form: decay is added to the clipped gradient.

    Keras's Adam(weight_decay=) is AdamW, and it adds epsilon before the second moment is corrected.
    """

    def __init__(self, *given: Any, decays: Mapping[str, float], **rule: Any) -> None:
        super().__init__(*given, decays=dict.fromkeys(decays, 0.0), **rule)
        self._penalties = dict(decays) if any(decays.values()) else None
        if self._penalties is not None:
            self._clip_before, self._clip_norm = self._clip_norm, None

    def _apply_rule(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        if self._penalties is not None:
            dense = activate().dense
            found = clipped([dense(gradient) for gradient in grads], self._clip_before)
            grads = [
                gradient + variable * self._penalties[variable.path] if self._penalties[variable.path] else gradient
                for gradient, variable in zip(found, trainable_variables, strict=True)
            ]
        super()._apply_rule(grads, trainable_variables)


def adamw_step(step: AdamWStep) -> None:
    """One AdamW step by Keras's operations; see `Backend.fused_adamw`."""
    correction_1 = 1.0 - ops.power(step.beta_1, step.step)
    correction_2 = ops.sqrt(1.0 - ops.power(step.beta_2, step.step))
    for gradient, variable, first, second, factor, decay in zip(
        clipped(step.gradients, step.clip_norm),
        *(step.variables, step.first, step.second, step.factors, step.decays),
        strict=True,
    ):
        rate = step.rate * factor
        first.assign(first + (gradient - first) * (1.0 - step.beta_1))
        second.assign(second + (ops.square(gradient) - second) * (1.0 - step.beta_2))
        update = first / (ops.sqrt(second) / correction_2 + step.epsilon)
        variable.assign(variable * (1.0 - rate * decay) - update * (rate / correction_1))
