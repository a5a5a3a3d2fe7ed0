"""Sound files of each kind, for tests that damage them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo.data.backbones import locate_backbone
from zoo.data.catalog import vocabulary_folder
from zoo.data.sources.request import Brought, Request, Unreachable
from zoo.data.tokens import load_tokenizer
from zoo.models.backbone import DEFAULTS, BackboneConfig
from zoo.models.blueprint import Blueprint, ModelCard, dump_card, load_card
from zoo.models.builder import plan
from zoo.recipe import recipe_from
from zoo.recipe.heads import ClassifierHead
from zoo.recipe.types import Tokens
from zoo.tasks.classification import Classification

NANO = vocabulary_folder("nano_uncased")
SIZES = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
HUGGING_FACE: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "vocab_size": 30522,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "hidden_size": 8,
    "intermediate_size": 16,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "classifier_dropout": None,
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "id2label": {"0": "negative", "1": "positive"},
    "problem_type": "single_label_classification",
}
KERAS: dict[str, Any] = {
    "class_name": "BertBackbone",
    "config": {**SIZES, "vocabulary_size": 30522, "max_sequence_length": 64, "num_segments": 2, "dropout": 0.1},
}


def unreachable(request: Request) -> Brought:
    raise Unreachable("away")


def preset(folder: Path, config: str) -> Any:
    """A recipe's plan for a folder with this config.json; no weights are read."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(config, encoding="utf-8", errors="surrogatepass")
    for name in ("model.safetensors", "model.weights.h5"):
        (folder / name).touch()
    backbone = {"family": "bert", "preset": str(folder)}
    recipe = recipe_from({"name": "x", "data": {"dataset": "smoke_reviews"}, "model": {"backbone": backbone}})
    recipe = recipe.override({"tokens.max_length": 16})
    found = locate_backbone(recipe.model.backbone)
    return plan(recipe, preset=found, tokenizer=load_tokenizer(NANO), task=Classification(names=("no", "yes")))


def model_card() -> dict[str, Any]:
    config = BackboneConfig(family="bert", vocabulary_size=512, max_positions=64, **SIZES, **DEFAULTS["bert"])
    blueprint = Blueprint(backbone=config, head=ClassifierHead(dropout=0.1), units=2)
    card = ModelCard(blueprint=blueprint, tokens=Tokens(), task=Classification(names=("a", "b")))
    told: dict[str, Any] = json.loads(dump_card(card))
    return told


def open_model(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    (folder / "tokenizer.json").write_text(load_tokenizer(NANO).to_json(), encoding="utf-8")
    load_card(folder)
