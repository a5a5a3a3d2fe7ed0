"""Rows: the recipe's `data` in, train, validation and test out.

In comes a recipe; out come texts, targets and the task, the same for a seed on every machine. In order: read, leave
out what is missing, have the task make targets of the labels, drop exact duplicates from train, carve test, apply
limits, carve validation, draw few rows a class, shuffle train, add changed copies. Refused, all faults of a step at
once: what tables.py and the task refuse, empty and missing texts or labels (unless `on_missing: drop`), fewer rows than
a batch; under `strict` also rows in both train and test, and texts with two labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.data.augmenting import augmented
from zoo.data.carving import carved, digest, duplicates, overlap
from zoo.data.catalog import DatasetCard, dataset_card
from zoo.data.columns import Layout, as_tuple, of_card, of_files, read_rows
from zoo.data.joined import Rows, joined
from zoo.data.mixing import rows_by_class
from zoo.data.shown import Row, in_notebook
from zoo.data.sources import Missing, fetch_first, folder_of, locate_first
from zoo.data.split import SPLITS, Split
from zoo.data.strings import Strings, let_go
from zoo.data.tables import SHOWN
from zoo.errors import DataError, EnvironmentFault, RecipeError
from zoo.recipe import Recipe
from zoo.recipe.length import run_length
from zoo.recipe.showing import listed
from zoo.score.ragged import Ragged
from zoo.tasks import Joint, Stated, Task, task_of
from zoo.tasks.class_weights import refuse_unknown

__all__ = [
    "SPLITS",
    "Dataset",
    "Split",
    "load_data",
    "load_dataset",
    "missing_data",
    "read_labelled",
    "rows_an_epoch",
    "stated_task",
    "takes_pairs",
    "text_column",
]


@dataclass(frozen=True, kw_only=True, repr=False)
class Dataset:
    """The splits of a run; `notes` are warnings to show. sha256: of all rows in their order, with the names. copies:
    rows of train that are changed copies of others."""

    train: Split
    validation: Split
    test: Split
    task: Task
    sha256: str
    notes: tuple[str, ...]
    copies: int = 0

    def __repr__(self) -> str:
        rows = ", ".join(f"{count:,} {split}" for split, count in self.rows.items())
        return f"Dataset({rows} rows; {self.task.listed_names})"

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each split, by its name."""
        return {name: len(split) for name, split in self._splits().items()}

    @property
    def label_counts(self) -> dict[str, dict[str, int]]:
        """How often each class, or level of a scale, occurs in each split; empty where labels are any numbers."""
        targets = {name: split.labels for name, split in self._splits().items()}
        found = self.task.occurrences(self.task.account(targets))
        if found is None:
            return {}
        counts, names, *_ = found.arguments
        return {name: dict(zip(names, values, strict=True)) for name, values in counts.items()}

    def without_copies(self) -> Dataset:
        """The rows that the data have, of one task."""
        rows = len(self.train) - self.copies
        return replace(self, train=self.train.take(np.arange(rows)), copies=0) if self.copies else self

    def sample(self, split: Literal["train", "validation", "test"] = "train", count: int = 5) -> tuple[Row, ...]:
        """So many rows of a split, or all where it has fewer, drawn the same each time, in their order."""
        of = self._splits()[split]
        drawn = np.random.default_rng(0).permutation(len(of))[:count]
        chosen = of.take(np.sort(drawn))
        pairs: Sequence[str | None] = chosen.pairs or [None] * len(chosen)
        labels = map(self.task.label, chosen.labels)
        parts = zip(chosen.ids, chosen.texts, pairs, labels, strict=True)
        return tuple(Row(id=key, text=text, pair=pair, label=label) for key, text, pair, label in parts)

    def _splits(self) -> dict[str, Split]:
        return {name: getattr(self, name) for name in SPLITS}

    def _repr_html_(self) -> str:
        """In a notebook: rows and labels of each split, notes, and some rows of train."""
        return in_notebook(self.rows, self.label_counts, self.task.listed_names, self.notes, self.sample())


def rows_an_epoch(train: Split, recipe: Recipe) -> int:
    """Rows of train that an epoch has: all, so many times, or as many as `training.resample` draws."""
    if recipe.training.resample is None:
        return len(train) * recipe.repeats
    return int(rows_by_class(np.bincount(train.labels), recipe.training.resample).sum())


