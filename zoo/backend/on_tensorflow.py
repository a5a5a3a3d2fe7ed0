"""TensorFlow: one graph for all shapes on a CPU, XLA on an accelerator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from zoo.backend.base import AdamWStep, Adversary, Backend, Inputs, Loss, Trainer, forced_platform, parts
from zoo.backend.precision import Precision, precisions_of_nvidia
from zoo.backend.tensorflow_mirrors import SPLIT, Mirrors, mirrors_of, places, share, split_cpu, summed, workers
from zoo.errors import EnvironmentFault


class TensorFlow(Backend):
    name = "tensorflow"

    def __init__(self) -> None:
        split_cpu()

    def steps(self, compiled: bool) -> str:
        products = "" if self.accelerated else "by oneDNN, "
        return "compiled by XLA" if compiled else f"{products}compiled by XLA between matrix products"

    def version(self) -> str:
        return str(tf.__version__)

    def device(self) -> str:
        forced = forced_platform()
        if forced is not None:
            return forced
        details = _gpu()
        return "cpu" if details is None else f"gpu: {details.get('device_name', 'unnamed')}"

    def precisions(self) -> tuple[Precision, ...]:
        capability = (_gpu() or {}).get("compute_capability")  # of other makers' GPUs there is none
        return super().precisions() if capability is None else precisions_of_nvidia(capability)

    @contextlib.contextmanager
    def multiplying(self, precision: Precision) -> Iterator[None]:
        """See `Backend.multiplying`; the switch is the process's own, and is what it was afterwards.

        TensorFlow reads it where it starts a product, and XLA where it compiles one: so it has to be set around each
        call, and a function that was compiled keeps what it was compiled with. Two threads that compute in two
        precisions at once disturb each other.
        """
        before = tf.config.experimental.tensor_float_32_execution_enabled()
        tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
        try:
            yield
        finally:
            tf.config.experimental.enable_tensor_float_32_execution(before)

    def peak_device_bytes(self) -> int | None:
        if not self.accelerated:
            return None
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])

    def compiles(self) -> tuple[bool, ...]:
        # On a CPU XLA takes seconds for each layer and each of a run's shapes, and wins or loses a tenth by it.
        return (True, False) if self.accelerated else (False,)

    def refuse_devices(self, asked: int) -> None:
        if asked == 1:
            return
        if (machines := workers()) > 1:
            raise EnvironmentFault(
                f"training.devices: got {asked}, and TF_CONFIG names {machines} processes: on tensorflow devices of "
                "one alone share a batch, as MultiWorkerMirroredStrategy is not known to work with Keras 3 "
                "(keras-team/keras issue 20585): unset it, or use KERAS_BACKEND=jax or torch"
            )
        here = len(places())
        if asked > here:
            more = "" if self.accelerated else f", or set {SPLIT}={asked} before TensorFlow is used, which splits a CPU"
            raise EnvironmentFault(
                f"training.devices: got {asked}, and tensorflow has {here} here ({self.device()}): use at most "
                f"{here}{more}"
            )

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
        whole = self.compiles()[0] if compiled is None else compiled
        given = (self, model, optimizer, loss, precision, accumulate, whole, adversary)
        mirrors = mirrors_of(devices)
        return _TensorFlowTrainer(*given) if mirrors is None else _SharedTrainer(mirrors, *given)

    def predictor(self, model: Any, *, precision: Precision, devices: int = 1) -> Callable[[Inputs], Any]:
        kinds, mirrors = [_signature(model)], mirrors_of(devices)

        @tf.function(input_signature=kinds, jit_compile=self.accelerated)
        def forward(inputs: Inputs) -> Any:
            return model(inputs, training=False)

        if mirrors is None:
            return self.multiplying(precision)(lambda inputs: forward(dict(inputs)))

        @tf.function(input_signature=kinds, autograph=False)
        def shared(inputs: Inputs) -> Any:
            return tf.concat(mirrors.computed(lambda given: forward(share(given)), inputs), 0)

        @self.multiplying(precision)
        def predict(inputs: Inputs) -> Any:
            mirrors.hold(model.variables)
            return shared(dict(inputs))

        return predict

    def save_graph(self, model: Any, folder: Path) -> None:
        names = [tensor.name for tensor in model.inputs]

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name=name) for name in names])
        def serve(*arrays: Any) -> dict[str, Any]:
            return {"logits": model(dict(zip(names, arrays, strict=True)), training=False)}

        kept = tf.Module()
        kept.weights = [variable.value for variable in model.variables]
        tf.saved_model.save(kept, str(folder), signatures={"serving_default": serve})

    def load_graph(self, folder: Path) -> Callable[[Inputs], Any]:
        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures["serving_default"]

        @self.multiplying("float32")
        def serve(inputs: Inputs, _: Any = loaded) -> Any:  # its variables go when it goes
            return signature(**{name: tf.constant(value) for name, value in inputs.items()})["logits"]

        return serve

    def gradient(self, model: Any, by: str) -> Callable[[Inputs, Any], Any]:
        @tf.function(
            input_signature=[_signature(model), tf.TensorSpec([None, None], tf.float32)], jit_compile=self.accelerated
        )
        def backward(inputs: Inputs, weights: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(inputs[by])
                total = tf.reduce_sum(model(inputs, training=False) * weights)
            return tape.gradient(total, inputs[by])

        return self.multiplying("float32")(lambda inputs, weights: backward(dict(inputs), weights))

    def kernels(self) -> Any:
        from zoo.backend.transformer_tensorflow import TensorFlowKernels

        return TensorFlowKernels()

    def fused_adamw(self) -> Callable[[AdamWStep], None]:
        return _fused_adamw

    def dense(self, gradient: Any) -> Any:
        return dense(gradient)


def _gpu() -> dict[str, Any] | None:
    """What TensorFlow tells of the first GPU; None where it sees none."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return None
    details: dict[str, Any] = tf.config.experimental.get_device_details(gpus[0])
    return details


