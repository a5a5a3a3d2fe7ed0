"""Rows: the recipe's `data` in, train, validation and test out.

In comes a recipe; out come texts, targets and the task, the same for a seed on every machine. In order: read, leave
out what is missing, have the task make targets of the labels, drop exact duplicates from train, carve test, apply
limits, carve validation, shuffle train. Refused, all faults of a step at once: what tables.py and the task refuse,
empty and missing texts or labels (unless `on_missing: drop`), fewer rows than a batch; under `strict` also rows in both
train and test, and texts with two labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.data.catalog import DatasetCard, dataset_card
from zoo.data.columns import SHOWN, Layout, as_tuple, of_card, of_files, places, read_rows
from zoo.data.shown import Row, in_notebook
from zoo.data.sources import Missing, fetch_first, folder_of, locate_first
from zoo.data.splitting import draw, shuffled
from zoo.errors import DataError, EnvironmentFault, RecipeError
from zoo.recipe import Recipe
from zoo.recipe.length import run_length
from zoo.recipe.showing import listed
from zoo.score.ragged import Ragged
from zoo.tasks import Stated, Task, task_of

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, repr=False)
class Split:
    """Rows of one split.

    texts: [rows], the first text of each row.
    pairs: [rows], the second text, or None where rows have one.
    labels: the targets, [rows] int32 class numbers or as the task has them: an array [rows, ...], a `Ragged`, or a
    class of the task's own that has rows as these do (a length, rows by number, mask or numbers, and `tobytes`).
    ids: [rows], split and row number in the file it came from, counted from 0, as in train/123.
    path: that file. lines: [rows] int64, where each row begins in it, as `zoo.data.tables.place` takes it.
    words: first and one past the last character of each word of the texts, [words, 2] int32; None where the task has no
    use for words.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: Any
    ids: list[str]
    path: Path
    lines: np.ndarray
    words: Ragged | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        return f"Split({len(self):,} rows)"

    def take(self, chosen: np.ndarray) -> Split:
        """The rows of a mask, in their order, or of row numbers, in theirs."""
        rows = (np.flatnonzero(chosen) if chosen.dtype == bool else chosen).tolist()
        return Split(
            texts=[self.texts[i] for i in rows],
            pairs=None if self.pairs is None else [self.pairs[i] for i in rows],
            labels=self.labels[rows],
            ids=[self.ids[i] for i in rows],
            words=None if self.words is None else self.words[rows],
            path=self.path,
            lines=self.lines[rows],
        )

    def place(self, row: int) -> str:
        """Where people find a row, by its number."""
        return f"{self.path}: {places(self.path, self.lines[row : row + 1].tolist())}"

    def identities(self) -> Sequence[Any]:
        """What makes two rows the same, [rows]."""
        return self.texts if self.pairs is None else list(zip(self.texts, self.pairs, strict=True))


@dataclass(frozen=True, kw_only=True, repr=False)
class Dataset:
    """The splits of a run; `notes` are warnings to show. sha256: of all rows in their order, with the names."""

    train: Split
    validation: Split
    test: Split
    task: Task
    sha256: str
    notes: tuple[str, ...]

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


def load_dataset(recipe: Recipe) -> Dataset:
    """The rows of a recipe.

    Raises:
        DataError: the rows cannot be used as they are.
        EnvironmentFault: a catalog data set that is not in the cache; `zoo.fetch` brings it.
        RecipeError: rows that the head is not for, more steps than a run may have.
    """
    data, notes, task = recipe.data, list[str](), task_of(recipe.model.head)
    layout = _layout(recipe)
    repair = "leave such rows out with data.on_missing=drop"
    columns, (task, targets) = read_rows(
        layout, task, task.learned, drop=data.on_missing == "drop", repair=repair, notes=notes
    )
    splits = {split: _split(split, layout.files[split], columns[split], targets[split]) for split in columns}
    _refuse_misplaced(splits, task)
    faults = _duplicates(splits, data.deduplicate, notes)
    splits = _carved(splits, task, recipe)
    task = task.fitted(splits["train"].labels)
    faults += _overlap(splits)
    if data.strict and faults:
        raise DataError([f"{fault} (data.strict is true)" for fault in faults])
    if len(splits["train"]) < recipe.training.batch_size:
        raise DataError(
            f"train has {len(splits['train'])} rows, fewer than the batch of {recipe.training.batch_size}; "
            f"add rows or set training.batch_size={len(splits['train'])}"
        )
    run_length(recipe.training, rows=len(splits["train"]))  # refuses what is too long, before a text is tokenized
    return Dataset(**splits, task=task, sha256=_digest(splits, task.names), notes=(*notes, *faults))


def load_data(recipe: Recipe) -> Dataset:
    """The rows of a recipe as training has them, brought into the cache where they are not there; no backend is used.

    Raises as `load_dataset`, and RecipeError of a recipe with stages; EnvironmentFault where the network is needed and
    away.
    """
    if missing_data(recipe.alone()):
        fetch_first(_card(recipe).origins)
    return load_dataset(recipe)


