"""A finished model in Hugging Face's layout: what `weights` and `presets` read, the other way round.

In come a `ModelCard`, its tokenizer and the arrays of its weights; out come the tensors and the configs of a
transformers model of the run's kind. The names are those of the tables that reading uses. Refused: a
DistilBERT whose layer norms have another epsilon than transformers', which knows one alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.data.tokens import Tokenizer
from zoo.errors import RecipeError
from zoo.models.backbone import ACTIVATIONS, BackboneConfig
from zoo.models.blueprint import ModelCard
from zoo.models.families import FAMILIES
from zoo.models.presets import HUGGING_FACE_EPSILON, hugging_face_keys
from zoo.models.weights import HEAD_LAYERS, HUGGING_FACE_PARTS, POSITIONS, SEQUENCE, TYPES, WORDS

SIDES = {"head": "right", "head_tail": "right", "tail": "left"}
"""Which side of a text transformers has to cut, by what stays; it cannot cut in the middle."""


def refuse_what_differs(config: BackboneConfig) -> None:
    """Raise RecipeError where transformers has no model that computes what this one does."""
    if config.family == "distilbert" and config.layer_norm_epsilon != HUGGING_FACE_EPSILON:
        raise RecipeError(
            f"--to hf: the layer norms of this DistilBERT have the epsilon {config.layer_norm_epsilon:g}, and those of "
            f"transformers' have {HUGGING_FACE_EPSILON:g} and cannot be told otherwise: use --to onnx or --to keras"
        )


def tensors(arrays: Mapping[str, np.ndarray], config: BackboneConfig, *, head: str, pad: int) -> dict[str, np.ndarray]:
    """The tensors of model.safetensors.

    RoBERTa's token type is zero: reading has added it into the positions. Its first rows of positions belong to
    padding, as many as the padding id plus one, and are zero too.

    Args:
        arrays: weights by the path of their variable, as `weights.save` writes them.
        config: of the backbone.
        head: the kind of head, see `Family.heads`.
        pad: the padding id.
    """
    found: dict[str, np.ndarray] = {}
    for path, value in arrays.items():
        layer, _, part = path.rpartition("/")
        if layer.endswith("_embedding"):
            found |= {f"{config.family}.{name}": table for name, table in _embedding(layer, value, config, pad).items()}
            continue
        if layer == "pooled_dense" and head != SEQUENCE:
            continue  # transformers leaves out what the head has no use for
        module = FAMILIES[config.family].module(layer, head)
        # Hugging Face's prefix is that of the encoder, and BERT's pooler is part of it.
        name = f"{module}.{HUGGING_FACE_PARTS[part]}"
        found[name if layer in HEAD_LAYERS else f"{config.family}.{name}"] = _torch_layout(layer, part, value)
    return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}


def _torch_layout(layer: str, part: str, value: np.ndarray) -> np.ndarray:
    if part == "bias":
        return value.reshape(-1)
    if part != "kernel":
        return value
    # Kernels of attention are [hidden, heads, head_dim] and [heads, head_dim, hidden] in Keras.
    outputs = value.shape[-1] if layer.endswith("attention_output") else int(np.prod(value.shape[1:]))
    return value.reshape(-1, outputs).T


def _embedding(layer: str, value: np.ndarray, config: BackboneConfig, pad: int) -> dict[str, np.ndarray]:
    kind = layer.rpartition("/")[2]
    if kind == "token_embedding":
        return {WORDS: value}
    if kind == "segment_embedding":
        return {TYPES: value}
    if config.family != "roberta":
        return {POSITIONS: value}
    width = value.shape[1]
    return {
        POSITIONS: np.concatenate([np.zeros((pad + 1, width), value.dtype), value]),
        TYPES: np.zeros((1, width), value.dtype),
    }


def model_config(card: ModelCard, tokenizer: Tokenizer) -> dict[str, Any]:
    """config.json. What transformers has no key for stands under `text_zoo`."""
    config, task = card.blueprint.backbone, card.task
    family, key, pad = config.family, hugging_face_keys(config.family), tokenizer.specials.pad
    found: dict[str, Any] = {
        "architectures": [f"{FAMILIES[family].class_prefix}For{card.blueprint.head.program}"],
        "model_type": family,
        key["vocabulary_size"]: config.vocabulary_size,
        key["num_layers"]: config.num_layers,
        key["num_heads"]: config.num_heads,
        key["hidden_dim"]: config.hidden_dim,
        key["intermediate_dim"]: config.intermediate_dim,
        key["max_positions"]: config.max_positions + (pad + 1 if family == "roberta" else 0),
        key["activation"]: next(name for name, kind in ACTIVATIONS.items() if kind == config.activation),
        key["dropout"]: config.dropout,
        key["attention_dropout"]: config.attention_dropout,
        key["head_dropout"]: card.blueprint.head.dropout,
        "pad_token_id": pad,
        "problem_type": task.problem_type,
        "dtype": "float32",
        "text_zoo": {
            "label_names": list(task.names),
            "threshold": task.threshold,
            "tokens": card.tokens.model_dump(mode="json"),
        },
    }
    if task.unit_names:
        found["id2label"] = {str(number): name for number, name in enumerate(task.unit_names)}
        found["label2id"] = {name: number for number, name in enumerate(task.unit_names)}
    if family != "distilbert":
        found["layer_norm_eps"] = config.layer_norm_epsilon
        found["type_vocab_size"] = config.num_segments or 1
    if family == "roberta":
        found |= {"bos_token_id": tokenizer.specials.start, "eos_token_id": tokenizer.specials.end}
    return found


def tokenizer_files(card: ModelCard, tokenizer: Tokenizer) -> dict[str, str]:
    """tokenizer.json and tokenizer_config.json, by name.

    The class is the one that takes tokenizer.json as it stands; those of the families build the normaliser anew from
    settings that do not say all of it.
    """
    specials = tokenizer.specials
    start, end, pad = tokenizer.pieces([specials.start, specials.end, specials.pad])
    unknown, mask = ("[UNK]", "[MASK]") if start == "[CLS]" else ("<unk>", "<mask>")
    named = {"cls_token": start, "sep_token": end, "pad_token": pad, "unk_token": unknown}
    if start != "[CLS]":
        named |= {"bos_token": start, "eos_token": end}
    if tokenizer.rust.token_to_id(mask) is not None:
        named["mask_token"] = mask
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    if card.blueprint.backbone.num_segments is None:
        inputs.remove("token_type_ids")
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": card.tokens.max_length,
        "truncation_side": SIDES[card.tokens.truncation],
        "padding_side": "right",
        "model_input_names": inputs,
        "clean_up_tokenization_spaces": False,
        **named,
    }
    return {
        "tokenizer.json": tokenizer.to_json(),
        "tokenizer_config.json": json.dumps(settings, indent=2, ensure_ascii=False) + "\n",
    }
