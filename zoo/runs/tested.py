"""The test rows of a run, read from its data again.

In come a run folder and, where some rows alone are wanted, ids of predictions.jsonl; out come texts. Refused: an id
that is not there (RecipeError); data that have changed since, as another text could stand under an id (DataError).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.data.dataset import Split, load_dataset
from zoo.errors import DataError, RecipeError
from zoo.recipe import load_recipe
from zoo.recipe.faults import did_you_mean
from zoo.runs.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class TextRow:
    """A row of the test split; `pair` is None where rows have one text."""

    id: str
    text: str
    pair: str | None


def tested_split(folder: RunFolder) -> Split:
    """The test split of a run.

    Raises:
        DataError: the data have changed since the run, or cannot be read.
        EnvironmentFault: the data are not in the cache.
    """
    dataset = load_dataset(load_recipe(folder.path / "recipe.yaml"))
    if dataset.sha256 != folder.run.get("dataset", {}).get("sha256"):
        raise DataError(
            f"the data have changed since the run {folder.path}: bring its rows back, or give the text itself"
        )
    return dataset.test


def tested_rows(folder: RunFolder, ids: Sequence[str]) -> list[TextRow]:
    """The rows of these ids, in their order.

    Raises:
        RecipeError: an id that predictions.jsonl does not have.
        DataError, EnvironmentFault: see `tested_split`.
    """
    known = [row["id"] for row in folder.predictions]
    example = f", as {known[0]}" if known else ""
    faults = [
        f"row: got {key!r}, expected an id of {folder.path / 'predictions.jsonl'}{example}{did_you_mean(key, known)}"
        for key in ids
        if key not in known
    ]
    if faults:
        raise RecipeError(faults)
    test = tested_split(folder)
    number = {key: place for place, key in enumerate(test.ids)}
    return [
        TextRow(
            id=key,
            text=test.texts[number[key]],
            pair=None if test.pairs is None else test.pairs[number[key]],
        )
        for key in ids
    ]
