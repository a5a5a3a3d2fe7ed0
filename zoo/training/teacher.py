"""A teacher: a finished run whose outputs a student learns beside the labels.

In comes a recipe with `training.distil`; out come the teacher's outputs for the texts to train on, by its own model on
its own tokens, computed once and kept beside the checkpoints. Refused: a run that is not finished or damaged, one of
another task, of another head or of other names.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.backend import Backend
from zoo.data.manifest import damage, write_manifest
from zoo.data.run_model import model_of_run
from zoo.data.tokens import Tokenizer
from zoo.data.writing import storage_errors, write_atomically, write_folder
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.models import inference
from zoo.models.blueprint import ModelCard, load_card
from zoo.models.saved import load_model
from zoo.models.weights import read_safetensors
from zoo.recipe import Recipe
from zoo.recipe.showing import listed
from zoo.tasks import Task
from zoo.tasks.material import Rows

__all__ = ["Teacher", "find_teacher", "keep", "kept"]

KEPT = "teacher"
"""Folder beside the checkpoints."""
OUTPUTS = "outputs.safetensors"


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A run that teaches: its folder `model/`, and what stands there of it."""

    folder: Path
    card: ModelCard
    tokenizer: Tokenizer

    def outputs(
        self, rows: Rows, *, backend: Backend, batch_size: int, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Its outputs for each text, [texts, units] float32, dropout off and in float32.

        Args:
            rows: the texts.
            backend: the active one.
            batch_size: rows a batch.
            progress: called with the number of rows done since the last call.

        Raises:
            OutputError: its weights are damaged.
            DataError: its vocabulary cannot cut a text.
        """
        model = load_model(self.folder, self.card)
        table = self.tokenizer.encode(rows.texts, rows.pairs, self.card.tokens)
        found = inference.logits(
            backend.predictor(model, precision="float32"),
            table,
            names=inference.input_names(model),
            batch_size=batch_size,
            progress=progress,
        )
        return inference.by_text(found, self.card.task, table, rows, pool=self.card.tokens.pool)


def find_teacher(recipe: Recipe, task: Task) -> Teacher | None:
    """The teacher of a recipe; None where it has none. No weights are read but for their hash.

    Raises:
        RecipeError: a run of something else than `task`.
        EnvironmentFault: no finished run, or a damaged one.
    """
    asked = recipe.training.distil
    if asked is None:
        return None
    folder = model_of_run(Path(asked.teacher))
    if folder is None:
        raise EnvironmentFault(f"training.distil.teacher: {asked.teacher} holds no finished run: give one, or train it")
    try:
        card, tokenizer = load_card(folder)
    except OutputError as error:
        raise EnvironmentFault(error.faults) from error
    if fault := _misfit(card, task, recipe.model.head.type):
        raise RecipeError(f"training.distil.teacher: {asked.teacher} {fault}")
    return Teacher(folder=folder, card=card, tokenizer=tokenizer)


def _misfit(card: ModelCard, task: Task, head: str) -> str | None:
    """Why its outputs say nothing of this task's; None where they do."""
    theirs, other = card.task, card.blueprint.head.type
    if theirs.type != task.type:
        return f"learned {theirs.type}, expected {task.type}: give a teacher of the same task"
    if theirs.names != task.names:
        same = "give a teacher of the same classes"
        return f"has the classes {listed(theirs.names)}, expected {listed(task.names)}, in this order: {same}"
    if other != head:
        return f"has a head {other}, expected {head}: set model.head.type: {other}"
    return None


def keep(outputs: np.ndarray, beside: Path) -> None:
    """Write a teacher's outputs beside the checkpoints, whole or not at all.

    Raises OutputError where the disk does not take them.
    """
    from safetensors.numpy import save

    folder = beside / KEPT
    with storage_errors(folder):
        if folder.exists():
            shutil.rmtree(folder)
        with write_folder(folder) as partial:
            with write_atomically(partial / OUTPUTS) as stream:
                stream.write(save({"outputs": outputs}))
            write_manifest(partial)


def kept(beside: Path) -> tuple[np.ndarray | None, str | None]:
    """A teacher's outputs, as an earlier part of the run left them, or None; and what is wrong with them, or None."""
    folder = beside / KEPT
    if not folder.exists():
        return None, None
    if (fault := damage(folder)) is not None:
        return None, fault
    return read_safetensors(folder / OUTPUTS)["outputs"], None
