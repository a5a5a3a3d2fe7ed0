"""`zoo.build`: a recipe's model, untrained.

In comes a recipe; out comes a plain keras.Model with the preset's weights and a head drawn from
the seed. Data and weights are fetched where they are not cached.
"""

from __future__ import annotations

from typing import Any

from zoo.data.backbones import bring
from zoo.data.dataset import load_dataset, stated_task
from zoo.data.parts import load_parts
from zoo.data.sources import cache_folder
from zoo.recipe import Recipe
from zoo.training import prepare


def build(recipe: Recipe) -> Any:
    """The model of a recipe.

    Args:
        recipe: what to build.

    Returns:
        A keras.Model from a dict of token_ids, padding_mask (and segment_ids where the family has them), each
        [batch, length] int32, to float32 outputs: logits [batch, classes], [batch, 1] for a binary head, or what the
        task has. Called by itself it multiplies float32 numbers as its backend is set to; by `zoo.train` and
        `zoo.load_run` as their precision says.

    Raises:
        ZooError: data or weights are missing, or do not fit the recipe; or it has stages.
    """
    backend = prepare.activated(recipe.alone())
    backend.keep_compiled(cache_folder() / "compiled")
    bring(recipe)
    task = stated_task(recipe) or load_dataset(recipe).task
    return prepare.build(recipe, task, load_parts(recipe), backend).model
