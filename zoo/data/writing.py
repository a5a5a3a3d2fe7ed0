"""Writing a file, or a folder, whole or not at all.

In come a path and what to write; out comes the file or the folder, seen by others only when it is complete, and on
the disk when the call returns: a power failure afterwards takes nothing of it.
Refused, as OutputError: a folder that holds something; and by `storage_errors` a full disk, a place that cannot be
written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from zoo.errors import OutputError

PARTIAL = ".partial"
"""Ending of what is not whole yet; after a crash it can be swept away."""


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[BinaryIO]:
    """A binary stream to a neighbour of `path` that takes its place at the end; nothing stays after an error."""
    make_folder(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def no_link(path: str, flags: int) -> int:
    """Opens a file to be added to (`open`'s `opener`), and not what a link in its place leads to."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def nearest(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    while not os.path.exists(folder):  # pathlib raises where a name is too long
        folder = folder.parent
    return folder


@contextlib.contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` that takes its place at the end; nothing stays after an error.

    The files in it are as safe from a power failure as their writers make them.

    Raises:
        OutputError: `path` is a file, or a folder that holds something.
    """
    if path.is_dir() and (held := sorted(entry.name for entry in path.iterdir())):
        listed = ", ".join(held[:5]) + (", ..." if len(held) > 5 else "")
        raise OutputError(f"{path} is not empty (it holds {listed}): choose another --out, or remove it")
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file, expected a folder: choose another --out")
    made = make_folder(path.parent)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        os.replace(temporary, path)  # it may take the place of an empty folder
        sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        remove_empty(made)
        raise


def make_folder(path: Path) -> list[Path]:
    """Make a folder and those above it; returns those that were not there, the innermost first."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        for folder in made:
            sync_folder(folder.parent)
    except BaseException:
        remove_empty(made)
        raise
    return made


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, the innermost first, up to one that holds something or is gone."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def sync_folder(path: Path) -> None:
    """Have the names that a folder holds on the disk (fsync(2): a file's own does not do that)."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        # A folder that may be written and not read, and file systems that have no such call.
        if error.errno not in {errno.EACCES, errno.EINVAL}:
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def storage_errors(path: Path, otherwise: str = "choose another --out") -> Iterator[None]:
    """Turn the operating system's refusals into errors that name the folder and the repair."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            text = f"{path}: the disk is full, expected room for what is written: free some, or {otherwise}"
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            text = f"{path} cannot be written ({error.strerror}), expected a writable folder: {otherwise}"
        elif error.errno in {errno.ENOTDIR, errno.EEXIST}:
            text = f"{path} lies behind a file, expected folders only: {otherwise}"
        else:
            text = f"{path} cannot be written ({error}): check the disk, or {otherwise}"
        raise OutputError(text) from error
