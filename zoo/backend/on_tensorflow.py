"""TensorFlow: one graph for all shapes on a CPU, XLA on an accelerator."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from zoo.backend.base import AdamWStep, Adversary, Backend, Inputs, Loss, Trainer, forced_platform, parts
from zoo.backend.precision import Precision, precisions_of_nvidia


class TensorFlow(Backend):
    name = "tensorflow"

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
        return _TensorFlowTrainer(self, model, optimizer, loss, precision, accumulate, whole, adversary)

    def predictor(self, model: Any, *, precision: Precision, devices: int = 1) -> Callable[[Inputs], Any]:
        @tf.function(input_signature=[_signature(model)], jit_compile=self.accelerated)
        def forward(inputs: Inputs) -> Any:
            return model(inputs, training=False)

        return self.multiplying(precision)(lambda inputs: forward(dict(inputs)))

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
        self._backend, self._precision = backend, precision
        variables = model.trainable_variables

        def once(inputs: Inputs, watched: list[Any], targets: Any, weights: Any, mean: bool) -> tuple[Any, ...]:
            """The mean loss or the sum, the sum of weights, the outputs and the gradients by the variables and by what
            is watched."""
            with tf.GradientTape() as tape:
                tape.watch(watched)
                outputs = model(inputs, training=True)
                total, count = loss(outputs, targets, weights)
                value = total / count if mean else total
            return value, count, outputs, tape.gradient(value, [*(v.value for v in variables), *watched])

        def differentiated(inputs: Inputs, targets: Any, weights: Any, *, mean: bool) -> tuple[Any, ...]:
            """See `once`, by the variables alone, to whose gradients an adversary adds those of its own pass."""
            batch = targets, weights, mean
            if adversary is None:
                return once(inputs, [], *batch)
            still = adversary.still(inputs)
            value, count, outputs, (*gradients, by_input) = once({**inputs, adversary.moves: still}, [still], *batch)
            moved = adversary.against(by_input, inputs)
            *_, more = once({**inputs, adversary.moves: moved}, [], *batch)
            return value, count, outputs, [dense(a) + dense(b) for a, b in zip(gradients, more, strict=True)]

        def step(inputs: Inputs, targets: Any, weights: Any) -> tuple[Any, Any]:
            value, _, outputs, gradients = differentiated(inputs, targets, weights, mean=True)
            told = _told(value, gradients)
            optimizer.apply(gradients, variables)
            return told, outputs

        def add(inputs: Inputs, targets: Any, weights: Any) -> Any:
            """A part's outputs; its sums are added to those of the parts before."""
            total, count, outputs, gradients = differentiated(inputs, targets, weights, mean=False)
            for kept, found in zip(sums, [total, count, *map(dense, gradients)], strict=True):
                kept.assign_add(found)
            return outputs

        def apply() -> Any:
            """The mean loss of all parts that were added; a step is done by it."""
            total, count, *gradients = [kept.value() for kept in sums]
            told = _told(total / count, gradients)
            optimizer.apply([gradient / count for gradient in gradients], variables)
            for kept in sums:
                kept.assign(tf.zeros_like(kept))
            return told

        self._accumulate = accumulate
        if accumulate > 1:
            zeros = [0.0, 0.0, *(tf.zeros_like(v.value) for v in variables)]
            sums = [tf.Variable(zero, dtype=tf.float32, trainable=False) for zero in zeros]
            self._apply = tf.function(apply, jit_compile=whole)

        def traced(targets: Any) -> Any:
            """The step, or what adds a part of it, for targets of this type and these dimensions after the first."""
            kinds = [tf.TensorSpec([None, *targets.shape[1:]], targets.dtype), tf.TensorSpec([None], tf.float32)]
            # XLA:CPU gives up oneDNN's matrix products; on a GPU it fuses.
            options = {"input_signature": [_signature(model, adversary), *kinds], "jit_compile": whole}
            return tf.function(step if accumulate == 1 else add, **options)

        self._traced = traced
        self._step: Any = None

    def step(self, inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
        self._step = self._step or self._traced(labels)
        with self._backend.multiplying(self._precision):
            if self._accumulate == 1:
                value, outputs = self._step(dict(inputs), labels, weights)
                return value, outputs
            given = (parts(arrays, self._accumulate) for arrays in (dict(inputs), labels, weights))
            outputs = tf.concat([self._step(*part) for part in zip(*given, strict=True)], 0)
            return self._apply(), outputs


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
