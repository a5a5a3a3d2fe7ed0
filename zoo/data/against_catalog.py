"""What a recipe says, held against the catalog: names, families, lengths, classes; and what it will cost.

In comes a recipe that the types accept; out come the contradictions that only the cards can show, as
`Clash`es to be placed in the file, and the figures for an estimate. Nothing is fetched and no weights
are read.
"""

from __future__ import annotations

import json
import os.path
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

from zoo.data.backbones import locate_vocabulary
from zoo.data.catalog import backbone_card, backbone_names, dataset_card, dataset_names, vocabulary_names
from zoo.data.columns import of_card
from zoo.data.dataset import takes_pairs
from zoo.data.joined import MIXED
from zoo.data.run_model import backbone_of_run
from zoo.data.sources import address
from zoo.recipe import Recipe
from zoo.recipe.backbone_group import Backbone
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.faults import not_among
from zoo.recipe.kinds import Clash
from zoo.recipe.staging import STAGE
from zoo.tasks import task_of


def disagreements(recipe: Recipe) -> Iterator[Clash]:
    """Every point in which a recipe and the catalog contradict each other."""
    yield from _of_data(recipe)
    if recipe.model.backbone.preset is not None:
        yield from _of_preset(recipe, recipe.model.backbone.preset)
    else:
        yield from _of_vocabulary(recipe.model.backbone.vocabulary or "")
    distil = recipe.training.distil
    if distil is not None and not distil.teacher.startswith(STAGE) and not os.path.isdir(distil.teacher):
        yield Clash(("training.distil.teacher",), f"got {distil.teacher}, expected the folder of a finished run")


def dimensions(backbone: Backbone) -> Dimensions | None:
    """What decides the cost of a backbone; None where only the preset tells."""
    whole = _of_whole(backbone)
    return whole and (whole if backbone.layers is None else replace(whole, num_layers=len(backbone.layers)))


def _of_whole(backbone: Backbone) -> Dimensions | None:
    """Those of the whole preset, whichever layers of it are taken."""
    if backbone.preset in backbone_names():
        return backbone_card(str(backbone.preset)).dimensions
    if backbone.preset is not None:
        same = (card for card in map(backbone_card, backbone_names()) if card.hugging_face == backbone.preset)
        if (card := next(same, None)) is not None:  # the same weights, as transformers reads them
            return card.dimensions
        run = backbone_of_run(Path(backbone.preset))
        names = {field.name for field in fields(Dimensions)}
        sizes = {name: value for name, value in (run or {}).items() if name in names and isinstance(value, int)}
        return Dimensions(**sizes) if len(sizes) == len(names) else None
    return Dimensions(
        num_layers=backbone.num_layers or 0,
        num_heads=backbone.num_heads or 0,
        hidden_dim=backbone.hidden_dim or 0,
        intermediate_dim=backbone.intermediate_dim or 0,
        vocabulary_size=_vocabulary_size(backbone),
        max_positions=backbone.max_positions or 512,
    )


def training_rows(recipe: Recipe) -> int | None:
    """Rows that an epoch has where none are drawn, from the cards of the data sets; None with the user's own files."""
    known = [_rows_of(each) for each in recipe.with_data]
    return None if None in known else recipe.repeats * sum(count for count in known if count is not None)


def _rows_of(recipe: Recipe) -> int | None:
    rows, augment = _rows_alone(recipe), recipe.data.augment
    return rows if augment is None or rows is None else round(rows * (1 + augment.share * augment.copies))


def _rows_alone(recipe: Recipe) -> int | None:
    """Without changed copies."""
    data = recipe.data
    if data.dataset is None:
        return None
    card = dataset_card(data.dataset)
    rows = float(card.rows["train"])
    if data.few_shot is not None:
        return None if card.label_names is None else data.few_shot.rows * len(card.label_names)
    if "test" not in card.rows and data.folds is None:
        rows *= 1 - data.test.fraction
    rows = min(rows, data.limit.train or rows)
    if data.folds is not None:
        rows *= 1 - 1 / data.folds
    if "validation" not in card.rows:
        rows *= 1 - data.validation.fraction
    return round(rows)


