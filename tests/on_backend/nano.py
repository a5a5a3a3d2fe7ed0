"""Nano models and what they are compared with, for the checks beside this file."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.backbones import Checkpoint
from zoo.model import inference, weights
from zoo.model.backbone import DEFAULTS, BackboneConfig, assemble
from zoo.model.builder import Blueprint, build_model
from zoo.model.checkpoints import read_config
from zoo.recipe import Recipe, recipe_from
from zoo.recipe.types import BinaryHead, ClassifierHead

FAMILIES = ("bert", "distilbert", "roberta")
KINDS = [(family, activation) for family in FAMILIES for activation in ("gelu", "gelu_new")]
TOLERANCE = 1e-4


def checkpoint(folder: Path, family: str, layout: str = "hf") -> Checkpoint:
    return Checkpoint(path=folder, layout=layout, family=family, name=folder.name)  # type: ignore[arg-type]


def backbone_of(found: Checkpoint) -> Any:
    config = read_config(found, dropout=None)
    backbone = assemble(config, dtype="float32")
    weights.load_hugging_face(backbone, config, found.path, head=False)
    return backbone


def classifier_of(found: Checkpoint, head: ClassifierHead | BinaryHead, classes: int = 3) -> Any:
    blueprint = Blueprint(backbone=read_config(found, dropout=None), head=head, classes=classes)
    return build_model(blueprint, checkpoint=found, seed=0, precision="float32")


def call(model: Any, inputs: dict[str, np.ndarray]) -> Any:
    return model({name: inputs[name] for name in inference.input_names(model)}, training=False)


def hidden_states(backbone: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
    output = call(backbone, inputs)
    return inference.to_host(output["sequence_output"] if isinstance(output, dict) else output)


def inputs_of(reference: Any, rows: slice = slice(None), length: int | None = None) -> dict[str, np.ndarray]:
    return {name: reference[name][rows, :length] for name in ("token_ids", "padding_mask", "segment_ids")}


def assert_hidden_states(backbone: Any, reference: Any, tolerance: float = TOLERANCE) -> None:
    """Equal at all real tokens, in a padded batch and row by row without padding."""
    mask = reference["padding_mask"].astype(bool)
    ours = hidden_states(backbone, inputs_of(reference))
    np.testing.assert_allclose(ours[mask], reference["hidden"][mask], rtol=0, atol=tolerance)
    for row in (0, 1):
        length = int(mask[row].sum())
        alone = hidden_states(backbone, inputs_of(reference, slice(row, row + 1), length))
        np.testing.assert_allclose(alone[0], reference["hidden"][row, :length], rtol=0, atol=tolerance)


def drawn(path: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """What weights.draw says it does, written another way: redraw each value until it lies within two deviations."""
    random = np.random.Generator(np.random.PCG64([seed, zlib.crc32(path.encode())]))
    flat = random.standard_normal(int(np.prod(shape)))
    while len(places := np.flatnonzero((flat < -2) | (flat > 2))):
        flat[places] = random.standard_normal(len(places))
    return (0.02 * flat).reshape(shape).astype(np.float32)


def tiny_config(family: Any) -> BackboneConfig:
    """The smallest backbone of a family that can be built."""
    return BackboneConfig(
        family=family,
        vocabulary_size=10,
        num_layers=1,
        num_heads=1,
        hidden_dim=4,
        intermediate_dim=8,
        max_positions=8,
        **DEFAULTS[family],
    )


def nano_recipe(changes: dict[str, Any] | None = None) -> Recipe:
    return recipe_from(
        {
            "name": "nano",
            "data": {"dataset": "smoke_reviews"},
            "tokens": {"max_length": 32},
            "model": {
                "backbone": {
                    "family": "bert",
                    "num_layers": 1,
                    "num_heads": 2,
                    "hidden_dim": 8,
                    "intermediate_dim": 16,
                    "vocabulary": "nano_uncased",
                }
            },
        },
        overrides=changes or {},
    )
