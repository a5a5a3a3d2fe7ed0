"""A declarative Keras 3 model zoo for texts: classes, several of them, or numbers.

    import zoo, recipes
    recipe = recipes.load("quickstart")
    run = zoo.train(recipe, out="runs/mine")
    run.predict(["a truly great film"])

Importing this module imports neither Keras nor a backend. Once Keras is imported, it can load saved models of the zoo.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if sys.argv[:1] == ["-m"]:  # so it is while Python looks for the verb of `python -m zoo.VERB`: imports are next
    from zoo.stopping import leave_at_once

    leave_at_once()

import wrapt

if TYPE_CHECKING:
    from zoo.assemble import build
    from zoo.data.dataset import Dataset, load_data
    from zoo.explain.explained import Explanation
    from zoo.finished import Run, load_run
    from zoo.recipe import Recipe, load_recipe
    from zoo.run import train
    from zoo.runs.screen import Screen
    from zoo.tasks import Prediction

__all__ = [
    "Dataset",
    "Explanation",
    "Prediction",
    "Recipe",
    "Run",
    "Screen",
    "build",
    "load_data",
    "load_recipe",
    "load_run",
    "train",
]

_HOMES = {
    "Dataset": "zoo.data.dataset",
    "Explanation": "zoo.explain.explained",
    "Prediction": "zoo.tasks",
    "Recipe": "zoo.recipe",
    "Run": "zoo.finished",
    "Screen": "zoo.runs.screen",
    "build": "zoo.assemble",
    "load_data": "zoo.data.dataset",
    "load_recipe": "zoo.recipe",
    "load_run": "zoo.finished",
    "train": "zoo.run",
}

wrapt.register_post_import_hook("zoo.models.found_by_keras:announce", "keras")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}, expected one of {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
