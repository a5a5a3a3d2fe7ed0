"""Attention by Pallas: computed by its interpreter, and lowered for devices that are not here."""

from __future__ import annotations

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
from zoo.backend import Backend, compiled_for
from zoo.backend.pallas_attention import Platform, Shape, attention, fits
from zoo.backend.transformer import MASKED, Kernels, least_kept
from zoo.backend.transformer_jax import AcceleratorKernels
from zoo.models import inference
from zoo.recipe.types import AdamW
from zoo.tasks.classification import softmax_cross_entropy
from zoo.training.optimizer import build_optimizer

PLATFORMS: tuple[Platform, ...] = ("tpu", "gpu")
STATE = jnp.array([123456, 7], jnp.int32)


def plain(qkv: Any, bias: Any, seen: Any, shape: Shape, rate: float) -> Any:
    """What `attention` computes, its scores and masks written."""
    split = (qkv + bias).reshape(shape.batch, shape.length, 3, shape.heads, shape.width)
    query, key, value = split.transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2) * shape.width**-0.5
    weights = jax.nn.softmax(scores + jnp.where(seen[:, None] != 0, 0.0, MASKED))
    if rate:
        weights = weights * Kernels().keep_mask(STATE, weights.shape, rate) * shape.scale
    return (weights @ value).transpose(0, 2, 1, 3).reshape(*qkv.shape[:2], shape.hidden)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("length", "heads", "width", "rate", "packed"),
    [(40, 4, 32, 0.1, False), (70, 4, 64, 0.1, True), (33, 8, 16, 0.0, False)],
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


def test_what_does_not_fit_is_left_to_plain_products() -> None:
    assert not fits("tpu", 128, 3, 16)  # 48 lanes of 128
    assert not fits("tpu", 2048, 4, 32)
    assert not fits("gpu", 128, 4, 24)


CHANGES = {
    "model.backbone.hidden_dim": 128,
    "model.backbone.num_heads": 4,
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
    model = zoo.build(recipes.load("quickstart", profile="smoke", overrides=changes))
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


def test_twenty_steps_are_those_of_plain_products(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, expected: list[float]
) -> None:
    for platform in PLATFORMS:
        found = losses(AcceleratorKernels(platform, interpret=True), backend, monkeypatch, 20)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert expected[0] != expected[-1]


def test_masks_of_another_step_would_be_seen(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, expected: list[float]
) -> None:
    """The comparison above can fail: with the masks of attention alone drawn from another state."""
    monkeypatch.setattr("zoo.backend.transformer_jax.pallas_attention.attention", with_other_masks(attention))
    found = losses(AcceleratorKernels("tpu", interpret=True), backend, monkeypatch, 3)
    assert np.abs(np.subtract(found, expected[:3])).max() > 1e-4


def with_other_masks(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda qkv, bias, seen, state, shape: function(qkv, bias, seen, state + 1, shape)


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


def test_devices_that_share_a_batch_draw_one_mask() -> None:
    """On two devices as on one: values, and gradients that are summed over the devices."""
    script = Path(__file__).with_name("sharded_attention.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["tpu", "gpu"]
