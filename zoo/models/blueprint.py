"""What a model is, its weights apart: how it is assembled, how texts are cut for it, and what it has learned.

In comes the folder `model/` of a finished run, out comes its `ModelCard`, without weights and without a backend.
Refused: a folder in which a file is missing, a link to elsewhere, or not as its manifest says, and a model of an
earlier version, whose model.json says less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from zoo.data.manifest import MANIFEST, damage
from zoo.data.model_files import link_outside
from zoo.data.run_model import MODEL_FILE
from zoo.data.tokens import Tokenizer
from zoo.errors import OutputError
from zoo.models.backbone import BackboneConfig
from zoo.recipe.heads import Head
from zoo.recipe.types import Tokens
from zoo.tasks import AnyTask, Joint

__all__ = ["TOKENIZER", "WEIGHTS", "Blueprint", "ModelCard", "OneHead", "dump_card", "load_card"]

WEIGHTS, TOKENIZER = "weights.safetensors", "tokenizer.json"


Units = Annotated[int, Field(gt=0, le=2**26)]


@dataclass(frozen=True, kw_only=True)
class OneHead:
    """The head of one of several tasks, with its rate of dropout as a number, and how many outputs it has."""

    head: Head
    units: Units


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """All that decides what a model computes, its weights apart.

    head has its rate of dropout as a number. units: outputs a row. head_rows is, for a head that comes with the
    preset, which row of the preset's last layer each output takes; None takes them as they stand. layers is which
    layer of the preset each transformer layer is; None takes them as they stand. tasks: of several tasks the head of
    each, by name, whose outputs stand side by side; none of one task.
    """

    backbone: BackboneConfig
    head: Head
    units: Units
    head_rows: tuple[int, ...] | None = None
    layers: tuple[int, ...] | None = None
    tasks: dict[str, OneHead] = dataclass_field(default_factory=dict)

    def alone(self, name: str) -> Blueprint:
        """That of one of several tasks by itself."""
        own = self.tasks[name]
        return replace(self, head=own.head, units=own.units, tasks={})


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What model.json holds.

    blueprint: how the model is assembled; tokens: how texts are cut; task: what it has learned.
    """

    blueprint: Blueprint
    tokens: Tokens
    task: AnyTask

    def alone(self, name: str) -> ModelCard:
        """That of one of several tasks by itself."""
        assert isinstance(self.task, Joint)
        return replace(self, blueprint=self.blueprint.alone(name), task=self.task.tasks[name])


_CARD = TypeAdapter(ModelCard)


def dump_card(card: ModelCard) -> bytes:
    """The text of model.json."""
    return _CARD.dump_json(card, indent=2)


def load_card(folder: Path) -> tuple[ModelCard, Tokenizer]:
    """What a saved model is, without its weights and without a backend; all its files are checked.

    Raises:
        OutputError: no saved model there, or a damaged one.
    """
    if link := link_outside(folder, (MANIFEST, MODEL_FILE, TOKENIZER, WEIGHTS)):
        raise OutputError(f"{link}: a link to elsewhere, expected a file in its folder: copy the file there")
    if (folder / MANIFEST).exists() and (fault := damage(folder)):
        raise OutputError(f"{fault}: restore it or train again")
    try:
        description = (folder / MODEL_FILE).read_bytes()
        vocabulary = (folder / TOKENIZER).read_bytes()
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