def stated_task(recipe: Recipe) -> Task | None:
    """The task, where the catalog or the recipe says all that it has of the rows; None where they have to be read."""
    return task_of(recipe.model.head).stated(_stated(recipe))


def missing_data(recipe: Recipe) -> list[Missing]:
    """What the recipe's data needs from the cache and does not find there; own files are not looked at."""
    if recipe.data.dataset is None:
        return []
    card = dataset_card(recipe.data.dataset)
    if locate_first(card.origins) is not None:
        return []
    origin = card.origins[0]
    return [Missing(what=f"the data set {card.name}", uri=origin.uri, cache_path=folder_of(origin))]


def text_column(recipe: Recipe) -> str | tuple[str, str]:
    """Text column, or the two of pairs, of the recipe's data, for reading other files of the same kind."""
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
        texts=columns["text"],
        pairs=columns.get("pair"),
        labels=labels,
        ids=[f"{split}/{row}" for row in columns["row"]],
        path=path,
        lines=columns["line"],
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


def _duplicates(splits: dict[str, Split], deduplicate: bool, notes: list[str]) -> list[str]:
    """Drop exact duplicates from train; a fault for texts with two labels, which stay."""
    train = splits["train"]
    keep = np.ones(len(train), bool)
    first: dict[Any, bytes] = {}
    others: set[tuple[Any, bytes]] = set()
    labels = [row.tobytes() for row in train.labels]
    for i, key in enumerate(train.identities()):
        if key not in first:
            first[key] = labels[i]
        elif first[key] == labels[i] or (key, labels[i]) in others:
            keep[i] = False
        else:
            others.add((key, labels[i]))
    if deduplicate and not keep.all():
        notes.append(f"train: {np.count_nonzero(~keep)} exact duplicates were dropped")
        splits["train"] = train.take(keep)
    contradicting = len({key for key, _ in others})
    if not contradicting:
        return []
    return [f"train: {contradicting} texts stand there with two different labels; correct or remove them"]


def _carved(splits: dict[str, Split], task: Task, recipe: Recipe) -> dict[str, Split]:
    """All three splits: test carved from train, limits, validation carved from train, train shuffled."""
    data, seed = recipe.data, recipe.seed
    splits = dict(splits)
    absent = [part for part in ("test", "validation") if part not in splits]
    if "test" not in splits:
        _carve(splits, "test", absent, task, recipe)
    splits["train"] = _limited(splits["train"], task, data.limit.train, seed, "train limit")
    if "validation" not in splits:
        _carve(splits, "validation", ["validation"], task, recipe)
    for part in ("validation", "test"):
        splits[part] = _limited(splits[part], task, getattr(data.limit, part), seed, f"{part} limit")
    train = splits["train"]
    splits["train"] = train.take(shuffled(len(train), seed, "order"))
    return {split: splits[split] for split in SPLITS}


def _carve(splits: dict[str, Split], part: str, absent: Sequence[str], task: Task, recipe: Recipe) -> None:
    """Move the share of train that the recipe gives `part` there; both stay in the file's order."""
    train, how = splits["train"], getattr(recipe.data, part)
    stratified = tuple(name for name in absent if getattr(recipe.data, name).stratify)
    if how.stratify:
        task.refuse_few(train.labels, stratified)
    wanted = max(1, round(how.fraction * len(train)))
    if wanted >= len(train):
        raise DataError(f"train has {len(train)} row, too few to carve {part} from; add rows, or give a {part} file")
    taken = draw(task.strata(train.labels), wanted, recipe.seed, part, stratify=how.stratify, least=task.least, leave=1)
    splits[part], splits["train"] = train.take(taken), train.take(~taken)


def _limited(split: Split, task: Task, limit: int | None, seed: int, stream: str) -> Split:
    """At most `limit` rows, the classes in proportion, in the file's order."""
    if limit is None or limit >= len(split):
        return split
    return split.take(draw(task.strata(split.labels), limit, seed, stream, stratify=True, least=task.least))


def _overlap(splits: Mapping[str, Split]) -> list[str]:
    """A fault where rows of test stand in train or validation, too."""
    known = {key for part in ("train", "validation") for key in splits[part].identities()}
    count = sum(key in known for key in splits["test"].identities())
    if not count:
        return []
    return [f"test: {count} of {len(splits['test'])} rows also stand in train or validation; test figures are too good"]


def _digest(splits: Mapping[str, Split], names: Sequence[str]) -> str:
    """sha256 of class names, texts and labels of all splits, in their order."""
    digest = hashlib.sha256("\0".join(names).encode())
    for part, split in splits.items():
        digest.update(f"\0{part}\0{len(split)}\0".encode())
        labels = split.labels
        if isinstance(labels, np.ndarray):
            labels = labels.astype(labels.dtype.newbyteorder("<"))
        digest.update(labels.tobytes())
        if split.words is not None:
            digest.update(split.words.tobytes())
        for texts in (split.texts, split.pairs or ()):
            for text in texts:
                raw = text.encode()
                digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()
