"""JAX: a pure step, traced and compiled once a shape, its state donated from step to step."""

from __future__ import annotations

import contextlib
import operator
import platform as machine
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from zoo.backend.base import Adversary, Backend, Cut, Inputs, Loss, Trainer, forced_platform
from zoo.backend.jax_mesh import ROWS, Mesh, axes_of, in_mesh, mesh_of, mesh_of_weights
from zoo.backend.jax_peers import joined
from zoo.backend.peers import Peers
from zoo.backend.precision import Precision, precisions_of_nvidia
from zoo.errors import EnvironmentFault


class Jax(Backend):
    name = "jax"

    def __init__(self) -> None:
        self._peers = joined()

    @property
    def peers(self) -> Peers:
        return self._peers

    def platform(self) -> str:
        """`cpu`, `gpu` or `tpu`: what `compiled_for` names, else that of the first device."""
        forced = forced_platform()
        return jax.devices()[0].platform if forced is None else forced

    def device(self) -> str:
        if forced_platform() is not None or self.platform() == "cpu":
            return self.platform()
        return f"{self.platform()}: {jax.devices()[0].device_kind}"

    def precisions(self) -> tuple[Precision, ...]:
        if forced_platform() is not None:  # a GPU that is not here may be any
            return ("float32", "tf32", "bfloat16") if self.platform() == "gpu" else super().precisions()
        # Of an AMD GPU it is a name, as gfx942.
        capability = re.fullmatch(r"(\d+)\.(\d+)", str(getattr(jax.devices()[0], "compute_capability", "")))
        if capability is None:
            return super().precisions()
        return precisions_of_nvidia((int(capability[1]), int(capability[2])))

    @contextlib.contextmanager
    def multiplying(self, precision: Precision) -> Iterator[None]:
        """See `Backend.multiplying`; what is traced within is compiled so, whenever it is called.

        By default float32 numbers are multiplied as TF32 on a GPU and as bfloat16 on a TPU. In bfloat16 that is left as
        it is: Mosaic refuses to multiply bfloat16 numbers at the highest precision (jax-ml/jax issue 21408).
        """
        with jax.default_matmul_precision("highest" if precision == "float32" else "default"):
            yield

    def steps(self, compiled: bool) -> str:
        return "compiled by XLA"

    def kernels(self) -> Any:
        platform = self.platform()
        if platform == "cpu":
            from zoo.backend.jax_layout import JaxKernels  # it imports Keras

            return JaxKernels()
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

    def compiles(self) -> tuple[bool, ...]:
        return (True,)

    def refuse_compile(self, asked: str) -> None:
        if asked == "off":
            raise EnvironmentFault(
                "training.compile: got off, but jax computes compiled steps alone: use auto, or another backend"
            )

    def refuse_devices(self, asked: int) -> None:
        here = len(jax.devices())
        if self.peers.count > 1 and asked != here:
            raise EnvironmentFault(
                f"training.devices: got {asked}, and the {self.peers.count} processes of the run have {here}: use "
                f"--devices {here}"
            )
        if asked > here:
            one = self.platform() == "cpu"
            more = (
                f", or set XLA_FLAGS=--xla_force_host_platform_device_count={asked}, which splits a CPU" if one else ""
            )
            raise EnvironmentFault(
                f"training.devices: got {asked}, and jax has {here} here ({self.device()}): use at most {here}{more}"
            )

    def refuse_model_parallel(self, asked: int) -> None:
        if asked > 1 and self.peers.count > 1:
            raise EnvironmentFault(
                f"training.model_parallel: got {asked}, and the run has {self.peers.count} processes, expected one "
                "process with all devices: use 1, or one machine"
            )

    def dividing(self, devices: int, parts: int, cut: Cut) -> contextlib.AbstractContextManager[None]:
        if parts == 1:
            return contextlib.nullcontext()
        from zoo.backend.jax_layout import Divided  # it imports Keras

        scope: contextlib.AbstractContextManager[None] = Divided(mesh_of(devices, parts), cut).scope()
        return scope

    def trainer(
        self,
        model: Any,
        optimizer: Any,
        loss: Loss,
        *,
        precision: Precision,
        accumulate: int = 1,
        compiled: bool | None = None,
        adversary: Adversary | None = None,
        devices: int = 1,
    ) -> Trainer:
        groups = (*weight_groups(model), optimizer.variables)
        step = training_step(
            *(model, optimizer, loss),
            precision=precision,
            accumulate=accumulate,
            adversary=adversary,
            places=tuple([axes_of(v.value) for v in group] for group in groups),
        )
        return _JaxTrainer(step, groups, mesh_of_weights(model.variables) or self._mesh(devices))

    def predictor(self, model: Any, *, precision: Precision, devices: int = 1) -> Callable[[Inputs], Any]:
        forward, weights, own = prediction_step(model, precision), _Weights(model), mesh_of_weights(model.variables)

        def predict(inputs: Inputs) -> Any:
            mesh = own or self._mesh(devices)
            with mesh.used():
                return forward(*weights.on(mesh), mesh.shared(dict(inputs)))

        return predict

    def _mesh(self, devices: int) -> Mesh:
        """The devices that compute now: one process of several computes by itself where they do not share a batch."""
        return mesh_of(1 if self.peers.count > 1 and not self.peers.shares else devices)

    def gradient(self, model: Any, by: str) -> Callable[[Inputs, Any], Any]:
        @jax.jit
        @self.multiplying("float32")
        def backward(trainable: list[Any], non_trainable: list[Any], inputs: Inputs, weights: Any) -> Any:
            def total(value: Any) -> Any:
                given = {**inputs, by: value}
                outputs, _ = model.stateless_call(trainable, non_trainable, given, training=False)
                return (outputs * weights).sum()

            return jax.grad(total)(inputs[by])

        def gradient(inputs: Inputs, weights: Any) -> Any:
            return backward(*([v.value for v in group] for group in weight_groups(model)), dict(inputs), weights)

        return gradient


