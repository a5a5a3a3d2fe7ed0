"""What a checkpoint says of itself.

In comes a folder in Hugging Face's or Keras's layout; out comes the `BackboneConfig` it was trained
with. Refused: a checkpoint of another architecture than the recipe names, positions that are not
absolute, a config that cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from zoo.data.backbones import Checkpoint
from zoo.errors import EnvironmentFault, RecipeError
from zoo.model.backbone import DEFAULTS, BackboneConfig, activation_named

KERAS_CLASSES = {"BertBackbone": "bert", "DistilBertBackbone": "distilbert", "RobertaBackbone": "roberta"}


def read_config(checkpoint: Checkpoint, *, dropout: float | None) -> BackboneConfig:
    """The config of a checkpoint, for the family that the recipe asks for.

    Args:
        checkpoint: where it lies, in which layout, for which family.
        dropout: the recipe's rate; None takes the checkpoint's own.

    Raises:
        RecipeError: the checkpoint is of a family that does not fit.
        EnvironmentFault: the config is missing or damaged, or asks for what these backbones do not have.
    """
    path = checkpoint.path / "config.json"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EnvironmentFault(f"{path}: cannot be read as JSON ({error}): fetch it again") from error
    try:
        if checkpoint.layout == "keras":
            return _keras(raw, checkpoint, dropout)
        return _hugging_face(raw, checkpoint, dropout)
    except KeyError as error:
        raise EnvironmentFault(f"{path}: {error} is missing, expected the config of a {checkpoint.family}") from error


def _fits(found: str, checkpoint: Checkpoint) -> None:
    # A BERT without its segments is a DistilBERT (weights.load_hugging_face folds segment 0 in).
    if found == checkpoint.family or (found, checkpoint.family, checkpoint.layout) == ("bert", "distilbert", "hf"):
        return
    raise RecipeError(
        f"model.backbone.family: got {checkpoint.family}, but {checkpoint.name} is a {found} checkpoint: "
        "change the family or the preset"
    )


def _keras(raw: Mapping[str, Any], checkpoint: Checkpoint, dropout: float | None) -> BackboneConfig:
    if raw["class_name"] not in KERAS_CLASSES:
        raise RecipeError(
            f"model.backbone.preset: {checkpoint.name} holds a {raw['class_name']}, "
            f"expected one of {', '.join(KERAS_CLASSES)}"
        )
    family = KERAS_CLASSES[raw["class_name"]]
    _fits(family, checkpoint)
    config = raw["config"]
    # keras-hub's own BERT presets come from Google's checkpoints, trained with tanh-GELU.
    own = {**DEFAULTS[family], "activation": "gelu_tanh"} if family == "bert" else DEFAULTS[family]
    return BackboneConfig(
        family=family,  # type: ignore[arg-type]
        vocabulary_size=config["vocabulary_size"],
        num_layers=config["num_layers"],
        num_heads=config["num_heads"],
        hidden_dim=config["hidden_dim"],
        intermediate_dim=config["intermediate_dim"],
        max_positions=config["max_sequence_length"],
        num_segments=config["num_segments"] if family == "bert" else None,
        activation=checkpoint.activation or own["activation"],
        layer_norm_epsilon=own["layer_norm_epsilon"],
        dropout=config["dropout"] if dropout is None else dropout,
    )


def _hugging_face(raw: Mapping[str, Any], checkpoint: Checkpoint, dropout: float | None) -> BackboneConfig:
    found = raw.get("model_type", "unnamed")
    _fits(found, checkpoint)
    if raw.get("position_embedding_type", "absolute") != "absolute":
        raise EnvironmentFault(
            f"{checkpoint.name}: its positions are {raw['position_embedding_type']}, expected absolute ones"
        )
    distil = found == "distilbert"
    own = DEFAULTS[checkpoint.family]
    positions = raw["max_position_embeddings"]
    rate = raw.get("dropout" if distil else "hidden_dropout_prob", own["dropout"])
    return BackboneConfig(
        family=checkpoint.family,
        vocabulary_size=raw["vocab_size"],
        num_layers=raw["n_layers" if distil else "num_hidden_layers"],
        num_heads=raw["n_heads" if distil else "num_attention_heads"],
        hidden_dim=raw["dim" if distil else "hidden_size"],
        intermediate_dim=raw["hidden_dim" if distil else "intermediate_size"],
        # RoBERTa's first two positions belong to padding.
        max_positions=positions - 2 if found == "roberta" else positions,
        num_segments=raw.get("type_vocab_size", 2) if checkpoint.family == "bert" else None,
        activation=activation_named(raw.get("activation" if distil else "hidden_act", "gelu")),
        layer_norm_epsilon=raw.get("layer_norm_eps", own["layer_norm_epsilon"]),
        dropout=rate if dropout is None else dropout,
    )
