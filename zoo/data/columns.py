"""The columns of one file: texts, second texts of pairs and labels, as they stand there.

In comes a path and what is known of its columns; out come lists, equally long, and which rows have no text or label.
Refused: what tables.py refuses, and texts that are not strings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.catalog import DatasetCard
from zoo.data.tables import place, read_table
from zoo.data.worded import read_texts
from zoo.errors import DataError
from zoo.recipe.data_group import Files
from zoo.tasks import Stated, Task
from zoo.tasks.material import no_label

__all__ = ["as_tuple", "columns_of_file", "missing_rows", "no_string", "of_card", "of_files", "without"]

SHOWN = 5
"""Rows that a fault names."""


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


def columns_of_file(
    split: str,
    path: Path,
    text: tuple[str, ...],
    label: Stated | None,
    select: Mapping[str, str],
    encoding: str,
    *,
    worded: bool = False,
) -> dict[str, Any]:
    """Columns text, pair (for pairs), label (where asked for; a tuple where it has several columns), row, its number in
    the file from 0, and line, where it begins there; with `worded`, where a text may be a list of its words, also
    words."""
    wanted = [*text, *select, *(label.columns if label is not None else ())]
    table, lines = read_table(path, list(dict.fromkeys(wanted)), encoding)
    rows: Sequence[int] = range(len(table[text[0]]))
    if select:
        rows = [i for i in rows if all(table[column][i] == value for column, value in select.items())]
        if not rows:
            raise DataError(f"{path}: no row has {', '.join(f'{k} = {v}' for k, v in select.items())}")
    columns: dict[str, Any] = {"text": table[text[0]]}
    if len(text) == 2:
        columns["pair"] = table[text[1]]
    if label is not None:
        several = len(label.columns) > 1
        columns["label"] = [None] * len(table[text[0]])  # of a task without labels
        if label.columns:
            each = [table[name] for name in label.columns]
            columns["label"] = list(zip(*each, strict=True)) if several else each[0]
    columns["line"] = lines
    if select:
        columns = {name: [values[i] for i in rows] for name, values in columns.items()}
    columns["row"] = rows
    if worded:
        columns = read_texts(split, path, columns)
    strange = [
        f"{split}: {no_string(place(path, columns['line'][i]), value)}"
        for name in ("text", "pair")
        for i, value in enumerate(columns.get(name, ()))
        if value is not None and not isinstance(value, str)
    ]
    if strange:
        raise DataError([f"{path}: {fault}" for fault in strange[:SHOWN]])
    return columns


def no_string(where: str, value: Any) -> str:
    """The fault of a row whose text is something else than a string."""
    return f"{where} has the text {str(value)[:40]!r} ({type(value).__name__}), expected a string"


def without(where: str, path: Path, name: str, count: int, lines: Sequence[int], repair: str) -> str:
    """The fault of rows that lack a text or a label.

    Args:
        where: what the rows are called, a split for instance.
        name: what they lack.
        count: how many they are; lines: where the first ones begin.
        repair: what leaves them out.
    """
    more = " and more" if count > len(lines) else ""
    return (
        f"{where}: {count:,} row{'s' * (count > 1)} without {name} ({place(path, *lines)}{more}): "
        f"fill in what is missing, or {repair}"
    )


def missing_rows(
    split: str, path: Path, columns: Mapping[str, Any], repair: str, task: Task | None = None
) -> tuple[list[str], np.ndarray]:
    """Faults for rows without text or label, with what leaves these rows out, and which they are, [rows] bool."""
    faults: list[str] = []
    gone = np.zeros(len(columns["text"]), bool)
    for name in ("text", "pair", "label"):
        absent = task.missing if name == "label" and task is not None else no_label
        if name in columns:
            empty = np.fromiter(map(absent, columns[name]), bool, len(gone))
            gone |= empty
            if empty.any():
                first = [columns["line"][i] for i in np.flatnonzero(empty)[:SHOWN]]
                faults.append(without(split, path, name, int(np.count_nonzero(empty)), first, repair))
    return faults, gone


def as_tuple(columns: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else columns or ()