def _seen(array: Any) -> Any:
    """An array of a traced step which this process reads: of several processes' devices each has to have it whole."""
    return in_mesh(array) if jax.process_count() > 1 else array


def weight_groups(model: Any) -> tuple[list[Any], list[Any]]:
    """The keras.Variables of a model in the order in which the steps below take their values."""
    return model.trainable_variables, model.non_trainable_variables


def prediction_step(model: Any, precision: Precision) -> Any:
    """The jitted function that `Jax.predictor` calls.

    Args:
        model: a keras.Model; its variables need a shape and no value.
        precision: of matrix products, for which it was assembled.

    Returns:
        (trainable, non_trainable, inputs) -> logits [batch, units].
    """

    @BACKEND.multiplying(precision)
    def forward(trainable: list[Any], non_trainable: list[Any], inputs: Inputs) -> Any:
        logits, _ = model.stateless_call(trainable, non_trainable, inputs, training=False)
        return _seen(logits)

    return jax.jit(forward)


def training_step(
    model: Any,
    optimizer: Any,
    loss: Loss,
    *,
    precision: Precision,
    accumulate: int = 1,
    adversary: Adversary | None = None,
    places: Any = None,
) -> Any:
    """The jitted function that `Jax.trainer` calls.

    Args:
        model, optimizer: a keras.Model and the optimizer built on it; their variables need a shape and no value.
        loss, precision, accumulate, adversary: see `Backend.trainer`.
        places: of each array of a state what `axes_of` says; None is whole.

    Returns:
        (state, inputs, labels, weights) -> state, loss, logits [batch, units]; a state is (trainable, non_trainable,
        optimizer's variables), and the one that comes in is consumed.
    """

    def sums(trainable: list[Any], non_trainable: list[Any], inputs: Inputs, labels: Any, weights: Any) -> Any:
        logits, non_trainable = model.stateless_call(trainable, non_trainable, inputs, training=True)
        total, count = loss(logits, labels, weights)
        return total, (count, logits, non_trainable)

    def mean(*given: Any) -> Any:
        total, (count, *others) = sums(*given)
        return total / count, others

    def differentiated(function: Any) -> Any:
        """`mean` or `sums` with their gradients, to which an adversary adds those of its own pass."""
        plain = jax.value_and_grad(function, has_aux=True)
        if adversary is None:
            return plain

        def twice(trainable: list[Any], non_trainable: list[Any], inputs: Inputs, *others: Any) -> Any:
            def first(trainable: list[Any], still: Any) -> Any:
                return function(trainable, non_trainable, {**inputs, adversary.moves: still}, *others)

            both = jax.value_and_grad(first, argnums=(0, 1), has_aux=True)
            (value, (*told, between)), (found, by_input) = both(trainable, adversary.still(inputs))
            moved = {**inputs, adversary.moves: adversary.against(by_input, inputs)}
            (_, (*_, after)), more = plain(trainable, between, moved, *others)
            return (value, (*told, after)), jax.tree.map(jnp.add, found, more)

        return twice

    def accumulated(trainable: list[Any], non_trainable: list[Any], *batch: Any) -> Any:
        """What `mean` and its gradients are, computed part by part."""

        def add(carried: Any, part: Any) -> Any:
            non_trainable, *before = carried
            (total, (count, logits, non_trainable)), found = differentiated(sums)(trainable, non_trainable, *part)
            return (non_trainable, *jax.tree.map(jnp.add, before, [total, count, found])), logits

        cut = jax.tree.map(lambda array: in_mesh(array.reshape(accumulate, -1, *array.shape[1:]), None, ROWS), batch)
        zeros = [jnp.zeros(()), jnp.zeros(()), jax.tree.map(jnp.zeros_like, trainable)]
        (non_trainable, total, count, found), logits = jax.lax.scan(add, (non_trainable, *zeros), cut)
        logits = logits.reshape(-1, *logits.shape[2:])
        return (total / count, (logits, non_trainable)), jax.tree.map(lambda gradient: gradient / count, found)

    computed = differentiated(mean) if accumulate == 1 else accumulated

    @BACKEND.multiplying(precision)
    def step(state: tuple[list[Any], ...], inputs: Inputs, labels: Any, weights: Any) -> Any:
        trainable, non_trainable, moments = state
        (value, (logits, non_trainable)), gradients = computed(trainable, non_trainable, inputs, labels, weights)
        squares = sum(jnp.sum(jnp.square(gradient)) for gradient in jax.tree.leaves(gradients))
        trainable, moments = optimizer.stateless_apply(moments, gradients, trainable)
        state = (trainable, non_trainable, moments)
        whole = jax.tree.map(lambda array: (), state)
        state = jax.tree.map(lambda array, axes: in_mesh(array, *axes), state, places or whole)
        return state, jnp.where(jnp.isfinite(squares), value, jnp.nan), _seen(logits)

    return jax.jit(step, donate_argnums=0)