def _signature(model: Any, adversary: Adversary | None = None) -> dict[str, Any]:
    """One trace for all batch sizes and lengths; what an adversary moves is no part of a batch."""
    moved = None if adversary is None else adversary.moves
    return {
        tensor.name: tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name)
        for tensor in model.inputs
        if tensor.name != moved
    }


def _differentiated(model: Any, loss: Loss, adversary: Adversary | None) -> Callable[..., tuple[Any, ...]]:
    """A function of a batch, and of whether its loss is the mean or the sum: the loss, the sum of weights, the outputs
    and the gradients by what is trained, to which an adversary adds those of its own pass."""
    variables = model.trainable_variables

    def once(inputs: Inputs, watched: list[Any], targets: Any, weights: Any, mean: bool) -> tuple[Any, ...]:
        """One pass; its gradients are also by what is watched."""
        with tf.GradientTape() as tape:
            tape.watch(watched)
            outputs = model(inputs, training=True)
            total, count = loss(outputs, targets, weights)
            value = total / count if mean else total
        return value, count, outputs, tape.gradient(value, [*(v.value for v in variables), *watched])

    def differentiated(inputs: Inputs, targets: Any, weights: Any, *, mean: bool) -> tuple[Any, ...]:
        batch = targets, weights, mean
        if adversary is None:
            return once(inputs, [], *batch)
        still = adversary.still(inputs)
        value, count, outputs, (*gradients, by_input) = once({**inputs, adversary.moves: still}, [still], *batch)
        moved = adversary.against(by_input, inputs)
        *_, more = once({**inputs, adversary.moves: moved}, [], *batch)
        return value, count, outputs, [dense(a) + dense(b) for a, b in zip(gradients, more, strict=True)]

    return differentiated


