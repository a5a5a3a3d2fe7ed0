"""Writing a file whole or not at all.

In come a path and what to write; out comes the file, seen by others only when it is complete and on
the disk. Refused, by `storage_errors`: a full disk, a place that cannot be written (OutputError).
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from zoo.errors import OutputError

PARTIAL = ".partial"
"""Ending of what is not whole yet; after a crash it can be swept away."""


@contextlib.contextmanager
def write_atomically(path: Path) -> Iterator[BinaryIO]:
    """A binary stream to a neighbour of `path` that takes its place at the end; nothing stays after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors that name the folder and the repair."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            text = f"{path}: the disk is full, expected room for the run's files: free some, or choose another --out"
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            text = f"{path} cannot be written ({error.strerror}), expected a writable folder: choose another --out"
        elif error.errno in {errno.ENOTDIR, errno.EEXIST}:
            text = f"{path} lies behind a file, expected folders only: choose another --out"
        else:
            text = f"{path} cannot be written ({error}): check the disk, or choose another --out"
        raise OutputError(text) from error
