"""`--to keras`, `--to keras_hub` and `--to tf_saved_model`: files that need Keras, keras-hub or TensorFlow alone.

In comes a `Source`; out come model.keras, a preset folder, or a SavedModel, all of stock layers (zoo.export.stock), so
that they load where the zoo is not installed. The checks load them anew in this process. Refused: a preset of
layers that keras-hub's classes do not have; a SavedModel on another backend than TensorFlow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from zoo.backend import activate, without_tensorflow
from zoo.errors import RecipeError
from zoo.export.source import FEW, Rows, Source, cutting_notes, program
from zoo.models import weights
from zoo.models.blueprint import Blueprint
from zoo.models.families import FAMILIES
from zoo.recipe.heads import MaskedHead

FILE = "model.keras"


def rows(source: Source) -> Rows:
    return source.rows(FEW, whole=source.card.tokens.long == "window")


def _filled(source: Source) -> Any:
    from zoo.export.stock import stock_model

    model = stock_model(source.card.blueprint)
    found = {variable.path: variable for variable in weights.parameters(model)}
    if isinstance(source.card.blueprint.head, MaskedHead):
        table = next(value for path, value in source.arrays.items() if path.endswith("token_embedding/embeddings"))
        found.pop("logits/kernel").assign(table.T)
    source.fill(found.values())
    return model


def _values(source: Source, model: Any, chosen: Rows) -> np.ndarray:
    """Of a Keras model, in batches of a single length: a backend that compiles does so once."""
    return source.values(
        activate().predictor(model, precision="float32"), chosen, lengths=[int(chosen.table.lengths.max())]
    )


def _beside(source: Source, folder: Path) -> None:
    """The vocabulary, and what the classes are called and how texts are cut."""
    (folder / "tokenizer.json").write_text(source.tokenizer.to_json(), encoding="utf-8")
    (folder / "text_zoo.json").write_text(source.description_text(), encoding="utf-8")


# --- one .keras file ----------------------------------------------------------------------------


def write_keras(source: Source, folder: Path) -> list[str]:
    """Write model.keras: token ids in, logits out."""
    activate()
    model = _filled(source)
    with without_tensorflow():
        model.save(folder / FILE)
    _beside(source, folder)
    return []


def check_keras(source: Source, folder: Path, chosen: Rows) -> tuple[str, np.ndarray]:
    import keras

    with without_tensorflow():
        model = keras.saving.load_model(folder / FILE)
    return program("keras", "keras-hub"), _values(source, model, chosen)


# --- keras-hub's preset -------------------------------------------------------------------------


def write_keras_hub(source: Source, folder: Path) -> list[str]:
    """Write a preset of a text classifier."""
    activate()
    from zoo.export.stock import is_class_of_keras_hub

    blueprint = source.card.blueprint
    if blueprint.head.each == "token":
        raise RecipeError("--to keras_hub: keras-hub has no model with an answer for every token: use --to keras or hf")
    known = is_class_of_keras_hub(blueprint.backbone)
    if not known and blueprint.backbone.family != "bert":
        config = blueprint.backbone
        raise RecipeError(
            f"--to keras_hub: keras-hub's {FAMILIES[config.family].class_prefix}Backbone fixes the activation and "
            f"the layer norms' epsilon, and this model has {config.activation} and {config.layer_norm_epsilon:g}: use "
            "--to keras"
        )
    with without_tensorflow():
        _task(source, blueprint, known).save_to_preset(str(folder))
    (folder / "text_zoo.json").write_text(source.description_text(), encoding="utf-8")
    notes = cutting_notes(source, ["head"], "keras-hub's preprocessor")
    if not known:
        notes.append(
            "keras-hub's BertBackbone fixes another GELU or epsilon than this model has: the preset holds its backbone "
            "as a plain keras.Model, which TextClassifier.from_preset loads and Backbone.from_preset does not"
        )
    return notes


def _task(source: Source, blueprint: Blueprint, known: bool) -> Any:
    with without_tensorflow():
        import keras_hub

    from zoo.export.stock import stock_backbone
    from zoo.models.encoder import keras_hub_backbone

    config, name = blueprint.backbone, FAMILIES[blueprint.backbone.family].class_prefix
    backbone = keras_hub_backbone(config) if known else stock_backbone(config)
    task = getattr(keras_hub.models, f"{name}TextClassifier")(
        backbone=backbone,
        num_classes=blueprint.units,
        preprocessor=_preprocessor(source, name),
        dropout=blueprint.head.dropout,
    )
    source.fill(weights.parameters(backbone))
    for layer, ours in (("pooled_dense", "head_dense"), ("logits", "logits")):
        if f"{ours}/kernel" in source.arrays:
            task.get_layer(layer).set_weights([source.arrays[f"{ours}/{part}"] for part in ("kernel", "bias")])
    return task


def _preprocessor(source: Source, name: str) -> Any:
    import keras_hub

    vocabulary = json.loads(source.tokenizer.to_json())
    entries = source.tokenizer.rust.get_vocab(with_added_tokens=True)
    mask = "<mask>" if name == "Roberta" else "[MASK]"
    if mask not in entries:
        raise RecipeError(
            f"--to keras_hub: keras-hub wants {mask} in the vocabulary, and it is not there: use --to keras"
        )
    kind = getattr(keras_hub.models, f"{name}Tokenizer")
    if vocabulary["model"]["type"] == "WordPiece" and name != "Roberta":
        normalizer = vocabulary.get("normalizer") or {}
        lowercase = bool(normalizer.get("lowercase"))
        accents = normalizer.get("strip_accents")
        tokenizer = kind(
            vocabulary=sorted(entries, key=entries.__getitem__),
            lowercase=lowercase,
            strip_accents=lowercase if accents is None else accents,  # as the original BERT takes None
        )
    elif vocabulary["model"]["type"] == "BPE" and name == "Roberta":
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in vocabulary["model"]["merges"]]
        prefix = bool((vocabulary.get("pre_tokenizer") or {}).get("add_prefix_space"))
        tokenizer = kind(vocabulary=entries, merges=merges, add_prefix_space=prefix)
    else:
        raise RecipeError(
            f"--to keras_hub: the vocabulary is of the kind {vocabulary['model']['type']}, and keras-hub has no such "
            f"tokenizer for {name}: use --to keras"
        )
    return getattr(keras_hub.models, f"{name}TextClassifierPreprocessor")(
        tokenizer=tokenizer, sequence_length=source.card.tokens.max_length
    )


def check_keras_hub(source: Source, folder: Path, chosen: Rows) -> tuple[str, np.ndarray]:
    """keras-hub's name, and its values for the run's own tokens."""
    import keras_hub

    with without_tensorflow():
        task = keras_hub.models.TextClassifier.from_preset(str(folder))
    return program("keras-hub"), _values(source, task, chosen)


def tokens_that_differ(source: Source, folder: Path, chosen: Rows) -> list[str]:
    """A warning where keras-hub's own tokenizer makes other tokens of some texts than the run does."""
    import keras_hub

    with without_tensorflow():
        task = keras_hub.models.TextClassifier.from_preset(str(folder), load_weights=False)
        found = task.preprocessor(chosen.texts if chosen.pairs is None else (chosen.texts, chosen.pairs))
    ids, mask = (np.asarray(found[name]).astype(int) for name in ("token_ids", "padding_mask"))
    table = chosen.table
    wrong = sum(
        ids[row][mask[row] > 0].tolist() != table.ids[table.offsets[row] : table.offsets[row + 1]].tolist()
        for row in range(len(chosen))
    )
    if not wrong:
        return []
    return [
        f"keras-hub's tokenizer makes other tokens than the run's of {wrong} of {len(chosen)} texts, and so other "
        "probabilities; with the run's own tokens they are equal. Tokenize with the run's model/tokenizer.json"
    ]


# --- SavedModel ---------------------------------------------------------------------------------


def write_saved_model(source: Source, folder: Path) -> list[str]:
    """Write a SavedModel whose signature serving_default takes any batch and length and gives logits."""
    activate().save_graph(_filled(source), folder)
    _beside(source, folder)
    return []


def check_saved_model(source: Source, folder: Path, chosen: Rows) -> tuple[str, np.ndarray]:
    return program("tensorflow"), source.values(activate().load_graph(folder), chosen)
