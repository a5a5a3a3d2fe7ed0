"""The catalog: a name in, a card out; one YAML file a data set, a backbone or a vocabulary.

A card says where the files are, what they hash to, how they are read, and under what terms. Adding one is adding
a file to datasets/ or backbones/, or a folder to vocabularies/; the file's name is the card's name. Refused:
an unknown name, with the near ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from zoo.data.sources import Origin
from zoo.errors import RecipeError
from zoo.recipe.dimensions import Dimensions

FOLDER = Path(__file__).parent

Family = Literal["bert", "distilbert", "roberta"]
SPLITS = ("train", "validation", "test")


class Card(BaseModel):
    """What every card tells; its fields carry their documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    name: str
    """Name in the catalog."""
    title: str
    """Name in the world."""
    description: str
    """What it is, in a sentence or two."""
    license: str
    """Licence or terms, as its source states them."""
    citation: str
    """Who made it, and the paper."""
    homepage: str
    """Where to read more."""


class DataOrigin(Origin):
    """A place that holds the rows of a data set."""

    splits: dict[Literal["train", "validation", "test"], str]
    """Split -> the file that holds it; a split that is not here is carved from train."""

    @model_validator(mode="after")
    def _splits_are_files(self) -> DataOrigin:
        if "train" not in self.splits or not set(self.splits.values()) <= set(self.files):
            raise ValueError(f"{self.uri}: splits need a train, and files that `files` lists")
        return self


class Values(BaseModel):
    """Classes that stand for numbers, as stars do."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """What is measured."""
    of_classes: tuple[float, ...]
    """The number that each class stands for, by class number."""


class DatasetCard(Card):
    """A data set: labelled texts."""

    origins: tuple[DataOrigin, ...] = Field(min_length=1)
    """Places, in order: the first that is cached is used, else the first that can be reached."""
    language: str | None = None
    """Language of the texts, as ISO 639-1 has it; None is not known."""
    text: str | tuple[str, str]
    """Column of the text, or two columns for pairs."""
    label: str
    """Column of the label."""
    label_names: tuple[str, ...] | None = Field(default=None, min_length=2)
    """Class names, by class number from 0; None where labels are no classes, as answers are none."""
    labels: dict[str, int] | None = None
    """Label as it stands in the file -> class number; None where the file holds class numbers."""
    label_delimiter: str | None = None
    """What stands between the labels of a text with several; None where there is one, or a list."""
    values: Values | None = None
    """What the classes measure, for regression; None where they are no numbers."""
    select: dict[str, str] = {}
    """Column -> the value it must have; other rows belong to something else."""
    rows: dict[Literal["train", "validation", "test"], int]
    """Rows of each split, as its source states them."""
    size_bytes: int | None = None
    """Bytes to download; None is not known."""


class BackboneCard(Card):
    """A pretrained encoder."""

    family: Family
    """Architecture it is built as."""
    convert_from: Family | None = None
    """Architecture of the weights, where they are folded into another family."""
    layout: Literal["hf", "keras"]
    """Format of the folder: Hugging Face (safetensors) or Keras (weights.h5)."""
    origins: tuple[Origin, ...] = Field(min_length=1)
    """Places, in order: the first that is cached is used, else the first that can be reached."""
    hugging_face: str | None = None
    """Address of the same weights for transformers, hf://org/name; None where the origins are, or none is known."""
    tokenizer: Literal["wordpiece", "bpe", "sentencepiece"]
    """Kind of vocabulary."""
    uncased: bool
    """Whether texts are lower-cased and stripped of accents; the preset's own tokenizer settings win."""
    activation: Literal["gelu", "gelu_tanh"] | None = None
    """What the weights were trained with, where the format does not tell; None takes the format's own."""
    parameters: int
    """Weights in the backbone, as keras-hub counts them."""
    num_layers: int
    """Transformer layers."""
    num_heads: int
    """Attention heads a layer."""
    hidden_dim: int
    """Width of the hidden states."""
    intermediate_dim: int
    """Width of the feed-forward layer."""
    vocabulary_size: int
    """Token ids."""
    max_positions: int
    """Longest row in tokens."""
    num_segments: int
    """Segment ids; 0 where the family has none."""
    size_bytes: int | None = None
    """Bytes to download; None is not known."""

    @property
    def dimensions(self) -> Dimensions:
        """What decides its cost."""
        return Dimensions.of(self)


def dataset_names() -> tuple[str, ...]:
    """Names of the data sets, sorted."""
    return _names("datasets")


def backbone_names() -> tuple[str, ...]:
    """Names of the backbones, sorted."""
    return _names("backbones")


@cache
def vocabulary_names() -> tuple[str, ...]:
    """Names of the vocabularies for fresh backbones, sorted."""
    return tuple(sorted(path.name for path in (FOLDER / "vocabularies").iterdir() if path.is_dir()))


@cache
def dataset_card(name: str) -> DatasetCard:
    """The card of a data set; RecipeError with the near names where there is none."""
    return DatasetCard(name=name, **_read("datasets", name))


@cache
def backbone_card(name: str) -> BackboneCard:
    """The card of a backbone; RecipeError with the near names where there is none."""
    return BackboneCard(name=name, **_read("backbones", name))


def vocabulary_folder(name: str) -> Path:
    """The folder of a vocabulary; RecipeError with the near names where there is none."""
    if name not in vocabulary_names():
        raise RecipeError(unknown("vocabulary", name, vocabulary_names()))
    return FOLDER / "vocabularies" / name


def unknown(what: str, name: str, names: Iterable[str]) -> str:
    """The sentence for a name that the catalog does not have."""
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(names)}"
    return f"{what}: {name!r} is not in the catalog; {hint} (`python -m zoo.list` shows them all)"


@cache
def _names(folder: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (FOLDER / folder).glob("*.yaml")))


def _read(folder: str, name: str) -> dict[str, Any]:
    """What stands in a card's file."""
    if name not in _names(folder):
        raise RecipeError(unknown(folder.removesuffix("s"), name, _names(folder)))
    text = (FOLDER / folder / f"{name}.yaml").read_text(encoding="utf-8")
    card: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return card
