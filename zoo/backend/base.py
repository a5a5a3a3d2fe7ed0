"""What the rest of the zoo knows of a framework: the interface that each backend's module fills in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from zoo.backend.devices import undivided
from zoo.backend.peers import ALONE, Peers
from zoo.backend.precision import ON_CPU, Precision, refusal
from zoo.errors import EnvironmentFault, ZooError

Inputs = Mapping[str, Any]
"""token_ids, padding_mask (and segment_ids), each [batch, length] int32; of a part of a model, what it takes."""

Loss = Callable[[Any, Any, Any], tuple[Any, Any]]
"""(outputs [batch, units] float32, targets [batch, ...], weights [batch] float32) -> sum of losses, sum of weights."""


Cut = Callable[[str, tuple[int, ...]], int | None]
"""(path, shape) of a weight -> the dimension along which it is cut in equal parts; None leaves it whole."""


class Adversary(Protocol):
    """Who has each step computed twice, the second time with an input that is moved against the model.

    The gradients of both passes are added. The loss and the outputs that are told are those of the first.
    """

    @property
    def moves(self) -> str:
        """The name of that input, floating; a batch does not have it."""

    def still(self, inputs: Any) -> Any:
        """What it is in the first pass, of the active backend, from the inputs of a batch."""

    def against(self, gradient: Any, inputs: Any) -> Any:
        """What it is in the second pass, from the first one's gradient by it; any positive factor on all of a row of
        this has no effect."""


_forced: ContextVar[str | None] = ContextVar("forced_platform", default=None)


def forced_platform() -> str | None:
    """The platform that `compiled_for` names around this call; None where the devices that are here decide."""
    return _forced.get()


@contextlib.contextmanager
def compiled_for(platform: str) -> Iterator[None]:
    """What is built and traced within takes the way of this platform, whatever devices are here.

    Args:
        platform: as a device of the backend names it: `cpu`, `gpu` or `tpu`.
    """
    token = _forced.set(platform)
    try:
        yield
    finally:
        _forced.reset(token)


@dataclass(frozen=True, kw_only=True)
class AdamWStep:
    """One AdamW step.

    Lists in the order of the variables: gradients; variables and their moments, each a keras.Variable; the factor on
    the learning rate and the decay of each. Then the numbers: the learning rate, the step's number from 1, and the
    constants of the rule.
    """

    gradients: list[Any]
    variables: list[Any]
    first: list[Any]
    second: list[Any]
    factors: list[float]
    decays: list[float]
    rate: Any
    step: Any
    beta_1: float
    beta_2: float
    epsilon: float
    clip_norm: float | None


class Backend:
    """What the rest of the zoo needs to know of a framework."""

    name: str

    @property
    def peers(self) -> Peers:
        """The processes that compute a run together, this one among them."""
        return ALONE

    def version(self) -> str:
        return version(self.name)

    def device(self) -> str:
        """Kind and name of the device that is computed on, e.g. `cpu` or `gpu: NVIDIA A100`."""
        raise NotImplementedError

    def steps(self, compiled: bool) -> str:
        """How a step is computed, compiled as a whole or not, for the user to read."""
        raise NotImplementedError

    def precisions(self) -> tuple[Precision, ...]:
        """How this device multiplies matrices, the most exact first."""
        return ON_CPU

    def refuse(self, key: str, asked: str) -> None:
        """Raise EnvironmentFault where this device does not multiply so.

        Args:
            key: by what it was asked for, as `training.precision`.
            asked: a precision, or `auto`, which is never refused.
        """
        if asked != "auto" and asked not in self.precisions():
            raise EnvironmentFault(refusal(key, asked, self.precisions(), f"this device ({self.device()})"))

    def multiplying(self, precision: Precision) -> contextlib.AbstractContextManager[None]:
        """A context in which matrices of float32 numbers are multiplied so; those of another type in their own.

        For `bfloat16` it says nothing of float32 numbers, of which a model in bfloat16 multiplies its last layer's.
        """
        raise NotImplementedError

    @property
    def accelerated(self) -> bool:
        return not self.device().startswith("cpu")

    def peak_device_bytes(self) -> int | None:
        """Largest memory taken on an accelerator so far, in bytes; None on a CPU or where it is not told."""
        raise NotImplementedError

    def keep_compiled(self, folder: Path) -> None:
        """Keep what is compiled from now on in a folder, and take it from there; nothing where nothing is compiled."""

    def compiles(self) -> tuple[bool, ...]:
        """Whether a training step may be compiled as a whole: what a trial of seconds chooses from, the usual first."""
        raise NotImplementedError

    def compiles_shapes(self, compiled: bool) -> bool:
        """Whether the first step of each shape of batch compiles something, the step compiled as a whole or not."""
        return True

    def refuse_compile(self, asked: str) -> None:
        """Raise EnvironmentFault where this backend cannot do as `training.compile` says; by itself it can."""

    def refuse_devices(self, asked: int) -> None:
        """Raise EnvironmentFault where so many devices cannot share a batch, as `training.devices` asks."""
        raise NotImplementedError

    def refuse_model_parallel(self, asked: int) -> None:
        """Raise EnvironmentFault where weights cannot be shared out, as `training.model_parallel` asks."""
        if fault := undivided(self.name, asked):
            raise fault

    def dividing(self, devices: int, parts: int, cut: Cut) -> contextlib.AbstractContextManager[None]:
        """A context in which a model is made with its weights in parts, each on another device.

        Its trainers and predictors compute on these devices, with what an optimizer keeps in the same parts.

        Args:
            devices: how many share a batch.
            parts: in how many parts a weight is, as `refuse_model_parallel` allows; a divisor of the devices.
            cut: how.
        """
        return contextlib.nullcontext()

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
        """Steps on a model.

        Args:
            model: a keras.Model from inputs to outputs [batch, units].
            optimizer: a Keras optimizer that is built on its trainable variables.
            loss: see `Loss`.
            precision: of matrix products, for which the model was assembled.
            accumulate: in how many parts, one after the other, a step computes its batch; it divides the rows.
            compiled: whether it is compiled as a whole; None is the usual, the first of `compiles`.
            adversary: who moves one of the model's inputs in a second pass; None makes one pass.
            devices: how many share a batch, as `refuse_devices` allows; they divide the rows of a part.
        """
        raise NotImplementedError

    def predictor(self, model: Any, *, precision: Precision, devices: int = 1) -> Callable[[Inputs], Any]:
        """A function from inputs to logits [batch, units] on the device, dropout off.

        Args:
            model: a keras.Model.
            precision: the model's.
            devices: how many share a batch, whose rows they divide.
        """
        raise NotImplementedError

    def gradient(self, model: Any, by: str) -> Callable[[Inputs, Any], Any]:
        """A function from inputs and weights to a gradient, dropout off, in float32.

        Args:
            model: a keras.Model to outputs [batch, units].
            by: which of its inputs the gradient is taken by, floating.

        Returns:
            (inputs, weights [batch, units] float32) -> the gradient of the sum of weighted outputs, of the shape of the
            input, on the device.
        """
        raise NotImplementedError

    def kernels(self) -> Any:
        """The `zoo.backend.transformer.Kernels` of this backend."""
        from zoo.backend.transformer import Kernels  # it imports Keras

        return Kernels()

    def fused_adamw(self) -> Callable[[AdamWStep], None] | None:
        """A function that changes the variables in place by the backend's own kernels; None where the step is compiled
        as a whole."""
        return None

    def dense(self, gradient: Any) -> Any:
        """A gradient as one array of its variable's shape; that of an embedding may come as the rows of its tokens."""
        return gradient

    def save_graph(self, model: Any, folder: Path) -> None:
        """Write TensorFlow's SavedModel of a model, which runs without Keras; raises EnvironmentFault elsewhere."""
        raise EnvironmentFault(
            f"a SavedModel is TensorFlow's, and the backend is {self.name}: run again with KERAS_BACKEND=tensorflow"
        )

    def load_graph(self, folder: Path) -> Callable[[Inputs], Any]:
        """What `save_graph` wrote, as a function from inputs to logits [batch, units]; raises as it does."""
        raise EnvironmentFault(
            f"a SavedModel is TensorFlow's, and the backend is {self.name}: run again with KERAS_BACKEND=tensorflow"
        )

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether memory ran out, of the device or of the machine; a ZooError says itself what it is of."""
        text = f"{type(error).__name__}: {error}".lower()
        signs = (
            *("resource_exhausted", "resourceexhausted", "out of memory", "outofmemory", "oom when allocating"),
            # torch on a CPU, malloc and mmap, C++, NumPy, and the libraries of CUDA.
            *("allocate memory", "not enough memory", "bad_alloc", "unable to allocate", "alloc_failed"),
        )
        return isinstance(error, MemoryError) or (
            not isinstance(error, ZooError) and any(sign in text for sign in signs)
        )


def parts(arrays: Any, count: int) -> list[Any]:
    """Each array of a batch (one, or a mapping of them) cut into so many parts by rows."""
    if isinstance(arrays, Mapping):
        cut = {name: parts(array, count) for name, array in arrays.items()}
        return [{name: cut[name][place] for name in cut} for place in range(count)]
    rows = len(arrays) // count
    return [arrays[place * rows : (place + 1) * rows] for place in range(count)]


class Trainer:
    """Steps on one model and one optimizer; the state is theirs.

    `step` returns the loss and the logits of the batch while they may still be computed;
    `numpy.asarray` on either waits for them. The loss is nan where the norm of the gradients is not finite.
    """

    def step(self, inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
        raise NotImplementedError

    def commit(self) -> None:
        """Bring the variables of model and optimizer up to date with the last step."""
