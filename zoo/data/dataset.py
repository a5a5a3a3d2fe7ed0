"""Rows: the recipe's `data` in, train, validation and test out.

In comes a recipe; out come texts, class numbers and class names, the same for a seed on every machine, and the
recipe with what was found written in. In order: read, leave out what is missing, number the labels, drop exact
duplicates from train, carve test, apply limits, carve validation, shuffle train. Refused, all faults of a step at
once: what tables.py and labels.py refuse, empty and missing texts or labels (unless `on_missing: drop`), fewer
rows than a batch; under `strict` also rows in both train and test, and texts with two labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.catalog import DatasetCard, dataset_card
from zoo.data.labels import number_labels
from zoo.data.sources import Missing, folder_of, locate_first
from zoo.data.splitting import draw, refuse_small_classes, shuffled
from zoo.data.tables import read_columns
from zoo.errors import DataError, EnvironmentFault, RecipeError
from zoo.recipe import Recipe
from zoo.recipe.length import run_length

SPLITS = ("train", "validation", "test")
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Split:
    """Rows of one split.

    texts: [rows], the first text of each row.
    pairs: [rows], the second text, or None where rows have one.
    labels: [rows] int32, class numbers.
    ids: [rows], split and row number in the file it came from, counted from 0, as in train/123.
    """

    texts: list[str]
    pairs: list[str] | None
    labels: np.ndarray
    ids: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, chosen: np.ndarray) -> Split:
        """The rows of a mask, in their order, or of row numbers, in theirs."""
        rows = (np.flatnonzero(chosen) if chosen.dtype == bool else chosen).tolist()
        return Split(
            texts=[self.texts[i] for i in rows],
            pairs=None if self.pairs is None else [self.pairs[i] for i in rows],
            labels=self.labels[rows],
            ids=[self.ids[i] for i in rows],
        )

    def identities(self) -> Sequence[Any]:
        """What makes two rows the same, [rows]."""
        return self.texts if self.pairs is None else list(zip(self.texts, self.pairs, strict=True))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The splits of a run; `notes` are warnings to show."""

    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...]
    sha256: str
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How rows stand in files."""

    files: Mapping[str, Path]
    text: tuple[str, ...]
    label: str
    label_names: tuple[str, ...] | None
    labels: Mapping[str, int] | None = None
    select: Mapping[str, str]
    encoding: str


def load_dataset(recipe: Recipe) -> Dataset:
    """The rows of a recipe.

    Raises:
        DataError: the rows cannot be used as they are.
        EnvironmentFault: a catalog data set that is not in the cache; `zoo.fetch` brings it.
        RecipeError: a binary head on rows with more than two classes, more steps than a run may have.
    """
    data, notes = recipe.data, list[str]()
    layout = _layout(recipe)
    columns = _read(layout, data.on_missing, notes)
    names, numbers = number_labels({s: c["label"] for s, c in columns.items()}, layout.label_names, layout.labels)
    if recipe.model.head.type == "binary" and len(names) != 2:
        raise RecipeError(
            f"model.head.type: binary is for 2 classes, the data has {len(names)} ({', '.join(names[:8])}); "
            "use classifier"
        )
    splits = {split: _split(split, columns[split], numbers[split]) for split in columns}
    faults = _duplicates(splits, data.deduplicate, notes)
    splits = _carved(splits, names, recipe)
    faults += _overlap(splits)
    if data.strict and faults:
        raise DataError([f"{fault} (data.strict is true)" for fault in faults])
    if len(splits["train"]) < recipe.training.batch_size:
        raise DataError(
            f"train has {len(splits['train'])} rows, fewer than the batch of {recipe.training.batch_size}; "
            f"add rows or set training.batch_size={len(splits['train'])}"
        )
    run_length(recipe.training, rows=len(splits["train"]))  # refuses what is too long, before a text is tokenized
    return Dataset(**splits, label_names=names, sha256=_digest(splits, names), notes=(*notes, *faults))


def stated_names(recipe: Recipe) -> tuple[str, ...] | None:
    """The classes by number, where the catalog or the recipe says them; None where the rows have to be read."""
    if recipe.data.files is not None:
        return recipe.data.files.label_names
    return dataset_card(recipe.data.dataset or "").label_names


def missing_data(recipe: Recipe) -> list[Missing]:
    """What the recipe's data needs from the cache and does not find there; own files are not looked at."""
    if recipe.data.dataset is None:
        return []
    card = dataset_card(recipe.data.dataset)
    if locate_first(card.origins) is not None:
        return []
    origin = card.origins[0]
    return [Missing(what=f"the data set {card.name}", uri=origin.uri, cache_path=folder_of(origin))]


