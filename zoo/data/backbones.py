"""A recipe's backbone to a preset folder or a vocabulary, and what of it is missing on this machine.

In comes `recipe.model.backbone`: a catalog name, an address or a local folder, or the dimensions of a fresh one
with a vocabulary; out goes a `Preset`, or the vocabulary's path. A local folder may also be that of a finished run.
Refused: unknown names, a preset of another family than the recipe's, folders without weights, a run that has not
finished, pickled weights (pytorch_model.bin), which can run code, and files with a whole model (.keras, .h5), which
hold code or name it.
"""

from __future__ import annotations

import os.path
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from zoo.data.catalog import (
    Family,
    backbone_card,
    backbone_names,
    dataset_card,
    unknown,
    vocabulary_folder,
    vocabulary_names,
)
from zoo.data.dataset import missing_data
from zoo.data.model_files import CHECKPOINT_FILES, VOCABULARY_FILES, refuse_links, weight_files
from zoo.data.objects import read_object
from zoo.data.run_model import backbone_of_run, is_run, model_of_run
from zoo.data.sources import Missing, Origin, Progress, address, fetch_first, folder_of, locate_first, matches
from zoo.errors import EnvironmentFault, RecipeError
from zoo.recipe import Recipe
from zoo.recipe.backbone_group import Backbone

Layout = Literal["hf", "keras", "zoo"]
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A folder with configuration, weights and vocabulary, all there.

    `layout` is hf (config.json, model.safetensors or its shards), keras (config.json, model.weights.h5; the
    vocabulary lies in assets/tokenizer, and tokenizer.json holds the settings of keras-hub's tokenizer) or zoo (the
    folder model/ of a finished run).
    `family` is what it is built as: the weights may be of another one, which the card then allows.
    """

    path: Path
    layout: Layout
    family: Family
    name: str
    activation: Literal["gelu", "gelu_tanh"] | None = None
    """What the weights were trained with, where the card knows better than the format."""


def locate_backbone(backbone: Backbone) -> Preset | None:
    """Where the preset of a backbone lies; None where it is not in the cache. No network."""
    reference = _reference(backbone)
    found = locate_first(reference.origins)
    return None if found is None else _preset(found[1], backbone, reference)


def fetch_backbone(backbone: Backbone, *, progress: Progress | None = None) -> Preset:
    """Where the preset of a backbone lies, brought into the cache where it is not there."""
    reference = _reference(backbone)
    return _preset(fetch_first(reference.origins, progress=progress)[1], backbone, reference)


def locate_like(backbone: Backbone) -> tuple[str, Preset | None] | None:
    """The weights of a Keras preset of the catalog as transformers reads them. No network.

    Returns:
        Their address, and the preset, None where it is not in the cache; None where the catalog knows no such address.
    """
    uri = backbone_card(backbone.preset).hugging_face if backbone.preset in backbone_names() else None
    return None if uri is None else (uri, locate_backbone(backbone.model_copy(update={"preset": uri})))


def locate_vocabulary(backbone: Backbone) -> Path:
    """Folder or file of the vocabulary: the preset's, or that of a fresh backbone. No network.

    Raises EnvironmentFault where it is not in the cache; `missing` tells so without an error.
    """
    need: Missing
    if backbone.preset is not None:
        found = locate_backbone(backbone)
        if found is not None:
            return found.path
        need = _missing(f"the backbone {backbone.preset}", _reference(backbone).origins)
    else:
        origins = _vocabulary(backbone)
        if isinstance(origins, Path):
            return origins
        located = locate_first(origins)
        if located is not None:
            return located[1]
        need = _missing(f"the vocabulary of {backbone.vocabulary}", origins)
    raise EnvironmentFault(f"{need}; run `python -m zoo.fetch` with this recipe")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A vocabulary on this machine, and the family of the encoder that it belongs to; None where nothing tells."""

    path: Path
    family: Family | None


def find_vocabulary(name: str) -> Vocabulary:
    """The vocabulary of whatever a recipe's `preset` or `vocabulary` may name: catalog, address, folder. No network.

    Raises RecipeError for a name that is none, EnvironmentFault where it is not in the cache.
    """
    family: Family | None = None
    if name in vocabulary_names():
        return Vocabulary(path=vocabulary_folder(name), family=None)
    if name in backbone_names():
        family = backbone_card(name).family
        _reference(Backbone(family=family, preset=name))  # refuses a vocabulary of a kind that is not read
        origins = _vocabulary(Backbone(family=family, vocabulary=name))
        assert not isinstance(origins, Path)
    elif "://" in name or _looks_like_a_path(name):
        try:
            origins = [Origin(uri=name, patterns=CHECKPOINT_FILES)]
        except ValueError as error:
            raise RecipeError(f"backbone: {_plain(error)}") from error
        if "://" not in name and not os.path.exists(name):  # pathlib raises where a name is too long
            raise RecipeError(f"backbone: there is no file or folder {name}; check the path")
    else:
        raise RecipeError(unknown("backbone", name, (*backbone_names(), *vocabulary_names())))
    located = Path(name) if os.path.isfile(name) else (locate_first(origins) or (None, None))[1]
    if located is None:
        sets = f"--set 'model.backbone={{family: {family or 'FAMILY'}, preset: {name}}}'"
        raise EnvironmentFault(
            f"{_missing(f'the vocabulary of {name}', origins)}; bring it by `python -m zoo.fetch quickstart --profile "
            f"smoke {sets}`, or choose one that `python -m zoo.list backbones` shows as cached"
        )
    if (run := backbone_of_run(located)) is not None:
        family, located = _known_family(run.get("family")), model_of_run(located) or located
    elif family is None and (located / "config.json").is_file():
        config = _config(located)
        told = KERAS_FAMILIES.get(str(config.get("class_name")), str(config.get("model_type")))
        family = _known_family(told)
    return Vocabulary(path=located, family=family)


