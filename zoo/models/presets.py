"""What a preset says of itself.

In comes a folder in Hugging Face's or Keras's layout, or the model of a finished run; out comes the `BackboneConfig` it
was trained with, and what is said there of a head. Refused: a preset of another architecture
than the recipe names, positions that are not absolute or not counted from the padding id 1, a decoder,
a config that cannot be read; and a head whose classes are not known to be those of the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from zoo.data.backbones import KERAS_FAMILIES, Preset
from zoo.data.objects import read_object
from zoo.errors import EnvironmentFault, OutputError, RecipeError
from zoo.models.backbone import DEFAULTS, BackboneConfig, Rate, activation_named, checked_config, wrong_values
from zoo.models.blueprint import load_card
from zoo.models.families import FAMILIES
from zoo.models.family import Activation
from zoo.recipe.heads import Head
from zoo.recipe.showing import listed
from zoo.tasks import Task

HEAD_DROPOUT = 0.1
"""Rate before the last layer where neither the recipe nor a preset gives one."""

HUGGING_FACE_EPSILON = 1e-12
"""Of the layer norms where a Hugging Face config says none; DistilBERT's config never does."""


# What a Hugging Face config calls a value, in BERT's words (RoBERTa has the same) and DistilBERT's.
_KEYS = {
    "vocabulary_size": ("vocab_size", "vocab_size"),
    "num_layers": ("num_hidden_layers", "n_layers"),
    "num_heads": ("num_attention_heads", "n_heads"),
    "hidden_dim": ("hidden_size", "dim"),
    "intermediate_dim": ("intermediate_size", "hidden_dim"),
    "max_positions": ("max_position_embeddings", "max_position_embeddings"),
    "activation": ("hidden_act", "activation"),
    "dropout": ("hidden_dropout_prob", "dropout"),
    "attention_dropout": ("attention_probs_dropout_prob", "attention_dropout"),
    "head_dropout": ("classifier_dropout", "seq_classif_dropout"),
}


def hugging_face_keys(model_type: str) -> dict[str, str]:
    """The keys of a Hugging Face config by our names for the values: fields of BackboneConfig, and head_dropout."""
    return {ours: theirs[model_type == "distilbert"] for ours, theirs in _KEYS.items()}


@dataclass(frozen=True, kw_only=True)
class PresetHead:
    """What a Hugging Face config, or a finished run, says of the head beside it.

    owner is the preset's name in messages; model_type the architecture of the weights. label_names are by
    row of the head's last layer, LABEL_0, LABEL_1 and so on where the config names none, and empty where it does
    not number them from 0. problem_type is what transformers trained the head for, None where the config leaves
    it open. tasks are the classes that wrote the preset, as BertForSequenceClassification; empty where the
    config names none. learned is the task of a run, as recipes name it; None of other presets.
    """

    owner: str
    model_type: str
    label_names: tuple[str, ...]
    problem_type: str | None
    tasks: tuple[str, ...]
    learned: str | None = None


@dataclass(frozen=True, kw_only=True)
class PresetConfig:
    """All that is read from a preset's config.

    backbone holds the rates that the preset was trained with; head_dropout is the rate before the last layer.
    head is None for a Keras preset, which holds a backbone alone.
    """

    backbone: BackboneConfig
    head_dropout: float
    head: PresetHead | None


def read_config(preset: Preset) -> PresetConfig:
    """The config of a preset, for the family that the recipe asks for.

    Args:
        preset: where it lies, in which layout, for which family.

    Raises:
        RecipeError: the preset is of a family that does not fit.
        EnvironmentFault: the config is missing or damaged, or asks for what these backbones do not have.
    """
    if preset.layout == "zoo":
        return _of_run(preset)
    path = preset.path / "config.json"
    try:
        raw = read_object(path, "fetch it again")
        if preset.layout == "keras":
            return PresetConfig(backbone=_keras(raw, preset), head_dropout=HEAD_DROPOUT, head=None)
        return PresetConfig(
            backbone=_hugging_face(raw, preset), head_dropout=_head_dropout(raw), head=_head(raw, preset)
        )
    except FileNotFoundError as error:
        raise EnvironmentFault(f"{path}: no such file, expected the config of a preset: fetch it again") from error
    except KeyError as error:
        raise EnvironmentFault(f"{path}: {error} is missing, expected the config of a {preset.family}") from error
    except ValidationError as error:
        told = "; ".join(f"{where}: {what}" for where, what in wrong_values(error))
        raise EnvironmentFault(f"{path}: not the config of a {preset.family} ({told}): fetch it again") from error


