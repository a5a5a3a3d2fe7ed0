"""The columns of files: texts, second texts of pairs and labels, as they stand there.

In come paths and what is known of their columns; out come lists, equally long, of whole rows, and what their labels
tell. Refused: what tables.py and the task refuse, texts that are none, and unless they are to be left out, rows without
text or label; all faults of single rows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from zoo.data.catalog import DatasetCard
from zoo.data.strings import Strings
from zoo.data.tables import SHOWN, place, places, read_table
from zoo.data.worded import read_tags, read_texts
from zoo.errors import DataError
from zoo.recipe.data_group import Files
from zoo.recipe.showing import is_unicode, listed
from zoo.tasks import Stated, Task
from zoo.tasks.material import no_label
from zoo.tasks.numbers import number
from zoo.tasks.refused import Where

__all__ = ["Layout", "as_tuple", "of_card", "of_files", "read_rows", "unfit", "without"]

Columns = dict[str, Any]
"""A `Strings`, a list or an array a column, equally long."""
Found = TypeVar("Found")
Learn = Callable[[Mapping[str, Sequence[Any]], Stated, Where], Found]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How rows stand in files."""

    files: Mapping[str, Path]
    text: tuple[str, ...]
    label: Stated
    select: Mapping[str, str]
    encoding: str
    weight: str | None = None
    """Column of the training rows that says by how much each counts."""


def of_files(files: Files) -> Stated:
    """What a recipe says of its files' labels."""
    return Stated(columns=as_tuple(files.label), names=files.label_names, delimiter=files.label_delimiter)


def of_card(card: DatasetCard) -> Stated:
    """What a card says of its labels."""
    return Stated(
        columns=as_tuple(card.label),
        names=card.label_names,
        numbers=card.labels,
        delimiter=card.label_delimiter,
        values=card.values.of_classes if card.values else None,
        quantity=card.values.name if card.values else None,
    )


def read_rows(
    layout: Layout, task: Task, learn: Learn[Found], *, drop: bool, repair: str, notes: list[str]
) -> tuple[dict[str, Columns], Found]:
    """The whole rows of all files, and what is made of their labels.

    Args:
        layout: the files.
        task: what knows which labels are missing.
        learn: is called with the labels of each split, what is known of them, and where rows stand.
        drop: whether rows without text or label are left out, which is then noted, and no error.
        repair: how people have them left out.
        notes: what there is to say is added here.

    Returns:
        Split -> columns text, pair (for pairs), label (a tuple where it has several columns), row, its number in the
        file from 0, and line, where it begins there, the last two [rows] int64; of a task about words also words, their
        places; of a layout with weights, of train, weight, [rows] float64 above 0; and what `learn` gives.

    Raises:
        DataError: the faults of all rows and labels, or, where a file cannot be read or has no whole row, of all files.
    """
    found: dict[str, Columns] = {}
    faults: list[str] = []
    for split, path in layout.files.items():
        try:
            columns = _columns_of_file(path, layout, layout.weight if split == "train" else None)
            if "weight" in columns:
                columns = _weighed(split, path, columns, layout.weight, notes)
            if task.worded:
                columns = read_texts(split, path, columns)
        except DataError as error:
            faults += error.faults
            continue
        strange, missing, gone = _row_faults(split, path, columns, repair, task)
        if gone.any():
            columns = _take(columns, np.flatnonzero(~gone))
        if gone.any() and drop:
            notes.append(f"{split}: {np.count_nonzero(gone)} rows without text or label were left out")
            missing = [] if len(columns["line"]) else [f"{path}: {split}: no row has both text and label"]
        found[split] = columns
        faults += strange + missing
    if any(split not in found or not len(found[split]["line"]) for split in layout.files):
        raise DataError(faults)

    def where(split: str, rows: Sequence[int]) -> str:
        path = layout.files[split]
        return f"{path}: {split}: {places(path, found[split]['line'][rows])}"

    if task.worded:
        if faults:
            raise DataError(faults)
        how = task.tagging
        worded = read_tags(
            *(found, layout.files, layout.label), scheme=how.asked, learned=how.learned, repair=how.repair
        )
        found = worded.columns
        notes += worded.notes
    try:
        learned = learn({split: columns["label"] for split, columns in found.items()}, layout.label, where)
    except DataError as error:
        raise DataError([*faults, *error.faults]) from error
    if faults:
        raise DataError(faults)
    return found, learned


