"""JAX: a pure step, traced and compiled once a shape, its state donated from step to step."""

from __future__ import annotations

import platform as machine
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from zoo.backend.base import Backend, Inputs, Loss, Trainer, forced_platform


class Jax(Backend):
    name = "jax"

    def platform(self) -> str:
        """`cpu`, `gpu` or `tpu`: what `compiled_for` names, else that of the first device."""
        forced = forced_platform()
        return jax.devices()[0].platform if forced is None else forced

    def device(self) -> str:
        if forced_platform() is not None or self.platform() == "cpu":
            return self.platform()
        return f"{self.platform()}: {jax.devices()[0].device_kind}"

    def steps(self) -> str:
        return "compiled by XLA"

    def kernels(self) -> Any:
        platform = self.platform()
        if platform == "cpu":
            return super().kernels()
        from zoo.backend.transformer_jax import AcceleratorKernels  # it imports Pallas, half a second

        return AcceleratorKernels("tpu" if platform == "tpu" else "gpu")

    def peak_device_bytes(self) -> int | None:
        stats = jax.devices()[0].memory_stats() or {}
        return stats.get("peak_bytes_in_use")

    def keep_compiled(self, folder: Path) -> None:
        if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]  # else the user has their own
            # By machine: what was compiled for another processor may end in an illegal instruction.
            own = folder / f"jax-{jax.__version__}-{machine.node()}"
            jax.config.update("jax_compilation_cache_dir", str(own))  # type: ignore[no-untyped-call]
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)  # type: ignore[no-untyped-call]

    def trainer(self, model: Any, optimizer: Any, loss: Loss) -> Trainer:
        return _JaxTrainer(model, optimizer, loss)

    def predictor(self, model: Any) -> Callable[[Inputs], Any]:
        forward = prediction_step(model)

        def predict(inputs: Inputs) -> Any:
            return forward(*([v.value for v in group] for group in weight_groups(model)), dict(inputs))

        return predict

    def gradient(self, model: Any, by: str) -> Callable[[Inputs, Any], Any]:
        @jax.jit
        def backward(trainable: list[Any], non_trainable: list[Any], inputs: Inputs, weights: Any) -> Any:
            def total(value: Any) -> Any:
                given = {**inputs, by: value}
                outputs, _ = model.stateless_call(trainable, non_trainable, given, training=False)
                return (outputs * weights).sum()

            return jax.grad(total)(inputs[by])

        def gradient(inputs: Inputs, weights: Any) -> Any:
            return backward(*([v.value for v in group] for group in weight_groups(model)), dict(inputs), weights)

        return gradient


def weight_groups(model: Any) -> tuple[list[Any], list[Any]]:
    """The keras.Variables of a model in the order in which the steps below take their values."""
    return model.trainable_variables, model.non_trainable_variables


def prediction_step(model: Any) -> Any:
    """The jitted function that `Jax.predictor` calls.

    Args:
        model: a keras.Model; its variables need a shape and no value.

    Returns:
        (trainable, non_trainable, inputs) -> logits [batch, units].
    """

    def forward(trainable: list[Any], non_trainable: list[Any], inputs: Inputs) -> Any:
        logits, _ = model.stateless_call(trainable, non_trainable, inputs, training=False)
        return logits

    return jax.jit(forward)


def training_step(model: Any, optimizer: Any, loss: Loss) -> Any:
    """The jitted function that `Jax.trainer` calls.

    Args:
        model, optimizer: a keras.Model and the optimizer built on it; their variables need a shape and no value.
        loss: see `Loss`.

    Returns:
        (state, inputs, labels, weights) -> state, loss, logits [batch, units]; a state is (trainable, non_trainable,
        optimizer's variables), and the one that comes in is consumed.
    """

    def objective(trainable: list[Any], non_trainable: list[Any], inputs: Inputs, labels: Any, weights: Any) -> Any:
        logits, non_trainable = model.stateless_call(trainable, non_trainable, inputs, training=True)
        total, count = loss(logits, labels, weights)
        return total / count, (logits, non_trainable)

    def step(state: tuple[list[Any], ...], inputs: Inputs, labels: Any, weights: Any) -> Any:
        trainable, non_trainable, moments = state
        (value, (logits, non_trainable)), gradients = jax.value_and_grad(objective, has_aux=True)(
            trainable, non_trainable, inputs, labels, weights
        )
        trainable, moments = optimizer.stateless_apply(moments, gradients, trainable)
        return (trainable, non_trainable, moments), value, logits

    return jax.jit(step, donate_argnums=0)


class _JaxTrainer(Trainer):
    """Holds the state as arrays between steps: each step consumes the last one's (donated buffers)."""

    def __init__(self, model: Any, optimizer: Any, loss: Loss) -> None:
        self._groups = (*weight_groups(model), optimizer.variables)
        self._state: tuple[list[Any], ...] | None = None
        self._step = training_step(model, optimizer, loss)

    def step(self, inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
        if self._state is None:
            self._state = tuple([v.value for v in group] for group in self._groups)
        self._state, value, logits = self._step(self._state, dict(inputs), labels, weights)
        return value, logits

    def commit(self) -> None:
        if self._state is not None:
            for group, values in zip(self._groups, self._state, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value)
        self._state = None


BACKEND = Jax()