def _of_run(preset: Preset) -> PresetConfig:
    try:
        card, _ = load_card(preset.path)
    except OutputError as error:
        raise EnvironmentFault(error.faults) from error
    blueprint, task = card.blueprint, card.task
    head = PresetHead(
        owner=preset.name,
        model_type=blueprint.backbone.family,
        label_names=task.unit_names,
        problem_type=task.problem_type,
        tasks=(f"{FAMILIES[blueprint.backbone.family].class_prefix}For{blueprint.head.program}",),
        learned=task.type,
    )
    dropout = HEAD_DROPOUT if blueprint.head.dropout is None else blueprint.head.dropout
    return PresetConfig(backbone=blueprint.backbone, head_dropout=dropout, head=head)


def keras_activation(family: str) -> Activation:
    """What the weights of a keras-hub preset were trained with, where nothing says so."""
    # keras-hub's own BERT presets come from Google's weights, trained with tanh-GELU.
    return "gelu_tanh" if family == "bert" else FAMILIES[family].activation


def _fits(found: str, preset: Preset) -> None:
    # A BERT without its segments is a DistilBERT (weights.load_hugging_face folds segment 0 in).
    if found == preset.family or (found, preset.family, preset.layout) == ("bert", "distilbert", "hf"):
        return
    raise RecipeError(
        f"model.backbone.family: got {preset.family}, but {preset.name} is a {found} preset: "
        "change the family or the preset"
    )


def _keras(raw: Mapping[str, Any], preset: Preset) -> BackboneConfig:
    if not isinstance(raw["class_name"], str) or raw["class_name"] not in KERAS_FAMILIES:
        raise RecipeError(
            f"model.backbone.preset: {preset.name} holds a {raw['class_name']}, "
            f"expected one of {', '.join(KERAS_FAMILIES)}"
        )
    family = KERAS_FAMILIES[raw["class_name"]]
    _fits(family, preset)
    config = raw["config"]
    if not isinstance(config, dict):
        raise KeyError("config")
    own = DEFAULTS[family]
    return checked_config(
        family=family,
        vocabulary_size=config["vocabulary_size"],
        num_layers=config["num_layers"],
        num_heads=config["num_heads"],
        hidden_dim=config["hidden_dim"],
        intermediate_dim=config["intermediate_dim"],
        max_positions=config["max_sequence_length"],
        num_segments=config["num_segments"] if family == "bert" else None,
        activation=preset.activation or keras_activation(family),
        layer_norm_epsilon=own["layer_norm_epsilon"],
        dropout=config["dropout"],
        attention_dropout=config["dropout"],
    )


def _hugging_face(raw: Mapping[str, Any], preset: Preset) -> BackboneConfig:
    found = raw.get("model_type", "unnamed")
    _fits(found, preset)
    _refuse_other_computations(raw, found, preset.name)
    key = hugging_face_keys(found)
    own = DEFAULTS[preset.family]
    positions = raw[key["max_positions"]]
    return checked_config(
        family=preset.family,
        vocabulary_size=raw[key["vocabulary_size"]],
        num_layers=raw[key["num_layers"]],
        num_heads=raw[key["num_heads"]],
        hidden_dim=raw[key["hidden_dim"]],
        intermediate_dim=raw[key["intermediate_dim"]],
        # RoBERTa's first two positions belong to padding.
        max_positions=positions - 2 if found == "roberta" and isinstance(positions, int) else positions,
        num_segments=raw.get("type_vocab_size", 2) if preset.family == "bert" else None,
        activation=activation_named(raw.get(key["activation"], "gelu")),
        layer_norm_epsilon=HUGGING_FACE_EPSILON
        if found == "distilbert"
        else raw.get("layer_norm_eps", HUGGING_FACE_EPSILON),
        dropout=raw.get(key["dropout"], own["dropout"]),
        attention_dropout=raw.get(key["attention_dropout"], own["attention_dropout"]),
    )


def _refuse_other_computations(raw: Mapping[str, Any], found: str, name: str) -> None:
    """Settings under which the same weights compute something else than these backbones do."""
    if raw.get("auto_map"):
        raise EnvironmentFault(
            f"{name}: its config.json names code of its own (auto_map), which is never run, expected a model of "
            "transformers' own: use another preset"
        )
    positions = raw.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise EnvironmentFault(f"{name}: its positions are {positions}, expected absolute ones: use another preset")
    if raw.get("is_decoder", False):
        raise EnvironmentFault(
            f"{name}: it is a decoder, each of whose tokens sees only those before it, expected an encoder: "
            "use another preset"
        )
    padding = raw.get("pad_token_id", 1)
    if found == "roberta" and padding != 1:
        raise EnvironmentFault(
            f"{name}: its positions are counted from the padding id {padding}, expected 1: use another preset"
        )


# --- the classification head ------------------------------------------------------------------------


class _Head(BaseModel):
    """What a config says of a head, by transformers' names for it."""

    model_config = ConfigDict(strict=True, extra="ignore")

    id2label: dict[str, str | int] | None = None
    num_labels: Annotated[int, Field(gt=0, le=2**20)] = 2
    problem_type: str | None = None
    architectures: list[str] | None = None


