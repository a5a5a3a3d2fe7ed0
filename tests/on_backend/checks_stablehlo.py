"""What JAX hands to XLA for a GPU and a TPU says in what precision each product is to be computed.

Lowering for another device needs none: what a compiler there is told is read here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np
import pytest

import recipes
import zoo
from zoo.backend import Backend, compiled_for
from zoo.models import inference
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer

DEVICES = {"cuda": "gpu", "tpu": "tpu"}
"""A device's name as JAX lowers for it, and as the zoo takes its way."""


class LoweredError(Exception):
    """Raised in place of compiling, when the text is known."""


def products(of: Callable[[], Callable[[], Any]], monkeypatch: pytest.MonkeyPatch) -> dict[str, set[tuple[str, str]]]:
    """By device the kinds of products in what a function computes: the type of its factors, and their precision.

    Args:
        of: makes the function, which calls what it jits.
    """
    jit = jax.jit

    def lowering(function: Any, **options: Any) -> Any:
        def call(*given: Any) -> Any:
            texts.append(jit(function, **options).trace(*given).lower(lowering_platforms=(name,)).as_text())
            raise LoweredError

        return call

    found: dict[str, set[tuple[str, str]]] = {}
    for name, platform in DEVICES.items():
        texts: list[str] = []
        with compiled_for(platform):
            with monkeypatch.context() as patch:
                patch.setattr(jax, "jit", lowering)
                function = of()
            with contextlib.suppress(LoweredError):
                function()
        (text,) = texts
        lines = [line for line in text.splitlines() if "stablehlo.dot_general" in line]
        assert lines
        parts = [re.search(r"precision = \[(\w+, \w+)\].*: \(tensor<\w*x(\w+)>", line) for line in lines]
        found[name] = {(part[2], part[1]) if part else ("", "none is said") for part in parts}
    return found


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("float32", {("f32", "HIGHEST, HIGHEST")}),
        ("tf32", {("f32", "DEFAULT, DEFAULT")}),
        ("bfloat16", {("bf16", "DEFAULT, DEFAULT"), ("f32", "DEFAULT, DEFAULT")}),
    ],
)
def test_every_product_says_its_precision(
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    precision: Literal["float32", "tf32", "bfloat16"],
    expected: set[tuple[str, str]],
) -> None:
    """Of a step with its gradients, and of a prediction."""
    monkeypatch.setattr(backend, "precisions", lambda: ("float32", "tf32", "bfloat16"))
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides={"training.precision": precision}))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-3] * 2)
    inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
    batch = inputs, np.array([0, 1, 0, 1], np.int32), np.ones(4, np.float32)

    def step() -> Callable[[], Any]:
        trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision=precision)
        return lambda: trainer.step(*batch)

    def prediction() -> Callable[[], Any]:
        predict = backend.predictor(model, precision=precision)
        return lambda: predict(inputs)

    for of in (prediction, step):
        assert products(of, monkeypatch) == dict.fromkeys(DEVICES, expected), of.__name__
