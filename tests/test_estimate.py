"""The estimate of memory knows which masks of dropout a run keeps, and holds against a real run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import recipes
from zoo import check
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import divided_told, estimate

SIZE = Dimensions(num_layers=2, num_heads=3, hidden_dim=48, intermediate_dim=64, vocabulary_size=100, max_positions=512)
ROW = 16
"""Tokens a row, and one row a batch."""


def kept(**rates: float | None) -> float:
    """Bytes a layer and token at two bytes a value, with these rates of the backbone's dropout."""
    small: dict[str, Any] = {"training.batch_size": 1, "tokens.max_length": ROW}
    changes = small | {f"model.backbone.{key}": rate for key, rate in rates.items()}
    found = estimate(recipes.load("quickstart", overrides=changes), SIZE, rows=10)
    return found.activations["bfloat16"] / (SIZE.num_layers * ROW)


@pytest.mark.parametrize(
    ("rates", "per_width", "per_pair"),
    [
        ({"dropout": None}, 34, 5),  # the preset's own: nothing is known, so all of it counts
        ({"dropout": 0.1}, 34, 5),
        ({"dropout": 0.0}, 32, 2),
        ({"dropout": 0.0, "attention_dropout": 0.1}, 32, 5),
        ({"dropout": 0.1, "attention_dropout": 0.0}, 34, 2),
        ({"dropout": None, "attention_dropout": 0.0}, 34, 2),
    ],
)
def test_masks_of_dropout(rates: dict[str, float | None], per_width: int, per_pair: int) -> None:
    assert kept(**rates) == per_width * SIZE.hidden_dim + per_pair * SIZE.num_heads * ROW


def test_parts_of_a_batch_and_layers_computed_again() -> None:
    def found(**changes: Any) -> Any:
        given = {f"training.{key}": value for key, value in {"batch_size": 8, "packing": False, **changes}.items()}
        return estimate(recipes.load("quickstart", overrides={"tokens.max_length": ROW, **given}), SIZE, rows=80)

    whole, again, parts = found(), found(remat=True), found(accumulate=4)
    assert parts.activations["float32"] * 4 == whole.activations["float32"]
    given = 2 * 8 * ROW * SIZE.hidden_dim  # what a layer was given, 2 bytes a value
    assert again.activations["bfloat16"] == whole.activations["bfloat16"] // SIZE.num_layers + SIZE.num_layers * given
    assert (again.flops_per_token, parts.flops_per_token) == (whole.flops_per_token * 4 // 3, whole.flops_per_token)
    moved = found(adversarial={})  # one pass after the other
    assert (moved.flops_per_token, moved.activations) == (2 * whole.flops_per_token, whole.activations)
    twice = found(r_drop={})
    assert twice.flops_per_token == 2 * whole.flops_per_token
    assert twice.activations["float32"] == 2 * whole.activations["float32"]


BASE = Dimensions(
    num_layers=12, num_heads=12, hidden_dim=768, intermediate_dim=3072, vocabulary_size=30522, max_positions=512
)
HEAD = 768 * 768 + 768


@pytest.mark.parametrize(
    ("keys", "weights", "share", "layers"),
    [
        ({}, 109_482_240, 1.0, 12),
        ({"freeze": {"layers": "all"}}, HEAD, 1 / 3, 0),
        ({"freeze": {"layers": 6}}, 6 * 7_087_872 + HEAD, 2 / 3, 6),
        ({"freeze": {"layers": 0}}, 12 * 7_087_872 + HEAD, 1.0, 12),
        ({"lora": {"rank": 8}}, 294_912 + HEAD, None, 12),  # as peft counts BERT-Base's with query and value
        ({"train": "biases"}, 12 * 8_448 + 768 + HEAD, None, 12),
    ],
)
def test_what_is_not_trained_costs_less(keys: dict[str, Any], weights: int, share: float | None, layers: int) -> None:
    """Gradients, moments, the backward pass, and what it keeps."""
    found, whole = (
        estimate(
            recipes.load("imdb_bert", overrides={f"training.{key}": value for key, value in given.items()}), BASE, 10
        )
        for given in (keys, {})
    )
    assert found.trained == weights
    assert found.moments == 2 * weights
    assert found.parameters == whole.parameters
    assert found.activations["float32"] * 12 == whole.activations["float32"] * layers
    if share is None:  # products' weights have no gradient of their own
        assert 2 / 3 < found.flops_per_token / whole.flops_per_token < 3 / 4
    else:
        assert found.flops_per_token == pytest.approx(share * whole.flops_per_token, rel=1e-6)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (2, 12 * 6 * 768 + 2 * 768),  # output biases and norms of the layers, the norm of the embeddings
        (8, 12 * (6 * 768 + 4 * 768**2 + 3 * 768) + 2 * 768),  # twelve heads are not shared by eight
    ],
)
def test_weights_that_devices_share_out(parts: int, whole: int) -> None:
    """Of weights, gradients and both moments a part, and of a layer's activations what lies within its halves."""
    changes = {"training.devices": 2 * parts, "training.model_parallel": parts, "training.batch_size": 32}
    found, apart = (estimate(recipes.load("imdb_bert", overrides=given), BASE, 10) for given in (changes, {}))
    cut = BASE.parameters - whole
    assert found.cut == pytest.approx(4 * cut, rel=1e-9)
    assert found.state_bytes == pytest.approx(16 * (whole + cut / parts), rel=1e-6)
    assert (apart.cut, apart.state_bytes) == (0, 16 * BASE.parameters)
    by_heads = 2 if parts == 2 else 1
    tokens, pairs = 32 // 2 * 512, 5 * 12 * 512 / by_heads  # two groups share the rows
    per_layer = tokens * ((10 + 8 / by_heads + 16 / parts) * 768 + pairs)
    assert found.activations["bfloat16"] == pytest.approx(12 * per_layer, rel=1e-6)
    figures = asdict(found) | {"parameters": found.parameters, "state_bytes": found.state_bytes}
    (told,) = divided_told(figures)
    assert f"model_parallel {parts}: of weights, gradients and moments each device has" in told
    assert f"{found.state_bytes / 1e6:,.0f} MB, in place of 1,752 MB" in told
    assert divided_told(asdict(apart)) == divided_told({}) == []


