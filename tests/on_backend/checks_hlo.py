"""XLA, where TensorFlow compiles with it, is told by TensorFlow's switch in what precision to multiply.

With `default` XLA's products of float32 numbers on a GPU are TF32's, with `highest` they are not
(GetBlasComputationType in xla/stream_executor/gpu/gpu_blas_lt.cc). The program is the same on a CPU, where it is read
here.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pytest
import tensorflow as tf

import recipes
import zoo
from zoo.backend import Backend
from zoo.models import inference


@pytest.mark.parametrize(("precision", "expected"), [("float32", "highest,highest"), ("tf32", "default")])
@pytest.mark.parametrize("dropout", [0.1, 0.0])
def test_the_switch_reaches_every_product(
    backend: Backend, precision: Literal["float32", "tf32"], expected: str, dropout: float
) -> None:
    """Of a step and its gradients, where it is set around the compilation; without dropout attention is Keras's own."""
    changes = {"training.precision": "float32", "model.backbone.dropout": dropout, "model.backbone.num_layers": 1}
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides=changes))
    inputs = {name: tf.constant(np.ones((4, 8), np.int32)) for name in inference.input_names(model)}

    @tf.function(jit_compile=True)
    def step(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(inputs, training=True))
        return tape.gradient(total, [variable.value for variable in model.trainable_variables])

    with backend.multiplying(precision):
        text = step.experimental_get_compiler_ir(inputs)(stage="hlo")
    lines = [line for line in text.splitlines() if re.search(r"\bdot\(", line)]
    assert len(lines) > 10
    said = [re.search(r"operand_precision=\{([\w,]*)\}", line) for line in lines]
    assert {each[1] if each else "default" for each in said} == {expected}