class _TensorFlowTrainer(Trainer):
    def __init__(
        self,
        backend: TensorFlow,
        model: Any,
        optimizer: Any,
        loss: Loss,
        precision: Precision,
        accumulate: int,
        whole: bool,
        adversary: Adversary | None,
    ) -> None:
        self._backend, self._precision, self._accumulate, self._whole = backend, precision, accumulate, whole
        self._optimizer, self._variables = optimizer, model.trainable_variables
        self._differentiated = _differentiated(model, loss, adversary)
        self._inputs = _signature(model, adversary)
        self._step: Any = None
        if accumulate > 1:
            self._sums = self._zeros([(), (), *(variable.shape for variable in self._variables)])
            self._apply = self._traced(self._applied)

    def step(self, inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
        if self._step is None:  # for targets of this type and these dimensions after the first
            kinds = [tf.TensorSpec([None, *labels.shape[1:]], labels.dtype), tf.TensorSpec([None], tf.float32)]
            function = self._taken if self._accumulate == 1 else self._added
            self._step = self._traced(function, input_signature=[self._inputs, *kinds])
        with self._backend.multiplying(self._precision):
            if self._accumulate == 1:
                value, outputs = self._step(dict(inputs), labels, weights)
                return value, outputs
            given = (parts(arrays, self._accumulate) for arrays in (dict(inputs), labels, weights))
            outputs = tf.concat([self._step(*part) for part in zip(*given, strict=True)], 0)
            return self._apply(), outputs

    def _traced(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        # XLA:CPU gives up oneDNN's matrix products; on a GPU it fuses.
        traced: Callable[..., Any] = tf.function(function, jit_compile=self._whole, **options)
        return traced

    def _zeros(self, shapes: list[Any]) -> list[Any]:
        return [tf.Variable(tf.zeros(shape), trainable=False) for shape in shapes]

    def _taken(self, inputs: Inputs, targets: Any, weights: Any) -> tuple[Any, Any]:
        """A whole step: its mean loss and its outputs."""
        value, _, outputs, gradients = self._differentiated(inputs, targets, weights, mean=True)
        return self._moved(value, gradients), outputs

    def _added(self, inputs: Inputs, targets: Any, weights: Any) -> Any:
        """A part's outputs; its sums are added to those of the parts before."""
        outputs, found = self._passed(inputs, targets, weights)
        for kept, new in zip(self._sums, found, strict=True):
            kept.assign_add(new)
        return outputs

    def _applied(self) -> Any:
        """The mean loss of all parts that were added; a step is done by it."""
        return self._moved_by_sums(self._cleared())

    def _passed(self, inputs: Inputs, targets: Any, weights: Any) -> tuple[Any, list[Any]]:
        """The outputs of a batch, or of a part or share of it; then its sums of losses, of weights and of gradients."""
        total, count, outputs, gradients = self._differentiated(inputs, targets, weights, mean=False)
        return outputs, [total, count, *map(dense, gradients)]

    def _cleared(self) -> list[Any]:
        """The sums of the parts that were added, which are 0 then."""
        found = [kept.value() for kept in self._sums]
        for kept in self._sums:
            kept.assign(tf.zeros(kept.shape))
        return found

    def _moved_by_sums(self, found: list[Any]) -> Any:
        total, count, *gradients = found
        return self._moved(total / count, [gradient / count for gradient in gradients])

    def _moved(self, loss: Any, gradients: list[Any]) -> Any:
        """What is told of the mean loss, by whose gradients a step is done."""
        told = _told(loss, gradients)
        self._optimizer.apply(gradients, self._variables)
        return told


class _SharedTrainer(_TensorFlowTrainer):
    """Each of several devices computes its rows of a batch, and all take the same step, each on its own copies.

    Where a whole step would be compiled, both its passes are and its end is, and not what lies between, by which the
    devices talk (docs/decisions/0025).
    """

    def __init__(self, mirrors: Mirrors, backend: TensorFlow, model: Any, optimizer: Any, *others: Any) -> None:
        self._mirrors = mirrors
        mirrors.hold([*model.variables, *optimizer.variables])
        super().__init__(backend, model, optimizer, *others)
        self._share_passed = super()._traced(self._passed)
        self._share_moved = super()._traced(self._moved_by_sums)

    def _traced(self, function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        traced: Callable[..., Any] = tf.function(function, autograph=False, **options)
        return traced

    def _zeros(self, shapes: list[Any]) -> list[Any]:
        return self._mirrors.zeros(shapes)

    def _taken(self, inputs: Inputs, targets: Any, weights: Any) -> tuple[Any, Any]:
        def of_share(*batch: Any) -> tuple[Any, Any]:
            outputs, found = self._share_passed(*share(batch))
            return self._share_moved(summed(found)), outputs

        told, outputs = self._mirrors.computed(of_share, inputs, targets, weights)
        return told[0], tf.concat(outputs, 0)

    def _added(self, inputs: Inputs, targets: Any, weights: Any) -> Any:
        def of_share(*batch: Any) -> Any:
            outputs, found = self._share_passed(*share(batch))
            for kept, new in zip(self._sums, found, strict=True):
                kept.assign_add(new)
            return outputs

        return tf.concat(self._mirrors.computed(of_share, inputs, targets, weights), 0)

    def _applied(self) -> Any:
        return self._mirrors.computed(lambda: self._share_moved(summed(self._cleared())))[0]


def _told(loss: Any, gradients: list[Any]) -> Any:
    """What is told of a step's loss: nan where the norm of the gradients is not finite."""
    found = [gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient for gradient in gradients]
    squares = tf.add_n([tf.nn.l2_loss(gradient) for gradient in found])
    return tf.where(tf.math.is_finite(squares), loss, float("nan"))


def _fused_adamw(step: AdamWStep) -> None:
    """One AdamW step by TensorFlow's own kernel, in one pass over each array; see Backend.fused_adamw."""
    gradients = [dense(gradient) for gradient in step.gradients]
    if step.clip_norm is not None:
        norm = tf.sqrt(2.0 * tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients]))
        shrink = tf.minimum(1.0, step.clip_norm / (norm + 1e-6))  # the 1e-6 is torch's
        gradients = [gradient * shrink for gradient in gradients]
    power_1, power_2 = tf.pow(step.beta_1, step.step), tf.pow(step.beta_2, step.step)
    # The kernel adds epsilon to the root before it is corrected, and AdamW after.
    epsilon = step.epsilon * tf.sqrt(1.0 - power_2)
    for gradient, variable, first, second, factor, decay in zip(
        gradients, step.variables, step.first, step.second, step.factors, step.decays, strict=True
    ):
        rate = step.rate * factor
        if decay:
            tf.raw_ops.ResourceApplyGradientDescent(var=variable.value.handle, alpha=rate * decay, delta=variable.value)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.value.handle,
            m=first.value.handle,
            v=second.value.handle,
            beta1_power=power_1,
            beta2_power=power_2,
            lr=rate,
            beta1=step.beta_1,
            beta2=step.beta_2,
            epsilon=epsilon,
            grad=gradient,
        )


def dense(gradient: Any) -> Any:
    """The gradient as one array, duplicate rows summed.

    TensorFlow hands the gradient of an embedding out as IndexedSlices, a row for each token of the
    batch. Keras squares these rows before it sums the duplicates, so a repeated token gets a wrong
    second moment, and a norm of the gradients that is wrong too (docs/upstream/keras-sparse-adam.md).
    """
    return tf.convert_to_tensor(gradient)


BACKEND = TensorFlow()