def _of_data(recipe: Recipe) -> Iterator[Clash]:
    """What the cards of the data sets say against a recipe, or against each of its tasks."""
    tasks = recipe.of_tasks()
    if not tasks:
        yield from _of_dataset(recipe, "model.head.type", "data.dataset")
        return
    clashes = [
        clash
        for name, own in tasks.items()
        for clash in _of_dataset(own, f"tasks.{name}.head.type", f"tasks.{name}.data.dataset")
    ]
    yield from clashes
    if not clashes and len({takes_pairs(own) for own in tasks.values()}) > 1:
        yield Clash(("tasks",), f"got {MIXED}")


def _of_dataset(recipe: Recipe, head: str, dataset: str) -> Iterator[Clash]:
    """What its card says against a recipe of one task, whose head and data set stand under these keys."""
    name = recipe.data.dataset
    if name is None:
        return
    if name not in dataset_names():
        yield Clash((dataset,), not_among(name, dataset_names()))
        return
    if fault := task_of(recipe.model.head).misfit(of_card(dataset_card(name))):
        yield Clash((head, dataset), fault)


def _of_preset(recipe: Recipe, preset: str) -> Iterator[Clash]:
    if "://" in preset:
        try:
            address(preset)
        except ValueError as error:
            yield Clash(("model.backbone.preset",), f"got {error}")
        return
    if preset not in backbone_names():
        if Path(preset).is_absolute():
            if not os.path.isdir(preset):
                yield Clash(("model.backbone.preset",), f"got {preset}, expected a folder that exists")
            return
        yield Clash(("model.backbone.preset",), f"{not_among(preset, backbone_names())}, or a local folder")
        return
    card, family = backbone_card(preset), recipe.model.backbone.family
    if card.family != family:
        message = f"got {family}, expected {card.family}: the family of {preset}"
        yield Clash(("model.backbone.family", "model.backbone.preset"), message)
    if recipe.tokens.max_length > card.max_positions:
        message = f"got {recipe.tokens.max_length}, expected at most {card.max_positions}, the positions of {preset}"
        yield Clash(("tokens.max_length", "model.backbone.preset"), message)
    layers = recipe.model.backbone.layers
    if layers is not None and layers[-1] >= card.num_layers:
        message = f"got {layers[-1]}, expected below {card.num_layers}, the layers of {preset}"
        yield Clash(("model.backbone.layers", "model.backbone.preset"), message)
    if recipe.model.head.init == "preset" and card.layout == "keras":
        message = f"got preset, expected seed: {preset} is a Keras preset without a classification head"
        yield Clash(("model.head.init", "model.backbone.preset"), message)


def _of_vocabulary(name: str) -> Iterator[Clash]:
    known = (*vocabulary_names(), *backbone_names())
    if Path(name).is_absolute() and not os.path.exists(name):  # pathlib raises where a name is too long
        yield Clash(("model.backbone.vocabulary",), f"got {name}, expected a file or a folder that exists")
    elif not Path(name).is_absolute() and name not in known:
        yield Clash(("model.backbone.vocabulary",), f"{not_among(name, known)}, or a local file or folder")


def _vocabulary_size(backbone: Backbone) -> int:
    """Pieces of a fresh backbone's vocabulary; 30,522, those of BERT, where that is not known without fetching it."""
    if backbone.vocabulary in backbone_names():
        return backbone_card(str(backbone.vocabulary)).vocabulary_size
    path = locate_vocabulary(backbone)
    files = [path] if path.is_file() else [path / "vocab.txt", path / "vocab.json"]
    for file in files:
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            return len(json.loads(text)) if file.name == "vocab.json" else text.count("\n")
    return 30_522
