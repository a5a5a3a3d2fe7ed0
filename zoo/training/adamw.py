"""The Keras class behind `zoo.training.optimizer`; importing it imports Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.backend import AdamWStep, activate


class AdamW(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras ships no types
    """AdamW (Loshchilov and Hutter 2019) in torch.optim.AdamW's form.

    Args:
        rates: learning rate of each step, [steps]; the last one holds on after the end.
        factors: factor on the learning rate by variable path.
        decays: decoupled weight decay by variable path.
        beta_1, beta_2: decay of the first and the second moment.
        epsilon: added to the root of the corrected second moment.
        clip_norm: largest global norm of the gradients, as torch.nn.utils.clip_grad_norm_; None does not clip.
        average: decay of a moving average of the variables, see `zoo.training.averaging`; None keeps none.
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
    ) -> None:
        averaging = {} if average is None else {"use_ema": True, "ema_momentum": average}
        super().__init__(learning_rate=self._rate, name="adamw", **averaging)
        # Sent to the device once, and not at every step.
        self._rates = ops.convert_to_tensor(np.asarray(rates, np.float32))
        self._last_step = ops.convert_to_tensor(len(rates) - 1, self._iterations.dtype)
        self._factors, self._decays = dict(factors), dict(decays)
        self._beta_1, self._beta_2, self._epsilon, self._clip_norm = beta_1, beta_2, epsilon, clip_norm

    @property
    def averages(self) -> list[Any]:
        """The moving averages of what it trains, in the order of the variables."""
        return list(self._model_variables_moving_average)

    def _rate(self) -> Any:
        step = ops.minimum(self._iterations.value, self._last_step)
        return ops.take(self._rates, ops.cast(step, "int32"))

    def build(self, variables: list[Any]) -> None:
        super().build(variables)
        self._fused = activate().fused_adamw()
        self._first, self._second = self.add_optimizer_variables(variables, ["first_moment", "second_moment"])

    def _backend_apply_gradients(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        indices = [self._get_variable_index(variable) for variable in trainable_variables]
        step = AdamWStep(
            gradients=grads,
            variables=trainable_variables,
            first=[self._first[index] for index in indices],
            second=[self._second[index] for index in indices],
            factors=[self._factors[variable.path] for variable in trainable_variables],
            decays=[self._decays[variable.path] for variable in trainable_variables],
            rate=self._rate(),
            step=ops.cast(self._iterations.value, "float32") + 1.0,
            beta_1=self._beta_1,
            beta_2=self._beta_2,
            epsilon=self._epsilon,
            clip_norm=self._clip_norm,
        )
        (self._fused or _update)(step)
        self._update_model_variables_moving_average(trainable_variables)


def _update(step: AdamWStep) -> None:
    gradients = step.gradients
    if step.clip_norm is not None:
        norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
        scale = ops.minimum(1.0, step.clip_norm / (norm + 1e-6))  # the 1e-6 is torch's
        gradients = [gradient * scale for gradient in gradients]
    correction_1 = 1.0 - ops.power(step.beta_1, step.step)
    correction_2 = ops.sqrt(1.0 - ops.power(step.beta_2, step.step))
    for gradient, variable, first, second, factor, decay in zip(
        gradients, step.variables, step.first, step.second, step.factors, step.decays, strict=True
    ):
        rate = step.rate * factor
        first.assign(first + (gradient - first) * (1.0 - step.beta_1))
        second.assign(second + (ops.square(gradient) - second) * (1.0 - step.beta_2))
        update = first / (ops.sqrt(second) / correction_2 + step.epsilon)
        variable.assign(variable * (1.0 - rate * decay) - update * (rate / correction_1))
