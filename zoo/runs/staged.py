"""Where a run in stages stands: the list `stages` of its run.json.

In comes the folder of the whole run, open for writing; out go its stages, each `waiting` until it runs. A stage that
fails or is interrupted takes the whole run with it, which the folder itself writes down. Nothing is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from zoo.errors import OutputError
from zoo.recipe.staging import stage_folder
from zoo.runs.run_folder import RunFolder, Status

__all__ = ["Stages"]


class Stages:
    """The stages of a run, by name, as run.json has them."""

    def __init__(self, folder: RunFolder, names: Sequence[str]) -> None:
        self._folder = folder
        known = {row["name"]: row["status"] for row in folder.run.get("stages", ())}
        self._rows = [
            {"name": name, "folder": stage_folder(number, name), "status": known.get(name, "waiting")}
            for number, name in enumerate(names)
        ]
        self._write()

    @contextlib.contextmanager
    def running(self, number: int) -> Iterator[None]:
        """A stage, counted from 0, is run within the block."""
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
        self._folder.update_run({"stages": self._rows})
