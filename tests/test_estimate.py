"""The estimate of memory knows which masks of dropout a run keeps."""

from __future__ import annotations

from typing import Any

import pytest

import recipes
from zoo.recipe.estimate import Dimensions, estimate

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
        ({"dropout": None}, 34, 5),  # the checkpoint's own: nothing is known, so all of it counts
        ({"dropout": 0.1}, 34, 5),
        ({"dropout": 0.0}, 32, 2),
        ({"dropout": 0.0, "attention_dropout": 0.1}, 32, 5),
        ({"dropout": 0.1, "attention_dropout": 0.0}, 34, 2),
        ({"dropout": None, "attention_dropout": 0.0}, 34, 2),
    ],
)
def test_masks_of_dropout(rates: dict[str, float | None], per_width: int, per_pair: int) -> None:
    assert kept(**rates) == per_width * SIZE.hidden_dim + per_pair * SIZE.num_heads * ROW