def _columns_of_file(path: Path, layout: Layout, weight: str | None) -> Columns:
    text, select, label = layout.text, layout.select, layout.label
    names = dict.fromkeys((*text, *select, *label.columns, *as_tuple(weight)))
    table, lines = read_table(path, list(names), layout.encoding)
    rows = np.arange(len(lines))
    if select:
        chosen = zip(*(table[column] for column in select), strict=True)
        rows = np.flatnonzero([row == (*select.values(),) for row in chosen])
        if not len(rows):
            raise DataError(f"{path}: no row has {', '.join(f'{k} = {v}' for k, v in select.items())}")
    columns: Columns = {"text": table[text[0]]}
    if len(text) == 2:
        columns["pair"] = table[text[1]]
    several = len(label.columns) > 1
    columns["label"] = [None] * len(lines)  # of a task without labels
    if label.columns:
        each = [table[name] for name in label.columns]
        columns["label"] = list(zip(*each, strict=True)) if several else each[0]
    if weight is not None:
        columns["weight"] = table[weight]
    columns |= {"line": np.asarray(lines), "row": np.arange(len(lines))}
    return _take(columns, rows) if select else columns


def _weighed(split: str, path: Path, columns: Columns, name: str | None, notes: list[str]) -> Columns:
    """The rows that count anything, with their weights as numbers; DataError for others than numbers from 0 up."""
    found = np.array([number(cell) for cell in columns["weight"]], np.float64)
    odd = np.flatnonzero(~(np.isfinite(found) & (found >= 0.0)))
    if len(odd):
        told = listed(dict.fromkeys(f"{columns['weight'][row]!r:.40}" for row in odd.tolist()))
        raise DataError(
            f"{path}: {split}: {places(path, columns['line'][odd])}: got {told} in {name}, expected finite numbers "
            "from 0 up (data.files.weight)"
        )
    counting = np.flatnonzero(found > 0.0)
    if not len(counting):
        raise DataError(f"{path}: {split}: all rows have the weight 0 in {name}: there is nothing to train on")
    if left := len(found) - len(counting):
        notes.append(f"{split}: {left:,} row{'s' * (left > 1)} of weight 0 were left out")
    return _take({**columns, "weight": found}, counting) if left else {**columns, "weight": found}


def _take(columns: Columns, rows: np.ndarray) -> Columns:
    """Those rows of each column, by their numbers."""
    taken: Columns = {}
    for name, values in columns.items():
        if isinstance(values, Strings):
            taken[name] = values.take(rows)
        else:
            taken[name] = values[rows] if isinstance(values, np.ndarray) else [values[i] for i in rows.tolist()]
    return taken


def unfit(value: Any) -> str | None:
    """Why a value is no text, as the end of a sentence that begins with its row; None where it is one, or missing."""
    if isinstance(value, str) and not is_unicode(value):
        return f"holds half of a character (a lone surrogate): {value!r:.80}, expected Unicode: repair it"
    if isinstance(value, str) or no_label(value):
        return None
    return f"has the text {str(value)[:40]!r} ({type(value).__name__}), expected a string"


def without(where: str, path: Path, name: str, count: int, lines: Sequence[int], repair: str) -> str:
    """The fault of rows that lack a text or a label.

    Args:
        where: what the rows are called, a split for instance.
        name: what they lack.
        count: how many they are; lines: where the first ones begin.
        repair: what leaves them out.
    """
    return (
        f"{where}: {count:,} row{'s' * (count > 1)} without {name} ({places(path, lines, count)}): "
        f"fill in what is missing, or {repair}"
    )


def _row_faults(
    split: str, path: Path, columns: Columns, repair: str, task: Task
) -> tuple[list[str], list[str], np.ndarray]:
    """What is wrong with single rows.

    Args:
        repair: what leaves rows out that have no text or label.

    Returns:
        Faults of texts that are none; faults of rows without text or label; and which these are, [rows] bool.
    """
    strange, missing = list[str](), list[str]()
    gone = np.zeros(len(columns["line"]), bool)
    for name in ("text", "pair", "label"):
        if name not in columns:
            continue
        absent = task.missing if name == "label" else no_label
        empty = np.fromiter(map(absent, columns[name]), bool, len(gone))
        gone |= empty
        if empty.any():
            lines = columns["line"][empty]
            missing.append(f"{path}: {without(split, path, name, len(lines), lines, repair)}")
        if name != "label":
            told = (f"{path}: {split}: {place(path, line)} {fault}" for line, fault in _unfit(columns, name))
            strange += islice(told, SHOWN)
    return strange, missing, gone


def _unfit(columns: Columns, name: str) -> Iterator[tuple[int, str]]:
    """The line of each row with a text that is none, and why."""
    if isinstance(columns[name], Strings):
        return
    for line, value in zip(columns["line"], columns[name], strict=True):
        if fault := unfit(value):
            yield line, fault


def as_tuple(columns: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else columns or ()
