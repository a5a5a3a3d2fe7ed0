"""A recipe as Hugging Face has it: the same weights, rows, labels, rates and groups, as torch's own objects.

In comes a recipe; out come `Material` (rows and blueprint), a transformers model and the optimizer's parts. Refused, as
EnvironmentFault: a recipe for which transformers has no like (see `why_not`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.backend import ON_CPU, Precision, precisions_of_nvidia, refusal
from zoo.data.backbones import Preset, bring, locate_backbone, locate_like, locate_vocabulary
from zoo.data.dataset import SPLITS, Dataset, Split, load_dataset
from zoo.data.token_cache import encode_splits
from zoo.data.tokens import Tokenizer, load_tokenizer
from zoo.errors import EnvironmentFault, RecipeError
from zoo.models.blueprint import Blueprint
from zoo.models.builder import plan
from zoo.models.weights import draw
from zoo.recipe import Recipe
from zoo.recipe.length import run_length
from zoo.recipe.optimizers import AdamW
from zoo.runs.account import Stopwatch
from zoo.tasks import task_of
from zoo.training.schedule import learning_rates

NOTEBOOK_LENGTH = 128
"""Length that the tutorials pad every row to."""

SettingName = Literal["notebook", "tuned", "pipeline"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How the peer is used.

    pad_to: least length that every row is padded to; None pads each batch to its longest row.
    grouped: whether batches hold rows of like length.
    attention: what transformers calls the implementation.
    precision: `auto` is the fastest that this device has, by trial.
    ways: whether flash_attn and torch.compile are tried too, where there is an accelerator.
    """

    pad_to: int | None
    grouped: bool
    attention: Literal["eager", "sdpa"]
    precision: Literal["auto", "float32", "tf32", "bfloat16"]
    ways: bool = False


SETTINGS: dict[SettingName, Setting] = {
    "notebook": Setting(pad_to=NOTEBOOK_LENGTH, grouped=False, attention="eager", precision="float32"),
    "tuned": Setting(pad_to=None, grouped=True, attention="sdpa", precision="auto", ways=True),
    "pipeline": Setting(pad_to=None, grouped=False, attention="sdpa", precision="auto"),
}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Token ids of a split: ids and segments a row each (segments None where no row is a pair), labels [rows] int64."""

    ids: list[list[int]]
    segments: list[list[int]] | None
    labels: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row) for row in self.ids])

    def features(self) -> list[dict[str, Any]]:
        """Rows as transformers' data collators take them."""
        rows: list[dict[str, Any]] = [
            {"input_ids": row, "labels": int(label)} for row, label in zip(self.ids, self.labels, strict=True)
        ]
        for row, segments in zip(rows, self.segments or (), strict=False):
            row["token_type_ids"] = segments
        return rows


@dataclass(frozen=True, kw_only=True)
class Material:
    """All that the recipe says, before a framework is asked.

    preset is what transformers reads; weights_from is its address where the recipe's own is a Keras preset.
    """

    recipe: Recipe
    dataset: Dataset
    preset: Preset
    weights_from: str | None
    blueprint: Blueprint
    tokenizer: Any
    rows: dict[str, Rows]


def why_not(recipe: Recipe) -> str | None:
    """Why transformers cannot do the recipe, in a sentence; None where it can. Reads no weights, fetches nothing."""
    head, backbone = recipe.model.head, recipe.model.backbone
    if backbone.preset is None:
        return "the backbone is a fresh one, and transformers has no preset of it"
    if recipe.tasks:
        return "it has several tasks, and the peer learns one"
    if task_of(head).activation != "softmax":
        return f"the head is {head.type}, and the peer has a softmax over the classes"
    if head.init != "seed":
        return "the head comes with the preset, and its rows would have to be reordered"
    preset = locate_backbone(backbone)
    if preset is None:
        return f"the backbone {backbone.preset} is not in the cache: run python -m zoo.fetch"
    if preset.layout != "hf":
        like = locate_like(backbone)
        if like is None:
            return f"the backbone {backbone.preset} is a Keras preset, which transformers does not read"
        if like[1] is None:
            return (
                f"the backbone {backbone.preset} is a Keras preset, and its weights as transformers reads them are not "
                f"in the cache: run python -m zoo.fetch {recipe.name} --set model.backbone.preset={like[0]}"
            )
    return None


