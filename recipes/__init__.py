"""The recipes that come with text-zoo: the YAML files of this folder are the registry.

In comes a name, as `imdb_bert`; out goes its `Recipe`. An unknown name is a RecipeError that lists the known ones.
"""

from __future__ import annotations

from pathlib import Path

from zoo.errors import RecipeError
from zoo.recipe import Recipe, load_recipe
from zoo.recipe.faults import not_among
from zoo.recipe.reading import Overrides

__all__ = ["load", "names", "path"]

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The names of the shipped recipes, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def path(name: str) -> Path:
    """The file of a shipped recipe; raises RecipeError on an unknown name."""
    if name not in names():
        raise RecipeError(f"recipe: {not_among(name, names())}")
    return _FOLDER / f"{name}.yaml"


def load(name: str, profile: str | None = None, overrides: Overrides = ()) -> Recipe:
    """A shipped recipe, with one of its profiles and overrides on top."""
    return load_recipe(path(name), profile=profile, overrides=overrides)
