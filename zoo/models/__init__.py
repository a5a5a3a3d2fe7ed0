"""recipe.model -> a plain keras.Model, filled with weights."""
