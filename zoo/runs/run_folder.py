"""The run folder: what a run leaves behind, written so that a crash leaves no half file.

In come a folder, the resolved recipe and what training tells as it goes; out come recipe.yaml, run.json,
history.jsonl, predictions.jsonl and log.txt, which `zoo.runs.opening` finds again. Other rooms put model/,
checkpoints/ and plots/ beside them.

Refused, as OutputError: a path that is no folder or cannot be written, a folder that holds something
(without `resume`), a folder that another process writes to, a full disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from zoo.data.locking import MARKS, Lock
from zoo.data.writing import PARTIAL, make_folder, no_link, remove_empty, storage_errors, sync_folder, write_atomically
from zoo.errors import OutputError, ZooError
from zoo.recipe.showing import shown
from zoo.runs.json_values import merge, plain
from zoo.runs.recorded import HISTORY, OUT_OF_FOLD, PREDICTIONS, RUN, VERSION, as_now, read_object
from zoo.runs.resuming import resuming
from zoo.tasks import Task, task_of_run

__all__ = ["CHECKPOINTS", "Pruned", "RunFolder", "Status", "create_run", "drop_checkpoints"]

Status = Literal["running", "done", "failed", "interrupted", "pruned"]

CHECKPOINTS = "checkpoints"
UNENCODABLE = "backslashreplace"
"""What becomes of a file's name that is not Unicode: `\\udcff`, in JSON too."""
ATTEMPTS = 10
"""Times that a folder is made anew which another process, refused in it, has just taken away."""


class Pruned(Exception):
    """Raised within a run that others have shown not to be worth going on; a message says why. It is no error."""


