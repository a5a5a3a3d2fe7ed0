"""Which process may write to a place, on this machine's disks and on those that several machines share.

Two marks, taken one after the other. The kernel's lock goes with its process; a file system may have none, or one that
other machines do not see. Then a file that is made exclusively, names its owner, and is renewed while the owner lives:
it is taken over at once from a process of this machine that is gone, and from one of another machine when nobody has
renewed it for SILENCE seconds. A process that was still for so long may find that it is another's (`lost`).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, SoftFileLease, Timeout

from zoo.errors import OutputError

MARKS = ".lock", ".owner"
"""The two marks of a folder: what it is named, or begins with, is none of its files."""
PATIENCE = 0.2
"""Seconds in which a process that is just leaving may leave."""
SILENCE, RENEWED = 60.0, 5.0
"""Seconds after which an owner counts as gone, and those between two signs of life."""
WRITTEN = 3.0
"""Seconds in which one that has just begun has written who it is."""
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
"""What a file system says that has no locks."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The process that a place is of."""

    pid: int
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def gone(self) -> bool:
        """Whether it is known to be no more; of another machine's process nothing is known."""
        import psutil

        return self.host == socket.gethostname() and not psutil.pid_exists(self.pid)


class Lock:
    """The lock of a place, not yet taken.

    Args:
        kernel, owner: files for the two marks.
    """

    def __init__(self, kernel: Path, owner: Path) -> None:
        self._file, self._owner = kernel, owner
        self._kernel = FileLock(kernel, fallback_to_soft=False, thread_local=False)
        self._lease = SoftFileLease(owner, lease_duration=SILENCE, heartbeat_interval=RENEWED, thread_local=False)

    @classmethod
    def of_folder(cls, folder: Path) -> Lock:
        """With both marks in it."""
        return cls(*(folder / mark for mark in MARKS))

    @classmethod
    def beside(cls, folder: Path) -> Lock:
        """With both marks beside it."""
        return cls(folder.with_name(f"{folder.name}.lock"), folder.with_name(f"{folder.name}.owner"))

    def take(self) -> bool:
        """Whether it is now this process's; FileNotFoundError where the folder is gone.

        Where another machine's process may be gone, it is waited for its next sign of life, at most SILENCE seconds.
        """
        seen = self._sign()
        try:
            self._take_kernels(PATIENCE)
            self._drop_nameless()
            self._lease.acquire(timeout=2 * SILENCE, cancel_check=lambda: self._sign() not in (seen, None))
        except Timeout:
            self._kernel.release()
            return False
        return True

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The block, once it is this process's."""
        with contextlib.ExitStack() as own:
            self._take_kernels(-1)
            own.callback(self._kernel.release)
            taken = False
            while not taken:
                self._drop_nameless()
                with contextlib.suppress(Timeout):
                    self._lease.acquire(timeout=RENEWED)
                    taken = True
            own.callback(self._lease.release)
            yield

    @property
    def lost(self) -> bool:
        """Whether another process has taken it over, as this one showed no sign of life."""
        return self._lease.compromise is not None

    @property
    def alive(self) -> bool:
        """Whether it is some process's that has shown so within SILENCE, by this machine's clock, and is not known to
        be gone."""
        sign, owner = self._sign(), self._named()
        return sign is not None and time.time() - sign[1] / 1e9 < SILENCE and not (owner and owner.gone)

    def refuse_lost(self) -> None:
        """Raise OutputError where it is lost."""
        if self.lost:
            raise OutputError(
                f"{self._owner.parent} is now written to by {self.owner() or 'another process'}, as this one was still "
                f"for {SILENCE:g} seconds, expected one run a folder: leave it to that one"
            )

    def refusal(self) -> OutputError:
        """Why it was not taken."""
        return OutputError(
            f"{self._owner.parent} is being written to by {self.owner() or 'another process'}, expected one run a "
            "folder: wait for it or choose another --out"
        )

    def owner(self) -> Owner | None:
        """Whose it is; None where nobody has said so."""
        begun = time.monotonic()
        while ((found := self._named()) is None or found.gone) and time.monotonic() - begun < WRITTEN:
            time.sleep(0.01)
        return found

    def _named(self) -> Owner | None:
        """Who the file names, which can be one that is gone, of whom another is just taking over."""
        found = self._lease.owner
        return found and Owner(pid=found.pid, host=found.hostname.partition("?")[0])  # then a container's namespace

    def release(self) -> None:
        """Let another process have it.

        The file of the kernel's lock goes first: who then gets the lock of the removed file has nothing, and FileLock
        tries again on a new one. Nobody else removes it.
        """
        with contextlib.ExitStack() as last:  # each of them also where another one fails
            last.callback(self._kernel.release)
            last.callback(self._lease.release)
            if not self.lost:
                self._file.unlink(missing_ok=True)

    def _take_kernels(self, patience: float) -> None:
        try:
            self._kernel.acquire(timeout=patience)
        except OSError as error:
            if isinstance(error, Timeout) or error.errno not in NO_LOCKS:
                raise

    def _drop_nameless(self) -> None:
        """Remove an owner's file that says nothing for SILENCE seconds: its process was killed, or its disk was full,
        before it had written who it is. By itself filelock takes it for one of an old release that writes nothing."""
        with contextlib.suppress(FileNotFoundError):
            found = self._owner.stat()
            if found.st_size == 0 and time.time() - found.st_mtime > SILENCE:
                self._owner.unlink()

    def _sign(self) -> tuple[int, int] | None:
        """The owner's last sign of life."""
        try:
            found = self._owner.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns
