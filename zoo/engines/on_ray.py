"""A run's predictions in Ray Data: what `Dataset.map_batches` calls.

found = rows.map_batches(
    Predictor,
    fn_constructor_kwargs={"run": "runs/first"},
    batch_format="pyarrow",
    compute=ray.data.ActorPoolStrategy(size=2),
)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.engines.loaded import Loaded
from zoo.errors import DataError, RecipeError
from zoo.recipe.showing import listed
from zoo.runs.answers import prediction_columns, prediction_types

__all__ = ["Predictor"]


class Predictor:
    """Adds the columns of a prediction to a batch, as `zoo.predict --out x.parquet` has them. An actor makes one, and
    so loads the model once.

    Args:
        run: the folder of a finished run, which each actor can read.
        text: the column of the text, or the two of pairs; None takes the recipe's.
        options: as of `zoo.engines.loaded.Loaded`: task, precision, batch_size, on_missing.

    Raises OutputError and RecipeError as `Loaded`.
    """

    def __init__(self, run: str, *, text: str | Sequence[str] | None = None, **options: Any) -> None:
        self._loaded = Loaded(run, **options)
        asked = (text,) if isinstance(text, str) else tuple(text or self._loaded.columns)
        wanted = 1 if self._loaded.run.takes_pairs is False else 2 if self._loaded.run.takes_pairs else len(asked)
        if len(asked) != wanted:
            raise RecipeError(f"text: got {listed(asked)}, expected {wanted} of them, as the run was trained")
        self._text = asked

    def __call__(self, batch: Any) -> Any:
        """A pyarrow table with the prediction's columns behind its own; DataError for anything else, where it lacks the
        text, and as `Loaded.predict`."""
        import pyarrow

        if not isinstance(batch, pyarrow.Table):
            raise DataError(
                f"map_batches: got a batch that is a {type(batch).__name__}, expected a table of pyarrow's: say "
                'batch_format="pyarrow"'
            )
        absent = [name for name in self._text if name not in batch.column_names]
        if absent:
            raise DataError(
                f"text: got {listed(absent)}, expected among the columns {listed(batch.column_names)}: name yours by "
                "text="
            )
        found = self._loaded.predict(*(batch.column(name).to_pylist() for name in self._text))
        types = prediction_types(self._loaded.blank, batch.column_names)
        columns = prediction_columns(found, len(types))
        for (name, kind), values in zip(types.items(), columns, strict=True):
            batch = batch.append_column(name, pyarrow.array(values, kind))
        return batch
