"""What each optimizer of a recipe has on top of Keras's; importing it imports Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.backend import activate


class Rated(keras.optimizers.Optimizer):  # type: ignore[misc]  # Keras ships no types
    """A learning rate for each step and a factor on it for each variable, decay by variable, and torch's clipping.

    It stands before the optimizer of Keras's whose rule it takes: `class Lion(Rated, keras.optimizers.Lion)`. Gradients
    reach that rule one variable at a time, as whole arrays, clipped, and after the decay.

    Args:
        rates: learning rate of each step, [steps]; the last one holds on after the end.
        factors: factor on the learning rate by variable path.
        decays: weight decay by variable path.
        clip_norm: largest global norm of the gradients, as torch.nn.utils.clip_grad_norm_; None does not clip.
        average: decay of a moving average of the variables, see `averages`; None keeps none.
        rule: what Keras's own takes.
    """

    def __init__(
        self,
        rates: Sequence[float] | np.ndarray,
        *,
        factors: Mapping[str, float],
        decays: Mapping[str, float],
        clip_norm: float | None = None,
        average: float | None = None,
        **rule: Any,
    ) -> None:
        averaging = {} if average is None else {"use_ema": True, "ema_momentum": average}
        super().__init__(learning_rate=self._rate, **averaging, **rule)
        # Sent to the device once, and not at every step.
        self._rates = ops.convert_to_tensor(np.asarray(rates, np.float32))
        self._last_step = ops.convert_to_tensor(len(rates) - 1, self._iterations.dtype)
        self._factors, self._decays, self._clip_norm = dict(factors), dict(decays), clip_norm

    def _rate(self) -> Any:
        step = ops.minimum(self._iterations.value, self._last_step)
        return ops.take(self._rates, ops.cast(step, "int32"))

    @property
    def _step(self) -> Any:
        """The number of the step that is being taken, from 1."""
        return ops.cast(self._iterations.value, "float32") + 1.0

    @property
    def averages(self) -> list[Any]:
        """The moving averages of what it trains, in the order of the variables: after the first step the variables."""
        return list(self._model_variables_moving_average)

    def _backend_apply_gradients(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        self._apply_rule(grads, trainable_variables)
        self._update_model_variables_moving_average(trainable_variables)

    def _apply_rule(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        rate = self._rate()
        for gradient, variable in zip(self._clipped(grads), trainable_variables, strict=True):
            self._move(gradient, variable, rate * self._factors[variable.path], self._decays[variable.path])

    def _clipped(self, gradients: list[Any]) -> list[Any]:
        dense = activate().dense
        return clipped([dense(gradient) for gradient in gradients], self._clip_norm)

    def _move(self, gradient: Any, variable: Any, rate: Any, decay: float) -> None:
        """One variable's step; by itself decay is decoupled (Loshchilov and Hutter 2019)."""
        if decay:
            variable.assign(variable * (1.0 - rate * decay))
        self.update_step(gradient, variable, rate)


def clipped(gradients: list[Any], clip_norm: float | None) -> list[Any]:
    """The gradients, scaled to this global norm where theirs is larger."""
    if clip_norm is None:
        return gradients
    norm = ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in gradients))
    scale = ops.minimum(1.0, clip_norm / (norm + 1e-6))  # the 1e-6 is torch's
    return [gradient * scale for gradient in gradients]


def matrix_shape(variable: Any) -> tuple[int, ...]:
    """The shape in which a rule that knows rows and columns has to see a variable.

    Keras lays an attention's kernels and biases out by heads, [hidden, heads, width] and [heads, width], the kernel of
    its output [heads, width, hidden]; the papers' are matrices [hidden, hidden] and vectors.
    """
    shape = tuple(variable.shape)
    if variable.name == "bias":
        return (int(np.prod(shape)),)
    if len(shape) < 3:
        return shape
    return (-1, shape[-1]) if "/attention_output/" in variable.path else (shape[0], -1)
