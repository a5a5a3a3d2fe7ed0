"""A finished model on disk: the folder `model/` of a run.

In come a model, its blueprint, its tokenizer and its task; out come three files that hold all
that prediction needs, readable on any backend: model.json, tokenizer.json, weights.safetensors; and
their manifest. Refused: a folder in which one is missing, or not as the manifest says, and a model of an
earlier version, whose model.json says less.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from zoo.data.manifest import MANIFEST, damage, write_manifest
from zoo.data.tokens import Tokenizer
from zoo.data.writing import storage_errors, write_atomically, write_folder
from zoo.errors import EnvironmentFault, OutputError
from zoo.models import weights
from zoo.models.builder import Blueprint, assemble_model
from zoo.recipe.types import Tokens
from zoo.tasks import AnyTask

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What model.json holds.

    blueprint: how the model is assembled; tokens: how texts are cut; task: what it has learned.
    """

    blueprint: Blueprint
    tokens: Tokens
    task: AnyTask


_CARD = TypeAdapter(ModelCard)


def save_model(folder: Path, model: Any, card: ModelCard, tokenizer: Tokenizer) -> None:
    """Write the folder, whole or not at all; one that an interrupted run left there makes way."""
    with storage_errors(folder):
        if folder.exists():
            shutil.rmtree(folder)
        with write_folder(folder) as partial:
            weights.save(weights.parameters(model), partial / WEIGHTS)
            with write_atomically(partial / "tokenizer.json") as stream:
                stream.write(tokenizer.to_json().encode())
            with write_atomically(partial / "model.json") as stream:
                stream.write(_CARD.dump_json(card, indent=2))
            write_manifest(partial)


def load_card(folder: Path) -> tuple[ModelCard, Tokenizer]:
    """What a saved model is, without its weights and without a backend; all its files are checked.

    Raises:
        OutputError: no saved model there, or a damaged one.
    """
    if (folder / MANIFEST).exists() and (fault := damage(folder)):
        raise OutputError(f"{fault}: restore it or train again")
    try:
        description = (folder / "model.json").read_bytes()
        vocabulary = (folder / "tokenizer.json").read_bytes()
    except OSError as error:
        raise OutputError(
            f"{folder}: no finished model there ({error.strerror}): give a run whose training is done, or train again"
        ) from error
    try:
        card = _CARD.validate_json(description, strict=False)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        told = f"{where}: {wrong['msg']}" if where else wrong["msg"]
        raise OutputError(f"{folder}: model.json is damaged ({told}): train again") from error
    try:
        return card, Tokenizer.from_json(vocabulary.decode())
    except Exception as error:  # the Rust library raises nothing narrower
        raise OutputError(f"{folder}: tokenizer.json is damaged ({error}): train again") from error


def load_model(folder: Path, card: ModelCard, *, precision: str = "float32") -> Any:
    """The keras.Model of a card with its saved weights; the precision is that of its matrix products.

    Raises:
        OutputError: the weights are missing or damaged.
    """
    model = assemble_model(card.blueprint, precision=precision)
    try:
        weights.load(weights.parameters(model), folder / WEIGHTS)
    except EnvironmentFault as error:
        raise OutputError(f"{folder / WEIGHTS} does not hold the weights of the model: train again") from error
    return model
