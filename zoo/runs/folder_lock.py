"""Which process may write to a folder: the one that holds the kernel's lock on `.lock` in it.

The lock goes with its process, so a crash leaves none behind. The file is removed by whoever holds the lock, before it
is let go; a process that then gets the lock of the removed file has nothing, and FileLock tries again on a new one.
Nobody else removes it.
"""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
PATIENCE = 0.2
"""Seconds in which a process that is just leaving may leave."""


class FolderLock:
    """The lock of a folder, not yet taken."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / LOCK
        self._lock = FileLock(self._file, timeout=PATIENCE)

    def take(self) -> bool:
        """Whether it is now this process's; FileNotFoundError where the folder is gone."""
        try:
            self._lock.acquire()
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Let another process have it."""
        self._file.unlink(missing_ok=True)
        self._lock.release()
