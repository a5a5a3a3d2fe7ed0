"""A run's predictions in Spark: a function of its columns, by `predict_batch_udf`.

told = predictor("runs/first")
rows.withColumn("told", told("text")).select("*", "told.*")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.data.streams import ROWS
from zoo.engines.loaded import Loaded
from zoo.tasks import Prediction

__all__ = ["cells_of", "predictor"]


def predictor(run: str, **options: Any) -> Any:
    """A function of the column of the text, or of the two of pairs, for `DataFrame.withColumn` and `select`.

    It gives a structure of the cells of a prediction, with the names and types that `zoo.predict --out x.parquet` has.
    Each of Spark's Python processes loads the model once. A row without a text, where that is no error, has null in
    each cell, and an empty list where that is one: `predict_batch_udf` takes no null for a list.

    Args:
        run: the folder of a finished run, which the driver and each process can read.
        options: as of `zoo.engines.loaded.Loaded`: task, precision, batch_size, on_missing.

    Raises OutputError and RecipeError as `Loaded`, from Spark's own errors DataError as `Loaded.predict`.
    """
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, DoubleType, LongType, StringType, StructField, StructType

    kinds = {str: StringType(), float: DoubleType(), int: LongType(), list: ArrayType(StringType())}
    asked = Loaded(run, **options)
    blank, pairs = asked.blank, bool(asked.run.takes_pairs)
    told = StructType([StructField(name, kinds[type(value)]) for name, value in blank.cells()])

    def load() -> Any:
        loaded = Loaded(run, **options)

        def of_texts(texts: Any) -> list[dict[str, Any]]:
            return cells_of(loaded.predict(texts.tolist()), blank)

        def of_pairs(texts: Any, others: Any) -> list[dict[str, Any]]:
            return cells_of(loaded.predict(texts.tolist(), others.tolist()), blank)

        return of_pairs if pairs else of_texts  # by their arguments Spark knows how many columns there are

    return predict_batch_udf(load, return_type=told, batch_size=ROWS)


def cells_of(found: Sequence[Prediction | None], blank: Prediction) -> list[dict[str, Any]]:
    """The cells of predictions as `predict_batch_udf` takes them: lists as arrays, and NaN for what is null."""

    def cell(value: Any) -> Any:
        if isinstance(value, list):
            return np.array(value, object)
        return np.nan if value is None else value

    without: dict[str, Any] = {name: [] if isinstance(value, list) else None for name, value in blank.cells()}
    cells = (without if each is None else dict(each.cells()) for each in found)
    return [{name: cell(value) for name, value in row.items()} for row in cells]
