"""The optimizers of a recipe beside AdamW and Adam: Keras's own, and what is not right in them; importing it imports
Keras.

Each is checked against torch's optimizer, or against the paper written out in NumPy (tests/on_backend/references.py).
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from zoo.backend import AdamWStep, activate
from zoo.training.adamw import adamw_step
from zoo.training.rated import Rated, matrix_shape


class SGD(Rated, keras.optimizers.SGD):  # type: ignore[misc]
    """Momentum in torch.optim.SGD's form, with its decay: added to the clipped gradient.

    Keras multiplies each gradient by the rate before it enters the momentum, so where the rate moves, past gradients
    keep the rate they came with.
    """

    def _move(self, gradient: Any, variable: Any, rate: Any, decay: float) -> None:
        if decay:
            gradient = gradient + variable * decay
        if self.momentum:
            buffer = self.momentums[self._get_variable_index(variable)]
            buffer.assign(buffer * self.momentum + gradient)
            gradient = gradient + buffer * self.momentum if self.nesterov else buffer
        variable.assign(variable - gradient * rate)


class Lion(Rated, keras.optimizers.Lion):  # type: ignore[misc]
    """Keras's own rule."""


class Lamb(Rated, keras.optimizers.Lamb):  # type: ignore[misc]
    """Keras's moments; the step that is scaled has the decay in it (You et al. 2020, algorithm 2, with the identity for
    φ), which Keras takes off the weights beforehand."""

    def _move(self, gradient: Any, variable: Any, rate: Any, decay: float) -> None:
        index = self._get_variable_index(variable)
        first, second = self._momentums[index], self._velocities[index]
        first.assign(first + (gradient - first) * (1.0 - self.beta_1))
        second.assign(second + (ops.square(gradient) - second) * (1.0 - self.beta_2))
        corrected = second / (1.0 - ops.power(self.beta_2, self._step))
        update = first / (1.0 - ops.power(self.beta_1, self._step)) / (ops.sqrt(corrected) + self.epsilon)
        if decay:
            update = update + variable * decay
        own, step = ops.sqrt(ops.sum(ops.square(variable))), ops.sqrt(ops.sum(ops.square(update)))
        trust = ops.where(ops.logical_and(own > 0.0, step > 0.0), own / ops.where(step > 0.0, step, 1.0), 1.0)
        variable.assign(variable - update * (rate * trust))


class Adafactor(Rated, keras.optimizers.Adafactor):  # type: ignore[misc]
    """Shazeer and Stern 2018, algorithm 4, with decoupled decay as torch.optim.Adafactor has it.

    Keras's keeps the product of rows and columns as well, an array of the variable's size that it need not keep, gives
    several of its variables one name, and takes the attention's kernels for stacks of small matrices. torch's divides
    by a mean that it holds above `eps`, by default 1e-7, which the squares of a fine-tuned model's gradients are below.
    """

    def build(self, variables: list[Any]) -> None:
        keras.optimizers.Optimizer.build(self, variables)
        self._means: list[tuple[Any, ...]] = []
        for variable in variables:
            name, shape = variable.path.replace("/", "_"), matrix_shape(variable)
            size = math.prod(variable.shape)
            rows = shape[0] if shape[0] != -1 else size // shape[-1]
            of = {"squares": rows} if len(shape) == 1 else {"rows": rows, "columns": size // rows}
            self._means.append(
                tuple(self.add_variable(shape=(count,), name=f"{name}_{what}") for what, count in of.items())
            )

    def _move(self, gradient: Any, variable: Any, rate: Any, decay: float) -> None:
        gradient = ops.reshape(gradient, matrix_shape(variable))
        squares, step = ops.square(gradient) + self.epsilon_1, self._step
        new = ops.power(step, self.beta_2_decay)  # the share of this step in the means
        means = self._means[self._get_variable_index(variable)]
        if len(means) == 1:
            (mean,) = means
            mean.assign(mean + (squares - mean) * new)
            second = mean.value
        else:
            rows, columns = means
            rows.assign(rows + (ops.mean(squares, axis=1) - rows) * new)
            columns.assign(columns + (ops.mean(squares, axis=0) - columns) * new)
            second = ops.outer(rows / ops.mean(rows), columns.value)
        update = gradient / ops.sqrt(second)
        update = update / ops.maximum(1.0, self._rms(update) / self.clip_threshold)
        relative = ops.minimum(rate, 1.0 / ops.sqrt(step)) * ops.maximum(self.epsilon_2, self._rms(variable))
        variable.assign(variable * (1.0 - rate * decay) - ops.reshape(update, variable.shape) * relative)


class Muon(Rated, keras.optimizers.Muon):  # type: ignore[misc]
    """Keras's orthogonal momentum for the matrices of the transformer layers, and AdamW for the rest.

    Keras's asks for arrays of two dimensions: it takes the attention's biases, [heads, width], for matrices, and its
    kernels, [hidden, heads, width], for none. Its Adam adds epsilon before the second moment is corrected.

    Args:
        hidden: paths of the matrices.
        given: see `Rated`, and keras.optimizers.Muon.
    """

    def __init__(self, *given: Any, hidden: frozenset[str], **rule: Any) -> None:
        super().__init__(*given, **rule)
        self._hidden = hidden

    def build(self, variables: list[Any]) -> None:
        super().build(variables)
        self._fused = activate().fused_adamw()

    def _should_use_adamw(self, variable: Any) -> bool:
        return variable.path not in self._hidden

    def _apply_rule(self, grads: list[Any], trainable_variables: list[Any]) -> None:
        rate, found = self._rate(), self._clipped(grads)
        rest = [place for place, v in enumerate(trainable_variables) if v.path not in self._hidden]
        of_rest = [trainable_variables[place] for place in rest]
        indices = [self._get_variable_index(variable) for variable in of_rest]
        for gradient, variable in zip(found, trainable_variables, strict=True):
            if variable.path in self._hidden:
                self._move(gradient, variable, rate * self._factors[variable.path], self._decays[variable.path])
        if not rest:
            return
        (self._fused or adamw_step)(
            AdamWStep(
                gradients=[found[place] for place in rest],
                variables=of_rest,
                first=[self.momentums[index] for index in indices],
                second=[self.adam_velocities[index] for index in indices],
                factors=[self._factors[variable.path] for variable in of_rest],
                decays=[self._decays[variable.path] for variable in of_rest],
                rate=rate,
                step=self._step,
                beta_1=self.adam_beta_1,
                beta_2=self.adam_beta_2,
                epsilon=self.epsilon,
                clip_norm=None,
            )
        )

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        m.assign(m * self.momentum + gradient)
        ahead = gradient + m * self.momentum if self.nesterov else m.value
        update = self.zeropower_via_newtonschulz5(ops.reshape(ahead, matrix_shape(variable)), self.ns_steps)
        variable.assign(variable - ops.reshape(self.lr_adjust(update), variable.shape) * lr)