def load_dataset(recipe: Recipe) -> Dataset:
    """The rows of a recipe.

    Raises:
        DataError: the rows cannot be used as they are.
        EnvironmentFault: a catalog data set that is not in the cache; `zoo.fetch` brings it.
        RecipeError: rows that the head is not for, more steps than a run may have.
    """
    rows = _rows_of_tasks(recipe) if recipe.tasks else _rows(recipe)
    train = len(rows.splits["train"])
    if train < recipe.training.batch_size:
        raise DataError(
            f"train has {train} rows, fewer than the batch of {recipe.training.batch_size}; "
            f"add rows or set training.batch_size={train}"
        )
    rows_drawn = rows_an_epoch(rows.splits["train"], recipe)
    run_length(recipe.training, rows=rows_drawn)  # refuses what is too long, before a text is tokenized
    sha256 = digest(rows.splits, rows.task.names)
    let_go()
    return Dataset(**rows.splits, task=rows.task, sha256=sha256, notes=tuple(rows.notes), copies=rows.copies)


def _rows_of_tasks(recipe: Recipe) -> Rows:
    """The rows of all tasks of a recipe; the faults of all at once."""
    found, faults = dict[str, Rows](), list[str]()
    for name, own in recipe.of_tasks().items():
        try:
            found[name] = _rows(own)
        except DataError as error:
            faults += [f"{name}: {fault}" for fault in error.faults]
    if faults:
        raise DataError(faults)
    return joined(found, {name: each.weight for name, each in recipe.tasks.items()})


def _rows(recipe: Recipe) -> Rows:
    """The rows of a recipe of one task."""
    data, notes = recipe.data, list[str]()
    splits, task = _read(recipe, notes)
    faults = duplicates(splits, data.deduplicate, notes)
    if data.folds is not None and "test" in splits:
        notes.append(f"test: its {len(splits['test']):,} rows are left aside: with data.folds rows of train are tested")
    splits = carved(splits, task, recipe)
    task = task.fitted(splits["train"].labels)
    refuse_unknown(recipe.training.class_weights, task)
    faults += overlap(splits)
    copies = 0
    if data.augment is not None:
        family, alone = recipe.model.backbone.family, len(splits["train"])
        splits["train"] = augmented(splits["train"], data.augment, seed=recipe.seed, family=family)
        copies = len(splits["train"]) - alone
    if data.strict and faults:
        raise DataError([f"{fault} (data.strict is true)" for fault in faults])
    return Rows(splits=splits, task=task, notes=(*notes, *faults), copies=copies)


def _read(recipe: Recipe, notes: list[str]) -> tuple[dict[str, Split], Task]:
    """The whole rows of all files, and the task with what it learned from their labels."""
    task, layout = task_of(recipe.model.head), _layout(recipe)
    columns, (task, targets) = read_rows(
        layout,
        task,
        task.learned,
        drop=recipe.data.on_missing == "drop",
        repair="leave such rows out with data.on_missing=drop",
        notes=notes,
    )
    splits = {split: _split(split, layout.files[split], columns[split], targets[split]) for split in columns}
    _refuse_misplaced(splits, task)
    return splits, task


def load_data(recipe: Recipe) -> Dataset:
    """The rows of a recipe as training has them, brought into the cache where they are not there; no backend is used.

    Raises as `load_dataset`, and RecipeError of a recipe with stages; EnvironmentFault where the network is needed and
    away.
    """
    for each in recipe.alone().with_data:
        if missing_data(each):
            fetch_first(_card(each).origins)
    return load_dataset(recipe)


def stated_task(recipe: Recipe) -> Task | None:
    """The task, where the catalog or the recipe says all that it has of the rows; None where they have to be read."""
    if not recipe.tasks:
        stated = task_of(recipe.model.head).stated(_stated(recipe))
        if stated is not None:
            refuse_unknown(recipe.training.class_weights, stated)
        return stated
    found = {name: stated_task(own) for name, own in recipe.of_tasks().items()}
    known = {name: task for name, task in found.items() if task is not None}
    weights = {name: each.weight for name, each in recipe.tasks.items()}
    return Joint(tasks=known, weights=weights) if len(known) == len(found) else None


def missing_data(recipe: Recipe) -> list[Missing]:
    """What the recipe's data needs from the cache and does not find there; own files are not looked at."""
    found = []
    for name in dict.fromkeys(each.data.dataset for each in recipe.with_data):
        if name is not None and locate_first(dataset_card(name).origins) is None:
            origin = dataset_card(name).origins[0]
            found.append(Missing(what=f"the data set {name}", uri=origin.uri, cache_path=folder_of(origin)))
    return found


