"""A finished model on disk: the folder `model/` of a run.

In come a model, its card and its tokenizer; out come three files that hold all that prediction needs, readable on any
backend: model.json, tokenizer.json, weights.safetensors; and their manifest. Refused: weights that are not those of the
card.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from zoo.data.manifest import write_manifest
from zoo.data.run_model import MODEL_FILE
from zoo.data.tokens import Tokenizer
from zoo.data.writing import storage_errors, write_atomically, write_folder
from zoo.errors import EnvironmentFault, OutputError
from zoo.models import weights
from zoo.models.blueprint import TOKENIZER, WEIGHTS, ModelCard, dump_card
from zoo.models.builder import assemble_model
from zoo.recipe.heads import ContrastiveHead, MaskedHead

__all__ = ["load_model", "save_model"]


def save_model(folder: Path, model: Any, card: ModelCard, tokenizer: Tokenizer) -> None:
    """Write the folder, whole or not at all; one that an interrupted run left there makes way."""
    with storage_errors(folder):
        if folder.exists():
            shutil.rmtree(folder)
        with write_folder(folder) as partial:
            weights.save(weights.parameters(model), partial / WEIGHTS)
            with write_atomically(partial / TOKENIZER) as stream:
                stream.write(tokenizer.to_json().encode())
            with write_atomically(partial / MODEL_FILE) as stream:
                stream.write(dump_card(card))
            write_manifest(partial)


def load_model(folder: Path, card: ModelCard, *, precision: str = "float32", task: str | None = None) -> Any:
    """The keras.Model of a card with its saved weights.

    Args:
        folder: where they lie.
        card: of the model; of one of several tasks, its own.
        precision: of its matrix products.
        task: which of several it is; None is all that the folder has.

    Raises:
        OutputError: the weights are missing or damaged.
    """
    blueprint = card.blueprint
    own = [each.units for each in blueprint.tasks.values()] or [blueprint.units]
    outputs = 0 if isinstance(blueprint.head, MaskedHead | ContrastiveHead) else sum(own)
    try:
        weights.refuse_bloated(blueprint.backbone, [folder / WEIGHTS], outputs=outputs)
        model = assemble_model(blueprint, precision=precision)
        weights.load(weights.parameters(model), folder / WEIGHTS, task=task)
    except EnvironmentFault as error:
        raise OutputError(f"{folder / WEIGHTS} does not hold the weights of the model: train again") from error
    return model
