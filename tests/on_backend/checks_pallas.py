"""Kernels by Pallas: computed by its interpreter, and lowered for devices that are not here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recipes
import zoo
from zoo.backend import Backend, compiled_for, pallas_attention_half, pallas_feedforward
from zoo.backend.pallas_attention import Platform, Shape, attention, fits
from zoo.backend.transformer import MASKED, Kernels, least_kept
from zoo.backend.transformer_jax import AcceleratorKernels
from zoo.models import inference
from zoo.models.layers import ACTIVATIONS
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer

PLATFORMS: tuple[Platform, ...] = ("tpu", "gpu")
STATE = jnp.array([123456, 7], jnp.int32)


def plain(qkv: Any, bias: Any, seen: Any, shape: Shape, rate: float, state: Any = STATE) -> Any:
    """What `attention` computes, its scores and masks written."""
    split = (qkv + bias).reshape(shape.batch, shape.length, 3, shape.heads, shape.width)
    query, key, value = split.transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2) * shape.width**-0.5
    weights = jax.nn.softmax(scores + jnp.where(seen[:, None] != 0, 0.0, MASKED))
    if rate:
        weights = weights * Kernels().keep_mask(state, weights.shape, rate) * shape.scale
    return (weights @ value).transpose(0, 2, 1, 3).reshape(*qkv.shape[:2], shape.hidden)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("length", "heads", "width", "rate", "packed"),
    [pytest.param(70, 4, 64, 0.1, True, marks=pytest.mark.slow), (33, 8, 16, 0.1, True)],
)
def test_attention_that_writes_no_scores_is_attention(
    platform: Platform, length: int, heads: int, width: int, rate: float, packed: bool
) -> None:
    """Values and gradients in float32, under the same mask; lengths that fill no block."""
    shape = Shape(
        batch=2,
        length=length,
        heads=heads,
        width=width,
        least=least_kept(rate) if rate else None,
        scale=1.0 / (1.0 - rate),
        platform=platform,
        interpret=True,
    )
    assert fits(platform, length, heads, width)
    random = np.random.default_rng(0)
    qkv, bias, given = (
        random.normal(size=size).astype(np.float32)
        for size in ((2, length, 3 * shape.hidden), (1, 3 * shape.hidden), (2, length, shape.hidden))
    )
    seen = (random.random((2, length if packed else 1, length)) > 0.2).astype(np.int8)
    ours, pull = jax.vjp(lambda *given: attention(*given, seen, STATE, shape), qkv, bias)
    expected, pull_plain = jax.vjp(lambda *given: plain(*given, seen, shape, rate), qkv, bias)
    np.testing.assert_allclose(ours, expected, atol=5e-6)
    for one, other in zip(pull(given), pull_plain(given), strict=True):
        np.testing.assert_allclose(one, other, atol=5e-5)
    other = attention(qkv, bias, seen, STATE + 1, shape)
    assert bool(jnp.allclose(other, ours, atol=1e-3)) == (not rate), "another mask is another result"


EPSILON = float(np.finfo(np.float32).eps)


def shape_of(batch: int, length: int, heads: int, width: int, rate: float) -> Shape:
    least, scale = least_kept(rate) if rate else None, 1.0 / (1.0 - rate)
    sizes: Any = {"batch": batch, "length": length, "heads": heads, "width": width}
    return Shape(**sizes, least=least, scale=scale, platform="tpu", interpret=True)


def drawn(*sizes: tuple[int, ...]) -> list[Any]:
    """Arrays of small numbers; kernels, which have more rows than one, by the root of these."""
    random = np.random.default_rng(0)
    return [(random.normal(size=size) * (size[0] ** -0.5 if size[0] > 1 else 0.1)).astype(np.float32) for size in sizes]


def kept_of(x: Any, state: Any, rate: float) -> Any:
    """x, some of it dropped by a mask that is written."""
    return x * Kernels().keep_mask(state, x.shape, rate) / (1.0 - rate) if rate else x


def agree(ours: Callable[..., Any], expected: Callable[..., Any], x: Any, weights: Any) -> None:
    """Values, and gradients by x and by each weight, in float32: as exact as its digits are at the gradient's size."""
    given, ours = np.random.default_rng(1).normal(size=x.shape).astype(np.float32), jax.jit(ours)
    with jax.default_matmul_precision("highest"):
        (found, pull), (plainly, pull_plain) = jax.vjp(ours, x, weights), jax.vjp(expected, x, weights)
        np.testing.assert_allclose(found, plainly, atol=5e-6)
        np.testing.assert_allclose(ours(x, weights), found, atol=1e-7)
        for one, other in zip(jax.tree.leaves(pull(given)), jax.tree.leaves(pull_plain(given)), strict=True):
            np.testing.assert_allclose(one, other, atol=max(5e-5, 32 * EPSILON * float(np.abs(other).max())))


