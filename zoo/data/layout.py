"""The files of a data set to the columns of its splits.

In come the paths of the splits and how rows stand in them; out come texts and labels, equally long and none missing,
where a task is about words with a tag for each. Refused, the faults of all files at once: what columns.py and worded.py
refuse, and rows without text or label, unless these are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.columns import columns_of_file, missing_rows
from zoo.data.worded import read_tags
from zoo.errors import DataError
from zoo.tasks import Stated, Task

__all__ = ["Layout", "present", "read_files", "tagged"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How rows stand in files."""

    files: Mapping[str, Path]
    text: tuple[str, ...]
    label: Stated
    select: Mapping[str, str]
    encoding: str


def read_files(layout: Layout, task: Task, on_missing: str, notes: list[str]) -> dict[str, dict[str, Any]]:
    """Split -> text, pair, label and row, equally long and none missing; the faults of all files at once."""
    found: dict[str, dict[str, Any]] = {}
    faults: list[str] = []
    for split, path in layout.files.items():
        try:
            columns = columns_of_file(
                *(split, path, layout.text, layout.label, layout.select, layout.encoding), worded=task.worded
            )
        except DataError as error:
            faults.extend(error.faults)
            continue
        found[split], wrong = present(
            split, path, columns, task, on_missing, "leave such rows out with data.on_missing=drop", notes
        )
        faults += wrong
    if faults:
        raise DataError(faults)
    return tagged(found, layout.files, layout.label, task, notes)


def tagged(
    columns: dict[str, dict[str, Any]], paths: Mapping[str, Path], stated: Stated, task: Task, notes: list[str]
) -> dict[str, dict[str, Any]]:
    """The columns of each split with a tag a word, where the task is about words."""
    if not task.worded:
        return columns
    how = task.tagging
    found = read_tags(columns, paths, stated, scheme=how.asked, learned=how.learned, repair=how.repair)
    notes += found.notes
    return found.columns


def present(
    split: str, path: Path, columns: dict[str, Any], task: Task, on_missing: str, repair: str, notes: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """The rows that have text and label, where the others may be left out, and the faults."""
    faults, gone = missing_rows(split, path, columns, repair, task)
    if gone.any() and on_missing == "drop":
        notes.append(f"{split}: {np.count_nonzero(gone)} rows without text or label were left out")
        keep = np.flatnonzero(~gone).tolist()
        columns = {name: [values[i] for i in keep] for name, values in columns.items()}
        faults = [] if keep else [f"{split}: no row has both text and label"]
    return columns, [f"{path}: {fault}" for fault in faults]
