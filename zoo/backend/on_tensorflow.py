"""TensorFlow: one graph for all shapes on a CPU, XLA on an accelerator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from zoo.backend.base import Backend, Inputs, Loss, Trainer


class TensorFlow(Backend):
    name = "tensorflow"

    def version(self) -> str:
        return str(tf.__version__)

    def device(self) -> str:
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return "cpu"
        return f"gpu: {tf.config.experimental.get_device_details(gpus[0]).get('device_name', 'unnamed')}"

    def peak_device_bytes(self) -> int | None:
        if not self.accelerated:
            return None
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])

    def trainer(self, model: Any, optimizer: Any, loss: Loss) -> Trainer:
        return _TensorFlowTrainer(self, model, optimizer, loss)

    def predictor(self, model: Any) -> Callable[[Inputs], Any]:
        @tf.function(input_signature=[_token_signature(model)], jit_compile=self.accelerated)
        def forward(inputs: Inputs) -> Any:
            return model(inputs, training=False)

        return lambda inputs: forward(dict(inputs))


def _token_signature(model: Any) -> dict[str, Any]:
    """One trace for all batch sizes and lengths: every input is [batch, length] int32."""
    return {tensor.name: tf.TensorSpec([None, None], tf.int32, name=tensor.name) for tensor in model.inputs}


class _TensorFlowTrainer(Trainer):
    def __init__(self, backend: TensorFlow, model: Any, optimizer: Any, loss: Loss) -> None:
        variables = model.trainable_variables

        @tf.function(
            input_signature=[
                _token_signature(model),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None], tf.float32),
            ],
            # XLA:CPU gives up oneDNN's matrix products; on a GPU it fuses.
            jit_compile=backend.accelerated,
        )
        def step(inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                logits = model(inputs, training=True)
                value = loss(logits, labels, weights)
            gradients = tape.gradient(value, [v.value for v in variables])
            optimizer.apply(gradients, variables)
            return value, logits

        self._step = step

    def step(self, inputs: Inputs, labels: Any, weights: Any) -> tuple[Any, Any]:
        value, logits = self._step(dict(inputs), labels, weights)
        return value, logits


BACKEND = TensorFlow()