def test_scores_of_hidden_tokens() -> None:
    changes = {"training.batch_size": 8, "tokens": {"max_length": 20}}
    masked = recipes.load("imdb_masked", overrides=changes)
    without = recipes.load("quickstart", overrides={**changes, "model.backbone.dropout": 0.1})
    found, other = (estimate(recipe, SIZE, rows=80) for recipe in (masked, without))
    assert found.activations["bfloat16"] - other.activations["bfloat16"] == 8 * (8 * 3) * SIZE.vocabulary_size
    assert found.flops_per_token > other.flops_per_token


@pytest.mark.slow
@pytest.mark.parametrize("length", [128, 256])
@pytest.mark.parametrize("backend", ["jax", "tensorflow", "torch"])
def test_memory_of_a_run_is_within_a_quarter(backend: str, length: int, real_cache: Path, tmp_path: Path) -> None:
    """Whole reviews, so that rows are as long as the recipe allows; the second run, in which nothing is compiled."""
    changes = {"tokens.max_length": length, "training.epochs": 1, "training.precision": "float32"}
    changes |= {"data.limit.train": 180, "data.limit.test": 64}
    command = [sys.executable, "-m", "zoo.run", "imdb_bert", "--profile", "cpu", "--out"]
    folders = [str(tmp_path / name) for name in ("first", "run")]
    settings = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    variables = {**os.environ, "KERAS_BACKEND": backend, "ZOO_CACHE": str(real_cache)}
    for folder in folders:
        subprocess.run([*command, folder, *settings], check=True, capture_output=True, env=variables)
    measured = json.loads((tmp_path / "run/run.json").read_text())["memory"]["peak_bytes"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(real_cache))
        told = check.examine(recipes.path("imdb_bert"), profile="cpu", overrides=changes).estimate
    assert told["process_bytes"][backend]["float32"] == pytest.approx(measured, rel=0.25)
