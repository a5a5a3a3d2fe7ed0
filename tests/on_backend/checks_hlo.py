"""XLA, where TensorFlow compiles with it, is told by TensorFlow's switch in what precision to multiply."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
import tensorflow as tf

from zoo.backend import Backend


@pytest.mark.parametrize(("precision", "expected"), [("float32", "highest,highest"), ("tf32", "")])
def test_the_switch_reaches_what_xla_compiles(
    backend: Backend, precision: Literal["float32", "tf32"], expected: str
) -> None:
    """Set around the compilation, which the first call of a function for a shape is; `default` is written as nothing.

    With that XLA's matrix products on a GPU are TF32's, with `highest` they are not (GetBlasComputationType in
    xla/stream_executor/gpu/gpu_blas_lt.cc).
    """

    @tf.function(jit_compile=True)
    def product(left: Any, right: Any) -> Any:
        return tf.linalg.matmul(left, right)

    given = tf.ones((8, 8)), tf.ones((8, 8))
    with backend.multiplying(precision):
        text = product.experimental_get_compiler_ir(*given)(stage="hlo")
    (line,) = (line for line in text.splitlines() if " dot(" in line)
    said = re.search(r"operand_precision=\{([\w,]*)\}", line)
    assert (said[1] if said else "") == expected
