"""What the cache asks of a scheme, and what it gets back.

In comes an `Origin`, the names still missing and a folder to download into; a scheme's `bring` puts the
files there. A scheme verifies nothing but the archive it unpacks: the cache verifies every file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.data.sources.origin import Origin
from zoo.errors import EnvironmentFault
from zoo.recipe.hiding import hide_in

Progress = Callable[[str, int, "int | None"], None]
"""Called with the file's name, the bytes that are there and the bytes in all (None: unknown)."""


class Unreachable(Exception):
    """The place cannot be reached, or does not have what was asked of it. Addresses are told without passwords, and
    without what is behind their `?`, by which hubs sign them."""

    def __init__(self, text: str) -> None:
        super().__init__(hide_in(text))


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What a scheme found out while it brought the files."""

    revision: str | None = None
    archive_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call of a scheme's `bring`."""

    origin: Origin
    missing: frozenset[str]
    """Names to bring; empty where the origin has patterns and nothing was brought yet."""
    folder: Path
    revision: str | None
    """Revision recorded at the first download, for an origin that leaves it open."""
    archive_sha256: str | None
    """sha256 the archive must have, from the card or from the first download; None is open."""
    known: Mapping[str, str]
    """Name -> the sha256 that the file must have, from the card or from the first download."""
    progress: Progress

    def wants(self, name: str) -> bool:
        """Whether `name` is to be brought now."""
        return self.origin.wants(name) and (not self.missing or name in self.missing)

    def take(self, name: str, shared: Path, again: Callable[[], Path]) -> None:
        """Put the hub's own copy of a file into the folder: a hard link, or a copy where it lies on another disk.

        Args:
            name: of the file.
            shared: where the hub's library has it. No such library looks whether its copy is whole, and one that is
                damaged would be damaged here, too, being the same file.
            again: downloads it anew where its hash is not the known one.
        """
        known, target = self.known.get(name), self.folder / name
        if known is not None and sha256_of(shared) != known:
            shared = again()
        if shared == target.resolve():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(shared, target)
        except OSError:
            shutil.copyfile(shared, target)

    def check_archive(self, archive: Path, digest: str) -> None:
        """Refuse an archive with another hash than the pinned one, and delete it."""
        if self.archive_sha256 is not None and digest != self.archive_sha256:
            archive.unlink()
            raise mismatch(f"{archive.name} from {self.origin.uri}", self.archive_sha256, digest)


def mismatch(what: str, expected: str, got: str) -> EnvironmentFault:
    """The fault of a file that is not the file it should be."""
    return EnvironmentFault(
        f"{what}: sha256 expected {expected}, got {got}. The file was deleted; fetch it again, and if it comes "
        "out the same, the source has changed: do not use it before you know why"
    )


def sha256_of(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
