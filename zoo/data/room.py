"""Room on the disk for what a run will write, and for what it downloads, before it does either.

In comes a recipe with the dimensions of its backbone, or what it misses in the cache; refused, with need and free room:
a disk that has not that much. No backend is imported.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from zoo.data.catalog import backbone_card, backbone_names, dataset_card
from zoo.data.sources import cache_folder
from zoo.data.writing import nearest
from zoo.errors import EnvironmentFault, OutputError
from zoo.recipe import Recipe
from zoo.recipe.dimensions import Dimensions
from zoo.recipe.estimate import estimate
from zoo.recipe.training_group import Training

AT_ONCE = 3
"""Checkpoints that lie there while one is written: the last two, and it."""
BESIDE = 50_000_000
"""Bytes for history, predictions, pictures and report."""


def run_bytes(recipe: Recipe, size: Dimensions) -> int:
    """The most that a run's folder holds at any time, in bytes: its checkpoints while one is written, or two and its
    model."""
    config = recipe.training
    found = estimate(recipe, size, None)
    saved = found.trained if config.lora is not None else found.parameters
    averages = found.trained if config.average is not None and config.average.type == "ema" else 0
    checkpoint = 4 * (saved * (1 + _epochs_kept(config)) + found.moments + averages)
    return max(AT_ONCE * checkpoint, (AT_ONCE - 1) * checkpoint + 4 * found.parameters) + BESIDE


def held_bytes(folder: Path) -> int:
    """What the files of a folder hold."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def refuse_full(folder: Path, wanted: int) -> None:
    """Raise OutputError where there is no room for so many bytes of a run."""
    free = free_bytes(folder)
    if wanted > free:
        raise OutputError(
            f"{folder} has {decimal(free)} left, expected {decimal(wanted)} for the checkpoints and the model of this "
            "run: free some space, or choose another --out"
        )


def refuse_full_cache(recipe: Recipe, uris: Collection[str]) -> None:
    """Raise EnvironmentFault where the cache has no room for these; what no card states the size of counts nothing."""
    cards: list[Any] = [dataset_card(each.data.dataset) for each in recipe.with_data if each.data.dataset]
    cards += [backbone_card(name) for name in (recipe.model.backbone.preset,) if name in backbone_names()]
    wanted = sum(card.size_bytes or 0 for card in cards if card.origins[0].uri in uris)
    free = free_bytes(cache_folder())
    if wanted > free:
        raise EnvironmentFault(
            f"{cache_folder()} has {decimal(free)} left, expected {decimal(wanted)} for what is missing: "
            "free some space, or set ZOO_CACHE to a folder with more"
        )


def free_bytes(folder: Path) -> int:
    """What the file system of a folder that may not exist yet has left for this user."""
    return shutil.disk_usage(nearest(folder)).free


def _epochs_kept(config: Training) -> int:
    """Of how many epochs a checkpoint has the weights, beside where it stands."""
    if config.average is not None and config.average.type != "ema":
        return config.average.epochs
    return 1 if config.keep == "best" else 0
