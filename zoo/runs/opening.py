"""Finding the run of a folder: one by itself, of stages the last, of parts the first or the whole.

In comes a path; out comes its `RunFolder`, for reading. Refused, as OutputError: a folder that is no run, with near
runs named, and one of which what is asked for has not begun.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.data.locking import MARKS, Lock
from zoo.data.writing import storage_errors
from zoo.errors import OutputError
from zoo.runs.recorded import RUN
from zoo.runs.resuming import resuming
from zoo.runs.run_folder import CHECKPOINTS, RunFolder, drop_checkpoints

__all__ = ["finished_run", "open_run", "open_whole"]


def finished_run(path: Path) -> RunFolder | None:
    """The run of a folder where it is done, None otherwise; what a kill in its last moment left is cleared away."""
    folder = RunFolder(path)
    if not (path / RUN).is_file() or folder.run.get("status") != "done":
        return None
    if (path / CHECKPOINTS).exists() or any((path / mark).exists() for mark in MARKS):
        with storage_errors(path):
            lock = Lock.of_folder(path)
            if lock.take():
                try:
                    drop_checkpoints(path)
                finally:
                    lock.release()
    return folder


def open_run(path: str | Path) -> RunFolder:
    """A finished (or broken off) run with its model, for reading: of one in stages the last one, of one in parts the
    first.

    Raises OutputError, naming near runs, where there is none, and where that one has not begun.
    """
    whole = open_whole(path)
    parts = whole.run.get("parts")
    return open_run(_begun(whole, parts, parts[0], "parts").path) if parts else whole


def open_whole(path: str | Path) -> RunFolder:
    """A run with its figures, for reading: as `open_run`, but of one in parts the whole, which has those of all."""
    path = Path(path)
    if (path / RUN).is_file():
        whole = RunFolder(path)
        stages = whole.run.get("stages")
        return open_whole(_begun(whole, stages, stages[-1], "stages").path) if stages else whole
    what = "has no run.json" if path.is_dir() else "is a file" if path.exists() else "does not exist"
    base = next((parent for parent in (path, *path.parents) if parent.is_dir()), Path())
    runs = sorted(
        str(file.parent)
        for pattern in (RUN, "*/run.json", "*/*/run.json", "runs/*/*/run.json")
        for file in base.glob(pattern)
    )
    known = difflib.get_close_matches(str(path), runs, cutoff=0.5) or runs[-5:]
    choice = f"did you mean {' or '.join(known)}?" if known else "train one with `python -m zoo.run RECIPE`"
    raise OutputError(f"{path} {what}, expected the folder of a run: {choice}")


def _begun(whole: RunFolder, rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any], kind: str) -> RunFolder:
    """One of several trainings; OutputError where it has not begun."""
    found = whole.path / wanted["folder"]
    if not (found / RUN).is_file():
        stands = next((row for row in rows if row["status"] != "done"), wanted)
        raise OutputError(
            f"{whole.path} is a run in {kind} and stands at {stands['name']} ({stands['status']}), expected it at "
            f"{wanted['name']}, {'the last' if kind == 'stages' else 'the first'}: go on with "
            f"`{resuming(whole.path, None, ())}`, or give the folder of another one"
        )
    return RunFolder(found)