def load_material(recipe: Recipe, watch: Stopwatch) -> Material:
    """Rows and blueprint of a recipe; `watch` gets the seconds of data and tokenize."""
    reason = why_not(recipe)
    if reason is not None:
        raise EnvironmentFault(f"{recipe.name}: {reason}; leave out --peers for it")
    bring(recipe)
    with watch.measure("data"):
        dataset = load_dataset(recipe)
    preset = locate_backbone(recipe.model.backbone)
    if preset is None:  # `why_not` has seen it
        raise EnvironmentFault(
            f"the backbone {recipe.model.backbone.preset} has left the cache: run python -m zoo.fetch"
        )
    # The recipe's dimensions and rates are those of its own preset; weights and tokenizer those of its like.
    like = locate_like(recipe.model.backbone) if preset.layout != "hf" else None
    read = preset if like is None or like[1] is None else like[1]
    ours = load_tokenizer(locate_vocabulary(recipe.model.backbone))
    with watch.measure("tokenize"):
        theirs = their_tokenizer(read.path)
        rows = {name: _tokenize(theirs, ours, dataset, name, recipe) for name in SPLITS}
    return Material(
        recipe=recipe,
        dataset=dataset,
        preset=read,
        weights_from=None if like is None else like[0],
        blueprint=plan(recipe, preset=preset, tokenizer=ours, task=dataset.task),
        tokenizer=theirs,
        rows=rows,
    )


def their_tokenizer(folder: Path) -> Any:
    """transformers' own tokenizer of a preset."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _tokenize(theirs: Any, ours: Tokenizer, dataset: Dataset, name: str, recipe: Recipe) -> Rows:
    """A split's tokens by transformers; by the zoo where transformers cannot cut rows as the recipe says."""
    split: Split = getattr(dataset, name)
    labels = split.labels.astype(np.int64)
    if recipe.tokens.truncation == "head" and split.pairs is None:
        ids = theirs([*split.texts], truncation=True, max_length=recipe.tokens.max_length, return_token_type_ids=False)
        return Rows(ids=ids["input_ids"], segments=None, labels=labels)
    table = encode_splits(ours, dataset, recipe.tokens)[name]
    rows = [row.tolist() for row in np.split(table.ids, table.offsets[1:-1])]
    segments = None
    if split.pairs is not None and recipe.model.backbone.family == "bert":
        segments = [
            [0] * int(second) + [1] * (len(row) - int(second)) for row, second in zip(rows, table.second, strict=True)
        ]
    return Rows(ids=rows, segments=segments, labels=labels)


# --- the model ----------------------------------------------------------------------------------


def build(material: Material, setting: Setting) -> Any:
    """The transformers model: the preset's weights, and what it has none of as the zoo draws it from the seed."""
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()  # or it tells at length that the head is new
    logging.disable_progress_bar()
    blueprint = material.blueprint
    model, report = AutoModelForSequenceClassification.from_pretrained(
        material.preset.path,
        num_labels=blueprint.units,
        attn_implementation=setting.attention,
        dtype=torch.float32,
        local_files_only=True,
        output_loading_info=True,
        **dropout_rates(blueprint),
    )
    parameters = dict(model.named_parameters())
    draw((_Slot(name, parameters[name]) for name in sorted(report["missing_keys"])), material.recipe.seed)
    return model.to(device())


def dropout_rates(blueprint: Blueprint) -> dict[str, float]:
    """The blueprint's rates under the names of the family's transformers config."""
    backbone, head = blueprint.backbone, float(blueprint.head.dropout or 0.0)
    if backbone.family == "distilbert":
        names = ("dropout", "attention_dropout", "seq_classif_dropout")
    else:
        names = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout")
    return dict(zip(names, (backbone.dropout, backbone.attention_dropout, head), strict=True))


_HEADS = {
    "bert.pooler.dense": "pooled_dense",
    "pre_classifier": "head_dense",
    "classifier": "logits",
    "classifier.dense": "head_dense",
    "classifier.out_proj": "logits",
}
"""Modules that a preset may lack, and what the zoo calls them."""


class _Slot:
    """A parameter of torch as `zoo.models.weights.draw` fills a variable: under the zoo's path, kernels [in, out]."""

    def __init__(self, name: str, parameter: Any) -> None:
        module, _, part = name.rpartition(".")
        if module not in _HEADS:
            raise EnvironmentFault(f"the preset has no weights for {name}: use another preset")
        self.name = {"weight": "kernel", "bias": "bias"}[part]
        self.path = f"{_HEADS[module]}/{self.name}"
        self.shape = tuple(reversed(parameter.shape))
        self._parameter = parameter

    def assign(self, value: np.ndarray) -> None:
        import torch

        with torch.no_grad():
            self._parameter.copy_(torch.from_numpy(np.ascontiguousarray(value.T)))