def columns_of(recipe: Recipe) -> tuple[str | tuple[str, str], str]:
    """Text column(s) and label column of the recipe's data, for reading other files of the same kind."""
    where = recipe.data.files if recipe.data.files is not None else dataset_card(recipe.data.dataset or "")
    return where.text, where.label


def takes_pairs(recipe: Recipe) -> bool:
    """Whether a row of the recipe's data is a pair of texts."""
    return isinstance(columns_of(recipe)[0], tuple)


def read_texts(
    path: str | Path, text: str | tuple[str, str] = "text", encoding: str = "utf-8"
) -> tuple[list[str], list[str] | None]:
    """Texts of a file without labels, and the second texts of pairs; DataError where a row has none."""
    columns = _columns_of_file("rows", Path(path), _tuple(text), None, {}, encoding)
    faults, _ = _missing("rows", columns)
    if faults:
        raise DataError(f"{path}: {faults[0]}")
    return columns["text"], columns.get("pair")


def read_labelled(
    path: str | Path,
    *,
    text: str | tuple[str, str],
    label: str,
    label_names: tuple[str, ...],
    encoding: str = "utf-8",
    labels: Mapping[str, int] | None = None,
) -> Split:
    """Rows of a file whose labels are among `label_names` (or class numbers, or keys of `labels`); for zoo.evaluate."""
    columns = _columns_of_file("rows", Path(path), _tuple(text), label, {}, encoding)
    faults, _ = _missing("rows", columns)
    if faults:
        raise DataError([f"{path}: {fault}" for fault in faults])
    known: dict[str, int] = dict(labels or {name: number for number, name in enumerate(label_names)})
    if labels is None:
        known |= {str(number): number for number in range(len(label_names)) if str(number) not in known}
    _, numbers = number_labels({"train": [*known], "rows": columns["label"]}, label_names, known)
    return _split("rows", columns, numbers["rows"])


def _layout(recipe: Recipe) -> Layout:
    files = recipe.data.files
    if files is not None:
        paths = {split: Path(getattr(files, split)) for split in SPLITS if getattr(files, split) is not None}
        return Layout(
            files=paths,
            text=_tuple(files.text),
            label=files.label,
            label_names=files.label_names,
            select={},
            encoding=files.encoding,
        )
    card: DatasetCard = dataset_card(recipe.data.dataset or "")
    found = locate_first(card.origins)
    if found is None:
        raise EnvironmentFault(f"{missing_data(recipe)[0]}; run `python -m zoo.fetch` with this recipe")
    origin, folder = found
    return Layout(
        files={split: folder / name for split, name in origin.splits.items()},
        text=_tuple(card.text),
        label=card.label,
        label_names=card.label_names,
        labels=card.labels,
        select=card.select,
        encoding="utf-8",
    )