def text_column(recipe: Recipe) -> str | tuple[str, str]:
    """Text column, or the two of pairs, of the recipe's data, for reading other files of the same kind; of several
    tasks those of the first."""
    recipe = recipe.with_data[0]
    where = recipe.data.files if recipe.data.files is not None else dataset_card(recipe.data.dataset or "")
    return where.text


def takes_pairs(recipe: Recipe) -> bool:
    """Whether a row of the recipe's data is a pair of texts."""
    return isinstance(text_column(recipe), tuple)


def read_labelled(
    path: str | Path,
    recipe: Recipe,
    task: Task,
    *,
    text: str | tuple[str, str] | None = None,
    label: Sequence[str] | None = None,
    on_missing: Literal["error", "drop"] = "error",
) -> tuple[Split, list[str]]:
    """Rows of another file like those of a recipe, and what there is to say of them.

    Args:
        path: the file.
        recipe: whose data it is like.
        task: what was learned from them, with its names.
        text: column of the text, or the two of pairs; None takes the recipe's.
        label: columns of the label, as many as the recipe's and, unless they have the same names, in their order; None
            takes the recipe's.
        on_missing: whether rows without text or label are an error or left out, which is then said.

    Raises:
        RecipeError: another number of label columns.
        DataError: a column that is not there, rows without text or label, labels that the task does not know.
    """
    stated = _stated(recipe)
    if label is not None and len(label) != len(stated.columns):
        raise RecipeError(
            f"--label-column: got {listed(label)}, expected {len(stated.columns)} of them, as the recipe has: "
            f"{listed(stated.columns)}"
        )
    if label is not None and {*label} != {*stated.columns}:
        stated = replace(stated, columns=tuple(label))
    notes = list[str]()
    layout = Layout(
        files={"rows": Path(path)},
        text=as_tuple(text or text_column(recipe)),
        label=stated,
        select={},
        encoding="utf-8",
    )
    columns, targets = read_rows(
        layout,
        task,
        lambda labels, stated, where: task.targets(labels["rows"], stated, where),
        drop=on_missing == "drop",
        repair="leave such rows out with --on-missing drop",
        notes=notes,
    )
    found = _split("rows", Path(path), columns["rows"], targets)
    _refuse_misplaced({"rows": found}, task)
    return found, notes


def _stated(recipe: Recipe) -> Stated:
    """What is known of the labels without their rows; of a task that has none, that no column holds them."""
    found = of_files(recipe.data.files) if recipe.data.files is not None else of_card(_card(recipe))
    return found if recipe.model.head.labelled else replace(found, columns=())


def _card(recipe: Recipe) -> DatasetCard:
    return dataset_card(recipe.data.dataset or "")


def _layout(recipe: Recipe) -> Layout:
    files = recipe.data.files
    if files is not None:
        paths = {split: Path(getattr(files, split)) for split in SPLITS if getattr(files, split) is not None}
        return Layout(
            files=paths,
            text=as_tuple(files.text),
            label=_stated(recipe),
            select={},
            encoding=files.encoding,
            weight=files.weight,
        )
    card = _card(recipe)
    found = locate_first(card.origins)
    if found is None:
        raise EnvironmentFault(f"{missing_data(recipe)[0]}; run `python -m zoo.fetch` with this recipe")
    origin, folder = found
    return Layout(
        files={split: folder / name for split, name in origin.splits.items()},
        text=as_tuple(card.text),
        label=_stated(recipe),
        select=card.select,
        encoding="utf-8",
    )


def _split(split: str, path: Path, columns: Mapping[str, Any], labels: Any) -> Split:
    return Split(
        texts=Strings.of(columns["text"]),
        pairs=Strings.of(columns["pair"]) if "pair" in columns else None,
        labels=labels,
        ids=Strings.numbered(f"{split}/", columns["row"]),
        path=path,
        lines=columns["line"],
        weights=columns.get("weight"),
        words=Ragged.of(columns["words"], np.int32, item=(2,)) if "words" in columns else None,
    )


def _refuse_misplaced(splits: Mapping[str, Split], task: Task) -> None:
    """DataError where labels do not fit their texts, of all splits."""
    faults = list[str]()
    for rows in splits.values():
        odd = list(task.misplaced(rows.labels, rows))
        faults += [f"{rows.place(row)} {fault}" for row, fault in odd[:SHOWN]]
        if len(odd) > SHOWN:
            faults.append(f"{rows.path}: {len(odd) - SHOWN:,} more such rows")
    if faults:
        raise DataError(faults)
