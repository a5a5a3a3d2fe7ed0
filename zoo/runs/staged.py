"""Where a run of several trainings stands: in the list `stages` of its run.json, or in `parts`, which are of one recipe
with other rows each.

In comes the folder of the whole run, open for writing; out go its trainings, each `waiting` until it runs. One that
fails or is interrupted takes the whole run with it, which the folder itself writes down. Nothing is refused.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from zoo.data.run_model import MODEL
from zoo.data.writing import storage_errors
from zoo.errors import OutputError
from zoo.runs.recorded import RUN
from zoo.runs.run_folder import RunFolder, Status

__all__ = ["Kind", "Several", "drop_models", "whole_of"]

Kind = Literal["stages", "parts"]


class Several:
    """The trainings of a run, as run.json has them."""

    def __init__(self, folder: RunFolder, kind: Kind, folders: Mapping[str, str]) -> None:
        """`folders`: within that of the whole, by name and in order."""
        self._folder, self._kind = folder, kind
        known = {row["name"]: row["status"] for row in folder.run.get(kind, ())}
        self._rows = [
            {"name": name, "folder": within, "status": known.get(name, "waiting")} for name, within in folders.items()
        ]
        self._write()

    @contextlib.contextmanager
    def running(self, number: int) -> Iterator[None]:
        """One of them, counted from 0, is run within the block."""
        if self._rows[number]["status"] != "done":
            self._set(number, "running")
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(OutputError):  # the folder itself writes next, and tells what is wrong
                self._set(number, "failed" if isinstance(error, Exception) else "interrupted")
            raise
        self._set(number, "done")

    def _set(self, number: int, status: Status) -> None:
        self._rows[number]["status"] = status
        self._write()

    def _write(self) -> None:
        self._folder.update_run({self._kind: self._rows})


def whole_of(path: Path) -> Path:
    """The folder of the whole run that one of several trainings, or a run by itself, lies in."""
    above = path.parent
    if not (above / RUN).is_file():
        return path
    run = RunFolder(above).run
    rows = [*run.get("stages", ()), *run.get("parts", ())]
    return whole_of(above) if any(row["folder"] == path.name for row in rows) else path


def drop_models(path: Path) -> None:
    """Remove the finished models of a run and of its stages, of which the figures are wanted alone."""
    for model in (path / MODEL, *path.glob(f"*/{MODEL}")):
        with storage_errors(path):
            shutil.rmtree(model, ignore_errors=not model.exists())