_RATE: TypeAdapter[float | None] = TypeAdapter(Rate | None)


def _head_dropout(raw: Mapping[str, Any]) -> float:
    """The rate that transformers' own classification model of this config has before its last layer."""
    key = hugging_face_keys(raw["model_type"])
    own, rate = (_RATE.validate_python(raw.get(key[name]), strict=True) for name in ("dropout", "head_dropout"))
    if raw["model_type"] == "distilbert":
        return 0.2 if rate is None else rate
    return rate if rate is not None else HEAD_DROPOUT if own is None else own


def _head(raw: Mapping[str, Any], preset: Preset) -> PresetHead:
    said = _Head.model_validate(raw)
    names = said.id2label or {str(number): f"LABEL_{number}" for number in range(said.num_labels)}
    whole = names.keys() == {str(number) for number in range(len(names))}
    return PresetHead(
        owner=preset.name,
        model_type=raw["model_type"],
        label_names=tuple(str(names[str(number)]) for number in range(len(names))) if whole else (),
        problem_type=said.problem_type,
        tasks=tuple(said.architectures or ()),
    )


def head_rows(found: PresetHead, head: Head, *, family: str, task: Task) -> tuple[int, ...]:
    """Which row of the preset's last layer each output takes, so that they mean what the data says.

    Names are compared without regard to case. A preset that calls its classes LABEL_0, LABEL_1 and so on, or
    merely numbers them, says nothing of their order: its rows are taken as they stand.

    Args:
        found: what the preset says of its head.
        head: the recipe's, with `init: preset`.
        family: of the backbone that is built.
        task: what is learned, with its names.

    Raises:
        RecipeError: the preset has no head of this kind, or its classes are not known to be the data's.
    """
    _refuse_other_heads(found, head, family, task)
    theirs, ours = found.label_names, task.unit_names
    if head.preset_labels is not None:
        rows = _places(theirs, head.preset_labels)
        if rows is None:
            raise RecipeError(
                f"model.head.preset_labels: got {', '.join(head.preset_labels)}, expected the classes of "
                f"{found.owner}, which are {listed(theirs)}, in the order of the data's: {listed(ours)}"
            )
        return rows
    rows = _places(theirs, ours)
    if rows is None and not _says_nothing(theirs):
        raise RecipeError(
            f"model.head.init: got preset, but {found.owner} calls its classes {', '.join(theirs)} "
            f"and the data {', '.join(ours)}: list the preset's names in the data's order in "
            "model.head.preset_labels, or use init: seed"
        )
    return tuple(range(len(theirs))) if rows is None else rows


def _places(names: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...] | None:
    """Where each wanted name stands among the names; None unless both are the same names."""
    for spelling in (str, str.casefold):
        places = {spelling(name): place for place, name in enumerate(names)}
        if len(names) == len(wanted) == len(places) and places.keys() == {spelling(name) for name in wanted}:
            return tuple(places[spelling(name)] for name in wanted)
    return None


def _says_nothing(names: Sequence[str]) -> bool:
    return all(name.upper() in (f"LABEL_{number}", str(number)) for number, name in enumerate(names))


def _refuse_other_heads(found: PresetHead, head: Head, family: str, task: Task) -> None:
    """Refuse heads of another make, of other numbers of outputs, or trained for something else."""
    rows = len(found.label_names)
    where, otherwise = "model.head.init: got preset, but", "use init: seed"
    if found.model_type != family:
        raise RecipeError(
            f"{where} the head of a {found.model_type} preset does not fit a {family} backbone: "
            f"{otherwise}, or family: {found.model_type}"
        )
    if found.learned not in (None, task.type):
        raise RecipeError(f"{where} the run {found.owner} learned {found.learned}, expected {task.type}: {otherwise}")
    if found.tasks and not any(name.endswith(f"For{head.program}") for name in found.tasks):
        raise RecipeError(
            f"{where} {found.owner} was written by {', '.join(found.tasks)}, "
            f"expected a model For{head.program}: {otherwise}"
        )
    # transformers trains a single output as a regression and several as classes of which a text has one, unless the
    # config says otherwise.
    kind = found.problem_type or ("regression" if rows == 1 else "single_label_classification")
    if task.problem_type is not None and kind != task.problem_type:
        default = "" if found.problem_type else f" ({rows} output{'' if rows == 1 else 's'} and no problem_type)"
        raise RecipeError(
            f"{where} the head of {found.owner} was trained for {kind}{default}, expected {task.problem_type}: "
            f"{otherwise}"
        )
    if rows != task.units:
        count = f"{rows} output{'' if rows == 1 else 's'}" if rows else "an id2label that does not number its classes"
        raise RecipeError(f"{where} the head of {found.owner} has {count}, expected {task.units}: {otherwise}")