class _Weights:
    """A model's weights on a mesh, placed anew where they have changed."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._values: list[Any] = []
        self._placed: Any = None

    def on(self, mesh: Mesh) -> Any:
        # Which weights are trained may change from epoch to epoch.
        groups = [[v.value for v in group] for group in weight_groups(self._model)]
        if mesh.alone or jax.process_count() == 1:
            return mesh.everywhere(groups)
        values = [*groups[0], *groups[1]]
        # Through the host each time it would take longer than a batch.
        if len(self._values) != len(values) or any(map(operator.is_not, self._values, values)):
            self._values, self._placed = values, mesh.everywhere(groups)
        return self._placed


class _JaxTrainer(Trainer):
    """Holds the state as arrays between steps: each step consumes the last one's (donated buffers)."""

    def __init__(self, step: Any, groups: tuple[list[Any], ...], mesh: Mesh) -> None:
        self._step, self._groups, self._mesh = step, groups, mesh
        self._state: tuple[list[Any], ...] | None = None

    def step(self, inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
        with self._mesh.used():
            if self._state is None:
                self._state = self._mesh.everywhere(tuple([v.value for v in group] for group in self._groups))
            batch = self._mesh.shared((dict(inputs), labels, weights))
            self._state, value, logits = self._step(self._state, *batch)
        return value, logits

    def commit(self) -> None:
        if self._state is not None:
            for group, values in zip(self._groups, self._state, strict=True):
                for variable, value in zip(group, values, strict=True):
                    variable.assign(value if value.is_fully_addressable else value.addressable_data(0))
        self._state = None


BACKEND = Jax()
