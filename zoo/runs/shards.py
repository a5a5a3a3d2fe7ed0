"""A file predicted in parts, by any number of processes, any of which may die.

In come a finished run, a file and one of several shards; out come parquet files in a folder, a part of the file's rows
each, of which those of the shard are written here. A part that is there under its name is whole, and is not predicted
again. Parts in the order of their names are the file. Refused: a folder that holds something else, or parts of another
prediction; a shard at which another process is; other shards than those at which processes are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from zoo.data.locking import MARKS, Lock
from zoo.data.parquet import open_parquet
from zoo.data.sources.request import sha256_of
from zoo.data.streams import OnMissing, look_through, of_pieces
from zoo.data.tables import column_types
from zoo.data.writing import PARTIAL, make_folder, remove_empty, storage_errors, write_atomically
from zoo.errors import DataError, OutputError, RecipeError
from zoo.runs.answering import Answering, Tally, blank
from zoo.runs.answers import to_file
from zoo.runs.run import Run
from zoo.runs.screen import Screen

__all__ = ["Shard", "Work", "predict_shard"]

ROWS = 8192
"""Rows of a part, a multiple of those that are read at once: then they are computed in the batches of a whole file."""
ABOUT = "_parts.json"
"""What the parts of a folder are of. Programs that read folders of parquet files pass over names with a `_`."""
AGAIN = 1.0
"""Seconds between two looks at whether the folder is free."""
_PART = re.compile(r"\.?part-(\d{6,})\.parquet")
_LOCK = re.compile(r"\.shard-(\d+)-of-(\d+)\.owner")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One of `count` shares of the parts, `number` from 1: every `count`-th part."""

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Self:
        """From I/N; RecipeError for anything else."""
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise RecipeError(f"--shard: got {text}, expected I/N, shard I of N, where I is from 1 to N: as 1/4")
        return cls(number=int(found[1]), count=int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def lock(self, folder: Path) -> Lock:
        """That of the process that predicts it."""
        return Lock(*(folder / f".shard-{self.number}-of-{self.count}{mark}" for mark in MARKS))


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is predicted: the column of the text of a file, or the two of pairs; the columns that are carried along; and
    what a row without a text gets."""

    file: Path
    texts: tuple[str, ...]
    columns: tuple[str, ...]
    on_missing: OnMissing


def predict_shard(run: Run, work: Work, shard: Shard, out: Path, *, batch_size: int, screen: Screen) -> Tally:
    """Predict those parts of a shard that are not there; what was predicted here.

    Args:
        out: the folder of the parts of all shards, made where it is not there.
        batch_size: rows that are computed together.

    Raises:
        OutputError: another process is at this shard, or at one of another number of shards; the folder holds something
            else, or parts of another prediction.
        DataError: a row of the file cannot be read, or has no text where that is an error: before a part is written.
    """
    about = {
        "model_sha256": _digest(run.path / "model"),
        "file_sha256": sha256_of(work.file),
        "text": list(work.texts),
        "columns": list(work.columns),
        "on_missing": work.on_missing,
        "precision": run.precision,
        "task": run.own_task,
        "rows_of_a_part": ROWS,
    }
    with _taken(out, shard, screen):
        with storage_errors(out), _alone(out, screen):
            rows = _begun(out, about)
            if rows is None:
                rows = look_through(
                    *(work.file, work.texts, work.columns), on_missing=work.on_missing, worded=run.task.worded
                )
                told = {"run": str(run.path), "file": str(work.file), "rows": rows, **about}
                with write_atomically(out / ABOUT) as stream:
                    stream.write(json.dumps(told, indent=2, ensure_ascii=False).encode() + b"\n")
        parts = range(shard.number - 1, -(-rows // ROWS), shard.count)
        todo = {part: min(ROWS, rows - part * ROWS) for part in parts if not _whole(out / _name(part), screen)}
        screen.say("parts", f"shard {shard}: {len(parts) - len(todo):,} of {len(parts):,} were there")
        tally = Tally()
        if todo:
            tally = _predict(run, work, todo, out, batch_size=batch_size, screen=screen)
        left = sum(not (out / _name(part)).exists() for part in range(-(-rows // ROWS)))
    screen.say("parts", f"of all shards {left:,} are not there yet" if left else "those of all shards are there")
    return tally


def _predict(run: Run, work: Work, todo: Mapping[int, int], out: Path, *, batch_size: int, screen: Screen) -> Tally:
    """Predict some parts, each given with its number of rows."""
    template, types = blank(run), column_types(work.file, work.columns)
    bar = screen.bar("predict", sum(todo.values()))
    name, missing, wait = str(work.file), work.on_missing, screen.on_wait
    with Answering(run, name, on_missing=missing, batch_size=batch_size, bar=bar, wait=wait) as answering:
        pieces = of_pieces(work.file, work.texts, work.columns, size=ROWS, wanted=todo.__contains__)
        for part, rows in pieces:
            with to_file(out / _name(part), types, template) as answers:
                answering.take(rows, answers)
                answers.close()
    return answering.tally


def _name(part: int) -> str:
    return f"part-{part:06}.parquet"


def _digest(model: Path) -> str:
    """The SHA-256 of the names and the contents of a model's files."""
    digest = hashlib.sha256()
    for path in sorted(model.iterdir()):
        digest.update(f"{path.name}\0{sha256_of(path)}\0".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def _taken(out: Path, shard: Shard, screen: Screen) -> Iterator[None]:
    """The block, while no other process is at this shard; an empty folder does not stay."""
    with storage_errors(out):
        made = make_folder(out)
    lock, taken = shard.lock(out), False
    try:
        with storage_errors(out), _alone(out, screen):
            for path in sorted(out.iterdir()):
                other = _LOCK.fullmatch(path.name)
                if other is not None and int(other[2]) != shard.count:
                    theirs = Shard(number=int(other[1]), count=int(other[2]))
                    if theirs.lock(out).alive:
                        raise OutputError(
                            f"--shard: got {shard}, and {theirs.lock(out).owner() or 'another process'} is at "
                            f"{theirs} of {out}, expected as many shards: wait for it, or take one of {shard.count}"
                        )
            taken = lock.take()
            if not taken:
                raise OutputError(
                    f"--shard: {lock.owner() or 'another process'} is at {shard} of {out}, expected one process a "
                    "shard: take another one, or wait for it"
                )
            for path in out.glob(f".part-*{PARTIAL}"):  # left by a process that was killed
                found = _PART.match(path.name)
                if found is not None and int(found[1]) % shard.count == shard.number - 1:
                    path.unlink(missing_ok=True)
        yield
    finally:
        if taken:
            lock.release()
        remove_empty(made)


@contextlib.contextmanager
def _alone(out: Path, screen: Screen) -> Iterator[None]:
    """The block, while no other process begins in this folder; waits for one that does."""
    lock, told = Lock.of_folder(out), False
    while not lock.take():
        if not told:
            screen.say("parts", f"waits for {lock.owner() or 'another process'}, which looks through the file")
        told = True
        time.sleep(AGAIN)
    try:
        yield
    finally:
        lock.release()


def _begun(out: Path, about: Mapping[str, Any]) -> int | None:
    """How many rows the file has of whose parts a folder is; None where it is empty.

    Raises OutputError where they are of another prediction.
    """
    for path in out.glob(f".{ABOUT}.*{PARTIAL}"):
        path.unlink(missing_ok=True)
    try:
        found = json.loads((out / ABOUT).read_bytes())
        rows: int = found["rows"]
    except FileNotFoundError:
        held = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
        if held:
            listed = ", ".join(held[:5]) + (", ..." if len(held) > 5 else "")
            raise OutputError(
                f"{out} is not empty (it holds {listed}) and has no {ABOUT}: choose another --out, or remove it"
            ) from None
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{out / ABOUT} is damaged ({error}): choose another --out, or remove {out}") from error
    others = [f"{key} {found.get(key)}, expected {value}" for key, value in about.items() if found.get(key) != value]
    if others:
        raise OutputError(
            f"{out} holds parts of another prediction (its {ABOUT} says {'; '.join(others)}): choose another --out, or "
            "give what it was begun with"
        )
    return rows


def _whole(path: Path, screen: Screen) -> bool:
    """Whether a part is there. What is there is whole, unless something else than this module has been at it."""
    try:
        with open_parquet(path):
            return True
    except FileNotFoundError:
        return False
    except DataError as error:
        screen.say("parts", f"{error}; it is predicted again")
        return False