@pytest.mark.parametrize(
    ("heads", "width", "rate", "packed"), [pytest.param(2, 64, 0.1, True, marks=pytest.mark.slow), (8, 16, 0.1, True)]
)
def test_an_attention_half_in_one_kernel(heads: int, width: int, rate: float, packed: bool) -> None:
    """Two masks, two texts, a program each."""
    shape, states = shape_of(2, 44, heads, width, rate), jnp.array([5, 7, 11, 3], jnp.int32)
    half = pallas_attention_half.Half(shape=shape, least=shape.least, scale=shape.scale)
    assert pallas_attention_half.fits(half, 4)
    hidden = shape.hidden
    x, *weights = drawn((88, hidden), (hidden, 3 * hidden), (1, 3 * hidden), (hidden, hidden), (1, hidden))
    seen = (np.random.default_rng(0).random((2, 44 if packed else 1, 44)) > 0.2).astype(np.int8)

    def ours(x: Any, weights: Any) -> Any:
        texts = x.reshape(2, 44, hidden)
        return pallas_attention_half.attention_half(texts, seen, weights, states, half).reshape(x.shape)

    def plainly(x: Any, weights: Any) -> Any:
        kernel, bias, output, output_bias = weights
        qkv = (x @ kernel).reshape(2, 44, -1)
        context = plain(qkv, bias, seen, shape, rate, states[:2]).reshape(x.shape)
        return x + kept_of(context @ output + output_bias, states[2:], rate)

    agree(ours, plainly, x, tuple(weights))


@pytest.mark.parametrize(
    ("activation", "rate"), [pytest.param("gelu", 0.1, marks=pytest.mark.slow), ("gelu_tanh", 0.1), ("relu", 0.0)]
)
def test_a_feedforward_half_in_one_kernel(activation: str, rate: float) -> None:
    """Of three programs, each with three parts of the inner activations."""
    half = pallas_feedforward.Half(
        rows=384,
        hidden=128,
        inner=384 * 3,
        activation=ACTIVATIONS[activation],
        epsilon=1e-12,
        least=least_kept(rate) if rate else None,
        scale=1.0 / (1.0 - rate),
        interpret=True,
    )
    assert pallas_feedforward.fits(half, 4)
    assert (half.block(4), half.columns) == (128, 384)
    vector = (1, 128)
    x, *weights = drawn(
        (384, 128), vector, vector, (128, half.inner), (1, half.inner), (half.inner, 128), *[vector] * 3
    )
    weights[0], weights[6] = weights[0] + 1.0, weights[6] + 1.0

    def normed(x: Any, gamma: Any, beta: Any) -> Any:
        x = x - x.mean(1, keepdims=True)
        return x * jax.lax.rsqrt(jnp.square(x).mean(1, keepdims=True) + half.epsilon) * gamma + beta

    def plainly(x: Any, weights: Any) -> Any:
        gamma, beta, kernel, bias, outer, outer_bias, *last = weights
        y = normed(x, gamma, beta)
        found = half.activation(y @ kernel + bias) @ outer + outer_bias
        return normed(y + kept_of(found, STATE, rate), *last)

    agree(lambda x, weights: pallas_feedforward.feedforward(x, weights, STATE, half), plainly, x, tuple(weights))


def test_what_does_not_fit_is_left_to_plain_products() -> None:
    assert not fits("tpu", 128, 3, 16)  # 48 lanes of 128
    assert not fits("tpu", 2048, 4, 32)
    assert not fits("gpu", 128, 4, 24)
    wide = shape_of(2, 512, 32, 64, 0.1)  # weights of 2,048 by 8,192 and their gradients
    assert not pallas_attention_half.fits(pallas_attention_half.Half(shape=wide, least=None, scale=1.0), 2)
    sizes: Any = {"least": None, "scale": 1.0, "activation": ACTIVATIONS["gelu"], "epsilon": 1e-12, "interpret": True}
    assert not pallas_feedforward.fits(pallas_feedforward.Half(rows=1024, hidden=2048, inner=8192, **sizes), 2)
    assert not pallas_feedforward.fits(pallas_feedforward.Half(rows=100, hidden=128, inner=512, **sizes), 2)


