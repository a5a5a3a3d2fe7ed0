"""The recipe's `data`: where the rows come from and how they are split.

In comes plain data, out goes a `Data`. Refused: what kinds.py refuses, and here both `dataset` and `files`, splits that
leave nothing to train on, columns and class names given twice. That it has neither is for the recipe to say, which may
have `tasks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from zoo.recipe.kinds import Clash, Columns, Config, Count, Name, Names, Pair, Text
from zoo.recipe.little_data import MOST_PARTS, Augment, FewShot


def is_text_encoding(name: str) -> bool:
    """Whether it names an encoding from bytes to text; Python has codecs for other things, as zip and rot13."""
    if not name.isascii():
        return False
    try:
        b"a".decode(name)
    except UnicodeError:
        return name.lower() != "undefined"  # which decodes nothing; one byte may be half a character to others
    except LookupError:
        return False
    return True


class Files(Config):
    """The user's own files: csv, tsv, jsonl or parquet, of words also conll or conllu, of answers json in SQuAD's
    layout, told by the ending."""

    train: Text
    """Path of the training rows, from the recipe's folder."""
    validation: Text | None = None
    """Path of the validation rows; None carves them from train as `data.validation` says."""
    test: Text | None = None
    """Path of the test rows; None carves them from train as `data.test` says."""
    text: Text | Pair = "text"
    """Column of the text, or two columns for pairs of texts."""
    label: Text | Columns | None = "label"
    """Column of the label; for tasks that learn several things of a text also a list of columns, one for each. None,
    and whatever else stands there, reads none for a task without labels."""
    label_names: Names | None = None
    """Class names, by class number from 0; None takes the labels found in train, sorted."""
    label_delimiter: Text | None = None
    """What stands between the labels of a text, for tasks in which it has several; None where the column has lists."""
    weight: Text | None = None
    """Column of a number from 0 up in the training rows, by which a row counts in the loss: twice as much with 2, and
    with 0 it is left out. Validation and test count every row once, and need no such column. None counts all alike."""
    encoding: Text = "utf-8"
    """Character encoding of csv, tsv and jsonl files."""

    def clashes(self) -> Iterator[Clash]:
        columns = (self.text,) if isinstance(self.text, str) else self.text
        labels = (self.label,) if isinstance(self.label, str) else self.label or ()
        for column in labels:
            if column in columns:
                yield Clash(("label", "text"), f"got {column}, the text column, expected a column of its own")
        if self.weight is not None and self.weight in (*columns, *labels):
            yield Clash(("weight",), f"got {self.weight}, a text or label column, expected a column of its own")
        if len(set(labels)) < len(labels):
            yield Clash(("label",), f"got {', '.join(labels)}, expected each column once")
        if len(set(columns)) < len(columns):
            yield Clash(("text",), f"got the column {columns[0]} twice, expected two columns")
        names = self.label_names or ()
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            yield Clash(("label_names",), f"got {', '.join(twice)} more than once, expected each class once")
        if self.label_names is not None and len(set(names)) < 2:
            yield Clash(("label_names",), f"got {len(set(names))} class, expected two or more")
        for split in ("validation", "test"):
            if getattr(self, split) == self.train:
                yield Clash((split, "train"), f"got {self.train}, the training file, expected rows not trained on")
        if self.test is not None and self.test == self.validation:
            yield Clash(("test", "validation"), f"got {self.test}, the validation file, expected other rows")
        if not is_text_encoding(self.encoding):
            message = f"got {self.encoding}, expected a text encoding that Python knows, as utf-8 or cp1252"
            yield Clash(("encoding",), message)


class Carve(Config):
    """How a split is carved from the training rows."""

    fraction: Annotated[float, Field(gt=0.0, lt=1.0, allow_inf_nan=False)] = 0.1
    """Share of the training rows, above 0 and below 1."""
    stratify: bool = True
    """Keep the share of each class equal in both parts."""


class Limit(Config):
    """At most so many rows a split, drawn with the classes kept in proportion."""

    train: Count | None = None
    """Rows of train and validation together, before the carving; None takes all."""
    validation: Count | None = None
    """Rows of validation; None takes all."""
    test: Count | None = None
    """Rows of test; None takes all."""


class Data(Config):
    """Where the rows come from and how they are split."""

    dataset: Name | None = None
    """Name of a dataset in the catalog (`python -m zoo.list`); or give `files`."""
    files: Files | None = None
    """The user's own files; or give `dataset`."""
    validation: Carve = Carve()
    """How validation is carved from train where the data has none of its own."""
    test: Carve = Carve()
    """How test is carved from train where the data has none of its own."""
    limit: Limit = Limit()
    """At most so many rows a split."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    """Draws which rows each split has: what is carved, limits, folds and few rows. None is the recipe's `seed`; with
    one of its own, runs of other seeds learn from the same rows and are judged by the same."""
    few_shot: FewShot | None = None
    """Few rows a class to train on, in several draws; None takes all rows, once."""
    folds: Annotated[int, Field(ge=2, le=MOST_PARTS)] | None = None
    """Cross-validation: so many trainings, each without a part of the rows of train, which it is tested on, so that
    every row is tested once. A test split of the data's own, and `limit.test`, play no part. None trains once."""
    fold: Count | None = None
    """With `folds`: one of them alone, from 1; None trains all. Who asks for the recipe's rows without training gets
    those of the first one."""
    augment: Augment | None = None
    """Changed copies of the training rows, learned beside them; None makes none."""
    on_missing: Literal["error", "drop"] = "error"
    """What a row without text or label gets: an error, or left out (the count is printed)."""
    deduplicate: bool = True
    """Drop exact duplicates from train before splitting; a text with two labels is an error under `strict`."""
    strict: bool = False
    """Fail, rather than warn, on rows that stand in both train and test and on contradicting duplicates."""

    @property
    def unsaid(self) -> bool:
        """Whether it names no rows."""
        return self.dataset is None and self.files is None

    @property
    def parts(self) -> dict[str, dict[str, int]]:
        """Of several trainings the name of each, as `draw-1`, and the dotted keys that make it one alone."""
        few = self.few_shot
        if few is not None and few.draw is None:
            return {f"draw-{number}": {"data.few_shot.draw": number} for number in range(1, few.draws + 1)}
        if self.folds is not None and self.fold is None:
            return {f"fold-{number}": {"data.fold": number} for number in range(1, self.folds + 1)}
        return {}

    def clashes(self) -> Iterator[Clash]:
        if self.dataset is not None and self.files is not None:
            yield Clash(("files", "dataset"), f"got files beside dataset: {self.dataset}, expected one of the two")
        if self.fold is not None and self.fold > (self.folds or 0):
            expected = "null without folds" if self.folds is None else f"at most {self.folds}, the folds"
            yield Clash(("fold", "folds"), f"got {self.fold}, expected {expected}")
        if self.folds is not None and self.few_shot is not None:
            message = f"got {self.folds} beside few_shot, expected one of the two: both say which rows a training has"
            yield Clash(("folds", "few_shot"), message)
        carved = self.validation.fraction + self.test.fraction
        if carved >= 1.0:
            yield Clash(
                ("validation.fraction", "test.fraction"),
                f"got {carved:g} together with test.fraction, expected below 1: nothing is left to train on",
            )