def device() -> Any:
    """Where torch computes here."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precisions(setting: Setting) -> tuple[Precision, ...]:
    """In what the setting lets the device multiply; EnvironmentFault where it asks for what the device has not."""
    import torch

    cuda = device().type == "cuda" and torch.version.cuda is not None
    here = precisions_of_nvidia(torch.cuda.get_device_capability(0)) if cuda else ON_CPU
    if setting.precision == "auto":
        return here
    if setting.precision not in here:
        raise EnvironmentFault(refusal("--precision", setting.precision, here, f"torch on {device()}"))
    return (setting.precision,)


# --- the update rule ----------------------------------------------------------------------------


def optimizer_of(material: Material, model: Any) -> tuple[Any, Any]:
    """Fused AdamW with the recipe's groups, and the recipe's rate of each step as torch's scheduler."""
    import torch

    config = material.recipe.training.optimizer
    if not isinstance(config, AdamW):
        raise RecipeError(f"training.optimizer.type: got {config.type}, expected adamw: this peer has no other")
    if config.head_rate is not None:
        raise RecipeError(
            f"training.optimizer.head_rate: got {config.head_rate}, expected null: this peer has one rate"
        )
    groups: dict[tuple[float, float], list[Any]] = {}
    for name, parameter in model.named_parameters():
        decay = 0.0 if parameter.ndim == 1 else config.weight_decay  # biases and layer norms
        layers = material.blueprint.backbone.num_layers
        factor = config.layer_decay ** max(0, layers - depth(name, layers))  # the top layer keeps the rate
        groups.setdefault((factor, decay), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": members, "lr": config.learning_rate * factor, "weight_decay": decay}
            for (factor, decay), members in groups.items()
        ],
        betas=(config.beta_1, config.beta_2),
        eps=config.epsilon,
        fused=True,
    )
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, shares_of_peak(material))


def shares_of_peak(material: Material) -> Callable[[int], float]:
    """Step, from 0, to the share of the peak rate that the recipe's schedule has there; the last one holds on."""
    config = material.recipe.training
    steps = run_length(config, rows=len(material.rows["train"].ids)).steps
    rates = learning_rates(config.schedule, peak=1.0, steps=steps)
    return lambda step: float(rates[min(step, steps - 1)])


def depth(name: str, num_layers: int) -> int:
    """How far a parameter is from the input, as `zoo.models.backbone.depth` counts it."""
    parts = name.split(".")
    if "layer" in parts and parts[parts.index("layer") + 1].isdigit():
        return int(parts[parts.index("layer") + 1]) + 1
    return 0 if "embeddings" in parts else num_layers + 1


def batch_orders(material: Material, setting: Setting) -> Iterator[list[list[int]]]:
    """Rows of each step, an epoch after the other, by transformers' own samplers and the recipe's seed."""
    import torch
    from torch.utils.data import RandomSampler
    from transformers.trainer_pt_utils import LengthGroupedSampler

    size = material.recipe.training.batch_size
    random = torch.Generator().manual_seed(material.recipe.seed)
    lengths = material.rows["train"].lengths.tolist()
    sampler = (
        LengthGroupedSampler(size, lengths=lengths, generator=random)
        if setting.grouped
        else RandomSampler(range(len(lengths)), generator=random)
    )
    while True:
        order = [int(row) for row in sampler]
        yield [order[start : start + size] for start in range(0, len(order), size)]


def padded(rows: Rows, chosen: list[int], setting: Setting, pad: int) -> dict[str, np.ndarray]:
    """The inputs of one batch, each [batch, length] int64, and labels [batch]."""
    longest = max(max(len(rows.ids[row]) for row in chosen), setting.pad_to or 0)
    ids = np.full((len(chosen), longest), pad, np.int64)
    mask = np.zeros((len(chosen), longest), np.int64)
    types = np.zeros((len(chosen), longest), np.int64)
    for place, row in enumerate(chosen):
        length = len(rows.ids[row])
        ids[place, :length] = rows.ids[row]
        mask[place, :length] = 1
        if rows.segments is not None:
            types[place, :length] = rows.segments[row]
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": rows.labels[chosen]}
    return inputs if rows.segments is None else {**inputs, "token_type_ids": types}
