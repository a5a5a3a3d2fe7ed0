"""Recipes: YAML text in, a frozen and typed `Recipe` out, or every fault of it at once (RecipeError)."""

from zoo.recipe.reading import dump_recipe, load_recipe, recipe_from
from zoo.recipe.types import Recipe

__all__ = ["Recipe", "dump_recipe", "load_recipe", "recipe_from"]