def _tuple(text: str | tuple[str, str]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text


def _read(layout: Layout, on_missing: str, notes: list[str]) -> dict[str, dict[str, Any]]:
    """Split -> text, pair, label and row, equally long and none missing; the faults of all files at once."""
    found: dict[str, dict[str, Any]] = {}
    faults: list[str] = []
    for split, path in layout.files.items():
        try:
            columns = _columns_of_file(split, path, layout.text, layout.label, layout.select, layout.encoding)
        except DataError as error:
            faults.extend(error.faults)
            continue
        wrong, gone = _missing(split, columns)
        if gone.any() and on_missing == "drop":
            notes.append(f"{split}: {np.count_nonzero(gone)} rows without text or label were left out")
            wrong = []
            keep = np.flatnonzero(~gone).tolist()
            columns = {name: [values[i] for i in keep] for name, values in columns.items()}
            if not keep:
                wrong = [f"{split}: no row has both text and label"]
        faults += [f"{path}: {fault}" for fault in wrong]
        found[split] = columns
    if faults:
        raise DataError(faults)
    return found


def _columns_of_file(
    split: str, path: Path, text: tuple[str, ...], label: str | None, select: Mapping[str, str], encoding: str
) -> dict[str, Any]:
    """Columns text, pair (for pairs), label (where asked for) and row: the row numbers in the file."""
    wanted = [*text, *select, *([label] if label is not None else [])]
    table = read_columns(path, wanted, encoding)
    rows: Sequence[int] = range(len(table[text[0]]))
    if select:
        rows = [i for i in rows if all(table[column][i] == value for column, value in select.items())]
        if not rows:
            raise DataError(f"{path}: no row has {', '.join(f'{k} = {v}' for k, v in select.items())}")
    columns: dict[str, Any] = {"text": table[text[0]]}
    if len(text) == 2:
        columns["pair"] = table[text[1]]
    if label is not None:
        columns["label"] = table[label]
    if select:
        columns = {name: [values[i] for i in rows] for name, values in columns.items()}
    columns["row"] = rows
    strange = [
        f"{split}: row {rows[i]} has the text {str(value)[:40]!r} ({type(value).__name__}), expected a string"
        for name in ("text", "pair")
        for i, value in enumerate(columns.get(name, ()))
        if value is not None and not isinstance(value, str)
    ]
    if strange:
        raise DataError([f"{path}: {fault}" for fault in strange[:SHOWN]])
    return columns


def _missing(split: str, columns: Mapping[str, Any]) -> tuple[list[str], np.ndarray]:
    """Faults for rows without text or label, and which rows these are, [rows] bool."""
    faults: list[str] = []
    gone = np.zeros(len(columns["text"]), bool)
    for name, absent in _ABSENT.items():
        if name in columns:
            empty = np.fromiter(map(absent, columns[name]), bool, len(gone))
            gone |= empty
            if empty.any():
                first = [str(columns["row"][i]) for i in np.flatnonzero(empty)[:SHOWN]]
                more = ", ..." if np.count_nonzero(empty) > SHOWN else ""
                faults.append(
                    f"{split}: {np.count_nonzero(empty)} rows without {name} (rows {', '.join(first)}{more}, counted "
                    "from 0); fill them in, or leave them out with data.on_missing=drop"
                )
    return faults, gone


def _no_text(value: str | None) -> bool:
    return value is None or not value.strip()


def _no_label(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


_ABSENT: dict[str, Callable[[Any], bool]] = {"text": _no_text, "pair": _no_text, "label": _no_label}


def _split(split: str, columns: Mapping[str, Any], labels: np.ndarray) -> Split:
    return Split(
        texts=columns["text"],
        pairs=columns.get("pair"),
        labels=labels,
        ids=[f"{split}/{row}" for row in columns["row"]],
    )


def _duplicates(splits: dict[str, Split], deduplicate: bool, notes: list[str]) -> list[str]:
    """Drop exact duplicates from train; a fault for texts with two labels, which stay."""
    train = splits["train"]
    keep = np.ones(len(train), bool)
    first: dict[Any, int] = {}
    others: set[tuple[Any, int]] = set()
    labels = train.labels.tolist()
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


def _carved(splits: dict[str, Split], names: tuple[str, ...], recipe: Recipe) -> dict[str, Split]:
    """All three splits: test carved from train, limits, validation carved from train, train shuffled."""
    data, seed = recipe.data, recipe.seed
    splits = dict(splits)
    absent = [part for part in ("test", "validation") if part not in splits]
    if "test" not in splits:
        _carve(splits, "test", absent, names, recipe)
    splits["train"] = _limited(splits["train"], data.limit.train, seed, "train limit")
    if "validation" not in splits:
        _carve(splits, "validation", ["validation"], names, recipe)
    for part in ("validation", "test"):
        splits[part] = _limited(splits[part], getattr(data.limit, part), seed, f"{part} limit")
    train = splits["train"]
    splits["train"] = train.take(shuffled(len(train), seed, "order"))
    return {split: splits[split] for split in SPLITS}


def _carve(splits: dict[str, Split], part: str, absent: Sequence[str], names: tuple[str, ...], recipe: Recipe) -> None:
    """Move the share of train that the recipe gives `part` there; both stay in the file's order."""
    train, how = splits["train"], getattr(recipe.data, part)
    stratified = tuple(name for name in absent if getattr(recipe.data, name).stratify)
    if how.stratify:
        refuse_small_classes(train.labels, names, stratified)
    wanted = max(1, round(how.fraction * len(train)))
    if wanted >= len(train):
        raise DataError(f"train has {len(train)} row, too few to carve {part} from; add rows, or give a {part} file")
    taken = draw(train.labels, wanted, recipe.seed, part, stratify=how.stratify, leave=1)
    splits[part], splits["train"] = train.take(taken), train.take(~taken)


def _limited(split: Split, limit: int | None, seed: int, stream: str) -> Split:
    """At most `limit` rows, the classes in proportion, in the file's order."""
    if limit is None or limit >= len(split):
        return split
    return split.take(draw(split.labels, limit, seed, stream, stratify=True))


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
        digest.update(split.labels.astype("<i4").tobytes())
        for texts in (split.texts, split.pairs or ()):
            for text in texts:
                raw = text.encode("utf-8", "surrogatepass")
                digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.hexdigest()