CHANGES = {
    "model.backbone.hidden_dim": 128,
    "model.backbone.num_heads": 4,
    "model.backbone.intermediate_dim": 256,
    "model.backbone.num_layers": 1,
    "training.precision": "float32",
}


def losses(kernels: Kernels, backend: Backend, patch: pytest.MonkeyPatch, steps: int) -> list[float]:
    """Of steps of training, dropout on, on texts of several lengths."""
    for module in ("zoo.models.layers", "zoo.models.dropout"):
        patch.setattr(f"{module}.kernels", lambda: kernels)
    trainer, names = trained(backend, CHANGES)
    random = np.random.default_rng(0)
    inputs = {name: np.zeros((8, 16), np.int32) for name in names}
    inputs["padding_mask"][:] = np.arange(16) < random.integers(4, 17, (8, 1))
    found = []
    for _ in range(steps):
        inputs["token_ids"][:] = random.integers(5, 400, (8, 16))
        labels = (inputs["token_ids"][:, 1] % 2).astype(np.int32)
        found.append(float(trainer.step(inputs, labels, np.ones(8, np.float32))[0]))
    return found


def trained(backend: Backend, changes: dict[str, object]) -> tuple[Any, tuple[str, ...]]:
    """A trainer of a nano model, and the names of its inputs."""
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides=changes))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=1, rates=[1e-3] * 20)
    trainer = backend.trainer(
        model,
        optimizer,
        softmax_cross_entropy,
        precision=changes["training.precision"],  # type: ignore[arg-type]
    )
    return trainer, inference.input_names(model)


@pytest.fixture(scope="module")
def expected(backend: Backend) -> list[float]:
    """Losses of twenty steps with plain products."""
    with pytest.MonkeyPatch.context() as patch:
        return losses(Kernels(), backend, patch, 20)


@pytest.mark.slow
def test_twenty_steps_are_those_of_plain_products(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, expected: list[float]
) -> None:
    for platform in PLATFORMS:
        found = losses(AcceleratorKernels(platform, interpret=True), backend, monkeypatch, 20)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected[0] != expected[-1]


@pytest.mark.parametrize("platform", PLATFORMS)
def test_masks_of_another_step_would_be_seen(
    platform: Platform, backend: Backend, monkeypatch: pytest.MonkeyPatch, expected: list[float]
) -> None:
    """The comparison above can fail: with one mask of three drawn from another state."""
    if platform == "gpu":
        other = with_other_masks(attention)
        monkeypatch.setattr("zoo.backend.transformer_jax.pallas_attention.attention", other)
    else:
        other = with_other_masks(pallas_feedforward.feedforward)
        monkeypatch.setattr("zoo.backend.transformer_jax.pallas_feedforward.feedforward", other)
    found = losses(AcceleratorKernels(platform, interpret=True), backend, monkeypatch, 3)
    assert np.abs(np.subtract(found, expected[:3])).max() > 1e-4


def with_other_masks(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: function(*given[:-2], given[-2] + 1, given[-1])


@pytest.mark.parametrize(("platform", "kernel"), [("tpu", "tpu_custom_call"), ("gpu", "triton")])
def test_a_step_is_lowered_for_a_device_that_is_not_here(backend: Backend, platform: str, kernel: str) -> None:
    """Whole, in bfloat16, forward and backward by the device's kernels; XLA would compile what comes out."""
    with compiled_for(platform):
        trainer, names = trained(backend, CHANGES | {"training.precision": "bfloat16"})
        state = tuple([variable.value for variable in group] for group in trainer._groups)
        inputs = {name: np.ones((8, 16), np.int32) for name in names}
        traced = trainer._step.trace(state, inputs, np.zeros(8, np.int32), np.ones(8, np.float32))
        text = traced.lower(lowering_platforms=({"gpu": "cuda"}.get(platform, platform),)).as_text()
    assert text.count(f"{kernel}(") + text.count(f'{kernel}"') >= 2
    assert "8x4x16x16" not in text, "scores are written"
    if platform == "tpu":
        names = {f"{half}_{way}" for half in ("attention_half", "feedforward") for way in ("forward", "backward")}
        assert names == set(re.findall(r'kernel_name = "(\w+)"', text))


@pytest.mark.slow
def test_devices_that_share_a_batch_draw_one_mask() -> None:
    """On two devices as on one: values, and gradients that are summed over the devices."""
    script = Path(__file__).with_name("sharded_kernels.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["tpu", "gpu", "halves"]
