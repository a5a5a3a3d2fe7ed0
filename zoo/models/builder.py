"""From a recipe's model to a filled keras.Model.

In come the recipe, its preset and the tokenizer; out come a plain keras.Model with its weights
and the `Blueprint` from which it can be assembled again. Refused: a row length above the backbone's
positions, a vocabulary that does not fit the embeddings, a preset's head whose classes are not known to
be those of the data.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from zoo.data.backbones import Preset
from zoo.data.catalog import backbone_card, backbone_names
from zoo.data.model_files import weight_files
from zoo.data.tokens import Tokenizer
from zoo.errors import EnvironmentFault, RecipeError
from zoo.models import adapted, heads, weights
from zoo.models.backbone import DEFAULTS, BackboneConfig, checked_config
from zoo.models.blueprint import WEIGHTS, Blueprint, OneHead, load_card
from zoo.models.presets import HEAD_DROPOUT, head_rows, keras_activation, read_config
from zoo.recipe import Recipe
from zoo.recipe.backbone_group import Backbone
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.heads import Head, MaskedHead
from zoo.recipe.trained_group import Lora
from zoo.tasks import Joint, Task

POLICIES = {"float32": "float32", "tf32": "float32", "bfloat16": "mixed_bfloat16"}
"""Keras dtype policies by precision: in tf32 the numbers are float32, and only their products are not."""


def plan(recipe: Recipe, *, preset: Preset | None, tokenizer: Tokenizer, task: Task) -> Blueprint:
    """The blueprint of a recipe; reads the preset's config, no weights.

    Args:
        preset: where its files lie; None for a fresh backbone.
        tokenizer: of the backbone's vocabulary.
        task: what is learned, with its names.

    Raises:
        RecipeError: the recipe's parts do not fit each other or the preset.
        EnvironmentFault: the preset cannot be used.
    """
    wanted = recipe.model.backbone
    found = None
    if preset is not None:
        found = read_config(preset)
        config = found.backbone
    else:
        config = checked_config(
            family=wanted.family,
            vocabulary_size=tokenizer.vocabulary_size,
            num_layers=wanted.num_layers,
            num_heads=wanted.num_heads,
            hidden_dim=wanted.hidden_dim,
            intermediate_dim=wanted.intermediate_dim,
            max_positions=wanted.max_positions or 512,
            **DEFAULTS[wanted.family],
        )
    if tokenizer.vocabulary_size > config.vocabulary_size:
        raise EnvironmentFault(
            f"the vocabulary has {tokenizer.vocabulary_size} entries and the backbone embeds "
            f"{config.vocabulary_size}: they are not of the same preset"
        )
    if recipe.tokens.max_length > config.max_positions:
        raise RecipeError(
            f"tokens.max_length: got {recipe.tokens.max_length}, but the backbone has {config.max_positions} "
            f"positions: set it to {config.max_positions} or less"
        )
    dropout = HEAD_DROPOUT if found is None else found.head_dropout
    head, rows = _with_dropout(recipe.model.head, dropout), None
    # The outputs of a masked language model are the vocabulary, and in its order.
    if head.init == "preset" and task.units and found is not None and found.head is not None:
        rows = head_rows(found.head, head, family=config.family, task=task)
    units, layers = _units(head, task, config), wanted.layers
    if layers is not None:
        if layers[-1] >= config.num_layers:
            raise RecipeError(
                f"model.backbone.layers: got {layers[-1]}, expected below {config.num_layers}, the layers of the preset"
            )
        config = replace(config, num_layers=len(layers))
    _refuse_more(recipe, config.num_layers)
    return Blueprint(
        backbone=_with_rates(config, wanted),
        head=head,
        units=units,
        head_rows=rows,
        layers=layers,
        tasks=_heads_of_tasks(recipe, task, dropout),
    )


def _refuse_more(recipe: Recipe, num_layers: int) -> None:
    """Raise RecipeError where a recipe says something of more transformer layers than there are."""
    freeze = recipe.training.freeze
    for key, count in (
        ("model.backbone.reinitialize", recipe.model.backbone.reinitialize),
        ("training.freeze.layers", 0 if freeze is None or freeze.layers == "all" else freeze.layers),
    ):
        if count > num_layers:
            raise RecipeError(f"{key}: got {count}, expected at most {num_layers}, the layers of the backbone")


def outline(recipe: Recipe, size: Dimensions, task: Task) -> Blueprint:
    """The blueprint of a recipe of whose backbone nothing is here but its sizes: what decides the work, not the values.

    Args:
        size: of the backbone, as the catalog's card or the recipe has it.
        task: what is learned, with its names.
    """
    wanted, head = recipe.model.backbone, recipe.model.head
    own = dict(DEFAULTS[wanted.family])
    if wanted.preset in backbone_names():
        card = backbone_card(str(wanted.preset))
        of_layout = keras_activation(wanted.family) if card.layout == "keras" else own["activation"]
        own["activation"] = card.activation or of_layout
    config = checked_config(family=wanted.family, **asdict(size), **own)
    _refuse_more(recipe, config.num_layers)
    return Blueprint(
        backbone=_with_rates(config, wanted),
        head=_with_dropout(head, HEAD_DROPOUT),
        units=_units(head, task, config),
        tasks=_heads_of_tasks(recipe, task, HEAD_DROPOUT),
    )


def _units(head: Head, task: Task, config: BackboneConfig) -> int:
    """Outputs of a model: those of the task, or of one without names as many as the vocabulary or the backbone has."""
    return task.units or (config.vocabulary_size if isinstance(head, MaskedHead) else config.hidden_dim)


def _with_dropout(head: Head, usual: float) -> Head:
    """The head with a rate of dropout, the usual one where it says none."""
    return head if head.dropout is not None else head.model_copy(update={"dropout": usual})


def _heads_of_tasks(recipe: Recipe, task: Task, dropout: float) -> dict[str, OneHead]:
    """The head of each of several tasks; none where the recipe has one."""
    units = {name: own.units for name, own in task.tasks.items()} if isinstance(task, Joint) else {}
    return {
        name: OneHead(head=_with_dropout(recipe.tasks[name].head, dropout), units=count)
        for name, count in units.items()
    }


def _with_rates(config: BackboneConfig, wanted: Backbone) -> BackboneConfig:
    """The config with the recipe's rates of dropout in place of the preset's, where the recipe has them."""
    attention = wanted.dropout if wanted.attention_dropout is None else wanted.attention_dropout
    return replace(
        config,
        dropout=config.dropout if wanted.dropout is None else wanted.dropout,
        attention_dropout=config.attention_dropout if attention is None else attention,
    )


def assemble_model(
    blueprint: Blueprint,
    *,
    precision: str,
    masks: Literal["portable", "native"] = "portable",
    seed: int = 0,
    remat: bool = False,
    lora: Lora | None = None,
) -> Any:
    """The keras.Model of a blueprint; its weights are still to be filled in.

    Args:
        precision: float32, tf32 or bfloat16, of the matrix products; weights are float32 in all.
        masks: how dropout is drawn: the same on every backend, or by the backend itself.
        seed: what dropout is drawn from.
        remat: whether training computes each transformer layer again in the backward pass.
        lora: the adapters of its layers; None for none.
    """
    from zoo.models.encoder import assemble  # it imports Keras

    adapters = None if lora is None else lora.model_dump(mode="json")
    backbone = assemble(blueprint.backbone, dtype=POLICIES[precision], masks=masks, seed=seed, adapters=adapters)
    for layer in backbone.transformer_layers:
        layer.remat = remat
    return heads.attach(
        *(backbone, blueprint.backbone, blueprint.head, blueprint.units),
        tasks=blueprint.tasks,
        masks=masks,
        seed=seed,
    )


def build_model(
    blueprint: Blueprint,
    *,
    preset: Preset | None,
    seed: int,
    precision: str,
    dropout_masks: Literal["portable", "native"] = "portable",
    remat: bool = False,
    lora: Lora | None = None,
    reinitialize: int = 0,
) -> Any:
    """The keras.Model of a blueprint, filled: with the preset's weights, and from the seed where it has none.

    Args:
        seed: draws fresh weights, and dropout in training.
        precision, dropout_masks, remat, lora: see `assemble_model`.
        reinitialize: transformer layers, from the last one down, that are drawn anew, and BERT's pooler with them.

    Raises:
        EnvironmentFault: the preset's weights do not fit.
    """
    if preset is not None:
        weights.refuse_bloated(blueprint.backbone, _weights_of(preset))
    model = assemble_model(blueprint, precision=precision, masks=dropout_masks, seed=seed, remat=remat, lora=lora)
    head = blueprint.head
    from_preset = head.init == "preset"
    if head.init == "auto" and preset is not None:
        from_preset = brings_head(preset, head.program)
    if preset is None:
        fresh = _paths(model)
    elif preset.layout == "hf":
        fresh = set(
            weights.load_hugging_face(
                model,
                blueprint.backbone,
                preset.path,
                head=head.program if from_preset else None,
                head_rows=blueprint.head_rows,
                layers=blueprint.layers,
            )
        )
    elif preset.layout == "zoo":
        whole = model if from_preset and brings_head(preset, head.program) else model.get_layer("backbone")
        fresh = _paths(model) - _paths(whole)
        weights.load_run(whole, preset.path / WEIGHTS, head_rows=blueprint.head_rows, layers=blueprint.layers)
    else:
        backbone = model.get_layer("backbone")
        weights.load_keras_preset(backbone, read_config(preset).backbone, preset.path, layers=blueprint.layers)
        fresh = _paths(model) - _paths(backbone)
    if from_preset and any(path.split("/", 1)[0] in weights.HEAD_LAYERS for path in fresh):
        raise RecipeError("model.head.init: got preset, but this backbone comes without such a head: use init: seed")
    if reinitialize:
        above = blueprint.backbone.num_layers - reinitialize
        tops = {"pooled_dense", *(f"{weights.LAYER}{number}" for number in range(above, blueprint.backbone.num_layers))}
        fresh |= {path for path in _paths(model) if path.split("/", 1)[0] in tops}
    weights.draw([v for v in weights.parameters(model) if v.path in fresh], seed)
    if lora is not None:
        adapted.draw(model, seed)
    return model


def finished(model: Any, blueprint: Blueprint) -> Any:
    """The keras.Model that is saved of one that was trained: of its weights, in float32, adapters added to kernels."""
    trained = adapted.merged(model)
    made = assemble_model(blueprint, precision="float32")
    for variable in weights.parameters(made):
        variable.assign(trained[variable.path])
    return made


def brings_head(preset: Preset, program: str) -> bool:
    """Whether a preset has a head of this kind, by transformers' name for models with one."""
    if preset.layout == "zoo":
        return load_card(preset.path)[0].blueprint.head.program == program
    return preset.layout == "hf" and weights.has_head(preset.path, program)


def _weights_of(preset: Preset) -> list[Path]:
    """The files with a preset's weights."""
    one = {"zoo": WEIGHTS, "keras": "model.weights.h5"}.get(preset.layout)
    return weight_files(preset.path) if one is None else [preset.path / one]


def _paths(model: Any) -> set[str]:
    """Of all weights of a model."""
    return {variable.path for variable in weights.parameters(model)}