def missing(recipe: Recipe) -> list[Missing]:
    """What the recipe needs and this machine does not have: data, weights, vocabulary. No network, no backend."""
    needs = list[Missing]()
    for each in recipe.staged():
        needs += [need for need in (*missing_data(each), *_missing_backbone(each.model.backbone)) if need not in needs]
    return needs


def _missing_backbone(backbone: Backbone) -> list[Missing]:
    if backbone.preset is not None:
        found = locate_backbone(backbone)
        return [_missing(f"the backbone {backbone.preset}", _reference(backbone).origins)] if found is None else []
    origins = _vocabulary(backbone)
    if isinstance(origins, Path) or locate_first(origins) is not None:
        return []
    return [_missing(f"the vocabulary of {backbone.vocabulary}", origins)]


def bring(recipe: Recipe, *, progress: Progress | None = None) -> list[Path]:
    """Fetch all that `missing` names; the folders of data and preset or vocabulary.

    Raises EnvironmentFault with a fault for each place that could not be reached, after all were tried, and the
    profiles that need none of them.
    """
    wanted: list[Sequence[Origin]] = []
    backbones = [each.model.backbone for each in recipe.staged()]
    for each, backbone in zip(recipe.staged(), backbones, strict=True):
        wanted += [dataset_card(own.data.dataset).origins for own in each.with_data if own.data.dataset is not None]
        origins = _reference(backbone).origins if backbone.preset is not None else _vocabulary(backbone)
        if not isinstance(origins, Path):
            wanted.append(origins)
    folders, faults, index_away = [], list[str](), False
    for place, one in enumerate(wanted):
        if one in wanted[:place]:
            continue
        try:
            folders.append(fetch_first(one, progress=progress)[1])
        except EnvironmentFault as fault:
            faults.extend(fault.faults)
            index_away |= any(address(origin.uri).scheme == "pypi" for origin in one)
    if faults:
        here, by_index = ready_profiles(recipe)
        ways = [f"with {_named(here)}"] if here else []
        if by_index and not index_away:
            ways.append(f"where the package index can be reached, with {_named(by_index)}")
        if ways:
            faults.append(f"Without what is away, {recipe.name} works {'; '.join(ways)}")
        raise EnvironmentFault(faults)
    for backbone in backbones:
        if backbone.preset is not None:
            locate_backbone(backbone)  # refuses a folder that is no preset, or one of another family
    return folders


def ready_profiles(recipe: Recipe) -> tuple[list[str], list[str]]:
    """Profiles that need no network, all being cached or shipped; and those that need the package index alone."""
    here, by_index = [], []
    for name, overlay in recipe.profiles.items():
        needs = missing(recipe.override(overlay))
        if not needs:
            here.append(name)
        elif all(address(need.uri).scheme == "pypi" for need in needs):
            by_index.append(name)
    return here, by_index


def _named(profiles: Sequence[str]) -> str:
    return " or ".join(f"--profile {name}" for name in profiles)


@dataclass(frozen=True, kw_only=True)
class _Reference:
    """A preset, understood: where it may be, and what its weights are."""

    name: str
    origins: Sequence[Origin]
    weights: Family | None
    """Architecture of the weights; None where only the folder tells."""
    activation: Literal["gelu", "gelu_tanh"] | None = None


