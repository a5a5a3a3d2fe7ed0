"""Recipes: YAML text in, a frozen and typed `Recipe` out, or every fault of it at once (RecipeError)."""

from zoo.recipe.reading import Recipe, dump_recipe, load_recipe, recipe_from

__all__ = ["Recipe", "dump_recipe", "load_recipe", "recipe_from"]