class RunFolder:
    """One run folder, open for reading; `create_run` gives one that is locked and may be written.

    As a context manager around a run it settles the status: `done` after the block, `failed` after an error, `pruned`
    after `Pruned`, `interrupted` after what is no error (Ctrl-C, SIGTERM, SystemExit); then the lock goes.
    """

    def __init__(
        self,
        path: Path,
        lock: Lock | None = None,
        *,
        backend: str | None = None,
        log: Sequence[str] = (),
        whole: Path | None = None,
        told: bool = True,
    ) -> None:
        self.path, self._whole, self._told = path, whole or path, told
        self._lock, self._backend, self._loggers = lock, backend, log

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def recipe_text(self) -> str:
        """The resolved recipe as YAML."""
        try:
            return self._read("recipe.yaml").decode()
        except UnicodeDecodeError as error:
            raise OutputError(f"{self.path / 'recipe.yaml'} is damaged ({error}): restore it or train again") from error

    @property
    def run(self) -> dict[str, Any]:
        """What run.json says, in the words of this version."""
        return as_now(read_object(self._read(RUN), self.path, RUN))

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of history.jsonl, in order; none before the first was written."""
        return self._rows(HISTORY)

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """The rows of predictions.jsonl: id, label, prediction (names), probabilities; none before the test. Of a run
        in folds those of out_of_fold.jsonl, which also say their fold."""
        return self._rows(PREDICTIONS if (self.path / PREDICTIONS).exists() else OUT_OF_FOLD)

    @property
    def out_of_fold(self) -> list[dict[str, Any]]:
        """The rows of out_of_fold.jsonl, those of predictions.jsonl with their fold; none of a run without folds."""
        return self._rows(OUT_OF_FOLD)

    def write_text(self, name: str, text: str) -> Path:
        """Write a file whole or not at all; returns its path."""
        return self._write(name, [text])

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write a binary file whole or not at all; returns its path."""
        return self._write(name, [content])

    def write_json(self, name: str, value: Any) -> Path:
        """Write indented JSON whole or not at all; a figure that is not finite becomes null."""
        return self._write(name, [json.dumps(plain(value), indent=2, ensure_ascii=False), "\n"])

    def update_run(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Merge `changes` into run.json, group by group (a list replaces a list); returns the new whole."""
        merged = merge(self.run if (self.path / RUN).exists() else {}, changes)
        self.write_json(RUN, merged)
        return merged

    def append_history(self, row: Mapping[str, Any]) -> None:
        """Add a row to history.jsonl; it can be read as soon as this returns."""
        self._append(HISTORY, json.dumps(plain(row), ensure_ascii=False) + "\n")

    def sync_history(self) -> None:
        """See to it that a power failure takes no row that is written: a checkpoint follows."""
        if (path := self.path / HISTORY).exists():
            with storage_errors(self.path), path.open("ab") as file:
                os.fsync(file.fileno())
                sync_folder(self.path)

    def cut_history(self, step: int, epochs: int) -> list[str]:
        """Drop the rows after `step` steps and `epochs` epochs, where a resumed run goes on, so that none stands twice;
        tells what was lost."""
        kept, last, damaged = list[bytes](), 0, 0
        for line in self._lines(HISTORY):
            try:
                row = read_object(line, self.path, HISTORY)
            except OutputError:
                damaged += 1
                continue
            if row["step"] <= step and (row["kind"] == "step" or row["epoch"] <= epochs):
                kept.append(line + b"\n")
                last = row["step"]
        self._write(HISTORY, kept)
        lost = [f"{HISTORY}: damaged rows that are left out: {damaged}"] if damaged else []
        if last < step:
            lost.append(f"{HISTORY} has no rows of the steps {last + 1} to {step}: they are lost, and the run goes on")
        return lost

    def log(self, text: str) -> None:
        """Add a message with the local time to log.txt; what could steer a terminal is escaped."""
        now = datetime.now().isoformat(sep=" ", timespec="seconds")
        self._append("log.txt", f"{now}  {shown(text.rstrip(), lines=True)}\n")

    def write_predictions(self, rows: Iterable[Mapping[str, Any]], name: str = PREDICTIONS) -> Path:
        """Write predictions.jsonl, or OUT_OF_FOLD, a line a row, as `Task.rows` makes them."""
        return self._write(name, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    @property
    def task(self) -> Task:
        """What the run learns; of a run that was broken off before it was known, a classification."""
        run = self.run
        with self._damage(PREDICTIONS):
            return task_of_run(run, () if "dataset" in run or "task" in run else self.predictions)

    def tested(self, rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray] | None:
        """Targets and values of the test split, as the task reads them from `predictions`; None without rows.

        Raises OutputError where the rows are not those of the task.
        """
        task = self.task
        with self._damage(PREDICTIONS):
            return task.of_rows(rows) if rows else None

    @contextlib.contextmanager
    def _damage(self, name: str) -> Iterator[None]:
        """What is read together does not go together, though each part of it has its types."""
        try:
            yield
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise OutputError(
                f"{self.path / name} is damaged, or is not of this run ({error!r:.80}): restore it or train again"
            ) from error

    def finish(self, status: Status, error: str | None = None) -> None:
        """Write the status and the time, take the owner out, and let the folder go; a run that is done or pruned drops
        its checkpoints.

        They go last: a run that is killed before it is known to be done can still go on.
        """
        try:
            self.update_run({"status": status, "owner": None, "error": error, "finished": _now()})
            if status in ("done", "pruned"):
                drop_checkpoints(self.path)
        finally:
            self.release()

    def release(self) -> None:
        """Let another process write to the folder."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with storage_errors(self.path):
                lock.release()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish("done")
            return
        if isinstance(error, Pruned):
            self.finish("pruned", str(error))
            return
        status: Status = "failed" if isinstance(error, Exception) else "interrupted"
        try:
            if self._told and not isinstance(error, ZooError):  # those say themselves what to do
                note = f"go on with: {resuming(self._whole, self._backend, self._loggers)}"
                if note not in getattr(error, "__notes__", ()):
                    error.add_note(note)
            self.log("".join(traceback.format_exception(error)))
            self.finish(status, str(error) or type(error).__name__)
        except OutputError as second:
            # The first error is the one to tell; on a full disk the status cannot be written either.
            error.add_note(str(second))
        finally:
            self.release()

    def _write(self, name: str, pieces: Iterable[str | bytes]) -> Path:
        target = self.path / name
        if self._lock is not None:
            self._lock.refuse_lost()
        with storage_errors(self.path), write_atomically(target) as file:
            file.writelines(piece.encode(errors=UNENCODABLE) if isinstance(piece, str) else piece for piece in pieces)
        return target

    def _append(self, name: str, line: str) -> None:
        if self._lock is not None:
            self._lock.refuse_lost()
        with (
            storage_errors(self.path),
            open(self.path / name, "a", encoding="utf-8", errors=UNENCODABLE, newline="\n", opener=no_link) as file,
        ):
            file.write(line)

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError as error:
            raise OutputError(f"{self.path} has no {name}: expected the folder of a run; train again") from error
        except OSError as error:
            raise OutputError(f"{self.path / name} cannot be read ({error}): restore it or train again") from error

    def _lines(self, name: str) -> list[bytes]:
        if not (self.path / name).exists():
            return []
        # A killed process can leave a last line without its end; it was never whole, so it is left out.
        return self._read(name).split(b"\n")[:-1]

    def _rows(self, name: str) -> list[dict[str, Any]]:
        return [read_object(line, self.path, name, number) for number, line in enumerate(self._lines(name), 1)]


def create_run(
    path: str | Path,
    recipe_text: str,
    *,
    resume: bool = False,
    backend: str | None = None,
    log: Sequence[str] = (),
    whole: Path | None = None,
    told: bool = True,
) -> RunFolder:
    """Make the folder, lock it, and write recipe.yaml and a run.json with status `running`.

    With `resume` the folder may hold an earlier run: its recipe.yaml stays, what a crash left half-written
    goes, and the status becomes `running` again. Raises OutputError as the module says. Only who holds the lock
    removes anything: of two that start in one new folder, one gets it, and the other leaves it alone. Where the run is
    stopped, the command that goes on with it names `backend` and the loggers `log`, and of a stage the run `whole`; it
    is not `told` of a trial, with which its search goes on.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file, expected a folder for the run: choose another --out")
    with storage_errors(path):
        lock, made = _take(path)
    folder = RunFolder(path, lock, backend=backend, log=log, whole=whole, told=told)
    try:
        _claim(folder, recipe_text, resume=resume)
    except BaseException:
        folder.release()
        remove_empty(made)
        raise
    return folder


def _take(path: Path) -> tuple[Lock, list[Path]]:
    """The lock of a folder, which is made, and which folders were made for it, the innermost first."""
    for attempt in range(ATTEMPTS):
        try:
            made = make_folder(path)
            lock = Lock.of_folder(path)
            if lock.take():
                return lock, made
            break
        except FileNotFoundError:
            if attempt + 1 == ATTEMPTS:
                raise
    raise lock.refusal()


def _claim(folder: RunFolder, recipe_text: str, *, resume: bool) -> None:
    """Check what an own, locked folder holds, and mark it as this process's; a new one is left empty by an error."""
    path = folder.path
    with storage_errors(path):
        held = sorted(name for name in os.listdir(path) if not (name.startswith(MARKS) or _is_partial(Path(name))))
        if held and not resume:
            listed = ", ".join(held[:5]) + (", ..." if len(held) > 5 else "")
            raise OutputError(
                f"{path} is not empty (it holds {listed}): choose another --out, or go on with its run by --resume"
            )
        if held and not {RUN, "recipe.yaml"} & set(held):
            raise OutputError(f"{path} holds files but no run, expected one to go on with: leave out --resume")
        # The deepest first: a half-written checkpoint is a folder, with half-written files inside.
        for leftover in sorted(filter(_is_partial, path.rglob(".*")), reverse=True):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    try:
        if "recipe.yaml" not in held:
            folder.write_text("recipe.yaml", recipe_text)
        owner = {"pid": os.getpid(), "host": socket.gethostname()}
        started = {} if RUN in held else {"started": _now()}
        folder.update_run(
            {"version": VERSION, "status": "running", "owner": owner, "error": None, "finished": None, **started}
        )
    except BaseException:
        if not held:
            (path / "recipe.yaml").unlink(missing_ok=True)
        raise


def _is_partial(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(PARTIAL)


def drop_checkpoints(path: Path) -> None:
    """Of a run with which nobody goes on; what cannot be removed costs room and nothing else."""
    with contextlib.suppress(OSError):  # rmtree itself ignores no close that fails
        shutil.rmtree(path / CHECKPOINTS, ignore_errors=True)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