def _reference(backbone: Backbone) -> _Reference:
    preset = backbone.preset
    if preset is None:
        raise RecipeError("model.backbone.preset: got none, expected one: a fresh backbone has no weights to fetch")
    if "://" in preset:
        try:
            return _Reference(name=preset, origins=[Origin(uri=preset, patterns=CHECKPOINT_FILES)], weights=None)
        except ValueError as error:
            raise RecipeError(f"model.backbone.preset: {_plain(error)}") from error
    if preset in backbone_names():
        card = backbone_card(preset)
        if card.family != backbone.family:
            raise RecipeError(
                f"model.backbone.family: {preset} is a {card.family}, got {backbone.family}; set family: {card.family}"
            )
        if card.tokenizer == "sentencepiece":
            raise RecipeError(
                f"model.backbone.preset: {preset} has a SentencePiece vocabulary, which is not read yet; choose a "
                "backbone with a WordPiece or byte-level BPE vocabulary (`python -m zoo.list`)"
            )
        return _Reference(
            name=preset, origins=card.origins, weights=card.convert_from or card.family, activation=card.activation
        )
    if _looks_like_a_path(preset):
        if os.path.isfile(preset):
            raise RecipeError(
                f"model.backbone.preset: {preset} is a file, expected a folder: files with a whole model in them "
                "(.keras, .h5, a pickle) may hold code and are never read; give a folder of config.json and weights"
            )
        if not os.path.isdir(preset):
            raise RecipeError(f"model.backbone.preset: there is no folder {preset}; check the path")
        return _Reference(name=Path(preset).name, origins=[Origin(uri=preset, patterns=CHECKPOINT_FILES)], weights=None)
    raise RecipeError(unknown("model.backbone.preset", preset, backbone_names()))


def _vocabulary(backbone: Backbone) -> Sequence[Origin] | Path:
    """Where the vocabulary of a fresh backbone is: here, or in one of the origins of a catalog backbone."""
    name = backbone.vocabulary
    if name is None:
        raise RecipeError("model.backbone.vocabulary: a fresh backbone needs one, e.g. nano_uncased")
    if name in vocabulary_names():
        return vocabulary_folder(name)
    if name in backbone_names():
        # The files of the vocabulary alone, in the same cache folder as the whole preset: no weights are fetched.
        return [
            origin.model_copy(update={"files": {n: h for n, h in origin.files.items() if matches(n, VOCABULARY_FILES)}})
            for origin in backbone_card(name).origins
        ]
    if _looks_like_a_path(name):
        if not os.path.exists(name):
            raise RecipeError(f"model.backbone.vocabulary: there is no file or folder {name}; check the path")
        return Path(name)
    raise RecipeError(unknown("model.backbone.vocabulary", name, (*vocabulary_names(), *backbone_names())))


def _looks_like_a_path(text: str) -> bool:
    return text.startswith((".", "/", "~")) or "/" in text or "\\" in text or os.path.exists(text)


def _missing(what: str, origins: Sequence[Origin]) -> Missing:
    return Missing(what=what, uri=origins[0].uri, cache_path=folder_of(origins[0]))


def _preset(folder: Path, backbone: Backbone, reference: _Reference) -> Preset:
    """The folder, looked into: its layout and its family."""
    layout: Layout
    refuse_links(folder)
    run = backbone_of_run(folder)
    config = _config(folder) if run is None else {}
    if run is not None:
        layout, weights, folder = "zoo", str(run.get("family", "unknown")), model_of_run(folder) or folder
    elif "class_name" in config and (folder / "model.weights.h5").is_file():
        layout, weights = "keras", KERAS_FAMILIES.get(str(config["class_name"]), str(config["class_name"]))
    elif weight_files(folder):
        layout, weights = "hf", str(config.get("model_type", "unknown"))
    elif any(path.suffix in PICKLED for path in folder.iterdir()):
        raise EnvironmentFault(
            f"{folder}: the weights are pickled, which can run code when they are read, expected model.safetensors; "
            "save the model again with save_pretrained(folder, safe_serialization=True)"
        )
    else:
        raise EnvironmentFault(
            f"{folder}: no weights, expected model.safetensors (Hugging Face) "
            "or model.weights.h5 (Keras); check the folder"
        )
    if weights != (reference.weights or backbone.family):
        raise RecipeError(
            f"model.backbone.family: the preset {reference.name} holds a {weights}, got {backbone.family}; "
            f"set family: {weights}"
            if weights in KERAS_FAMILIES.values()
            else f"model.backbone.preset: {reference.name} holds a {weights}, expected bert, distilbert or roberta"
        )
    return Preset(
        path=folder, layout=layout, family=backbone.family, name=reference.name, activation=reference.activation
    )


KERAS_FAMILIES = {"BertBackbone": "bert", "DistilBertBackbone": "distilbert", "RobertaBackbone": "roberta"}


def _known_family(name: object) -> Family | None:
    return next((known for known in get_args(Family) if known == name), None)


def _config(folder: Path) -> dict[str, object]:
    if is_run(folder):
        raise EnvironmentFault(
            f"{folder}: the run there has no finished model, expected one: go on with it by "
            f"`python -m zoo.run {folder}/recipe.yaml --out {folder} --resume`"
        )
    try:
        return read_object(folder / "config.json", "get the preset again")
    except FileNotFoundError as error:
        raise EnvironmentFault(f"{folder}: no config.json, expected the folder of a preset; check the path") from error


def _plain(error: ValueError) -> str:
    """The message of a ValueError, without pydantic's frame around it."""
    from pydantic import ValidationError

    if isinstance(error, ValidationError):
        return "; ".join(str(detail["msg"]).removeprefix("Value error, ") for detail in error.errors())
    return str(error)
