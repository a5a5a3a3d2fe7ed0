"""(model, batches, recipe.training) -> history, checkpoints and weights."""
