"""A folder of files that grow together, of which it is known how far they are safe.

In come bytes for each file, and what is done with them; out comes a note beside the files: how many bytes of each are
on the disk, with their checksums. What was interrupted is gone on with from there. Refused is nothing: what is not as
it was written is said.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, BinaryIO, Self

from pydantic import Field, TypeAdapter, ValidationError

from zoo.data.writing import write_atomically

__all__ = ["NOTE", "Appended", "Extent", "Held", "held", "wrong_with"]

NOTE = "held.json"
_READ = 1 << 20
"""Bytes that are read at once."""

Natural = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The part of a file that is safe: its size in bytes, and its crc32."""

    size: Natural
    crc32: Natural


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a folder holds: how much is done, and the files by their names."""

    done: Natural
    files: dict[Annotated[str, Field(pattern=r"^[a-z]+\.[a-z]+$")], Extent]


_HELD = TypeAdapter(Held)


def held(folder: Path) -> Held | str:
    """What the folder's note says; or why it says nothing."""
    try:
        return _HELD.validate_json((folder / NOTE).read_bytes(), strict=True)
    except OSError as error:
        return f"{NOTE} cannot be read ({error.strerror})"
    except ValidationError as error:
        return f"{NOTE} is none ({error.errors()[0]['msg']})"


def wrong_with(folder: Path, note: Held, *, whole: bool = True) -> str | None:
    """What is not as the note says; None where nothing is.

    Args:
        whole: whether the files end where the note says, as those of a folder that is done.
    """
    for name, extent in note.files.items():
        try:
            size = (folder / name).stat().st_size
            if size < extent.size or (whole and size > extent.size):
                return f"{name} has {size:,} bytes, and {NOTE} says {extent.size:,}"
            if _checksum(folder / name, extent.size) != extent.crc32:
                return f"{name} is not as it was written"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


class Appended:
    """Files in a folder that are written to their ends, in a `with` block.

    Args:
        folder: where they are.
        names: of the files.
        note: what they hold; None of none that is there.
    """

    def __init__(self, folder: Path, names: Iterable[str], note: Held | None) -> None:
        self._folder, self._open = folder, contextlib.ExitStack()
        self._files = dict.fromkeys(names, Extent(size=0, crc32=0)) if note is None else dict(note.files)
        self._streams = dict[str, BinaryIO]()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            for name, extent in self._files.items():
                self._streams[name] = opened.enter_context((self._folder / name).open("ab"))
                self._streams[name].truncate(extent.size)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def append(self, name: str, raw: bytes) -> None:
        """Write behind what a file has."""
        self._streams[name].write(raw)
        before = self._files[name]
        self._files[name] = Extent(size=before.size + len(raw), crc32=zlib.crc32(raw, before.crc32))

    def secure(self, done: int) -> None:
        """Have all that was written on the disk, and noted what is done with it."""
        for stream in self._streams.values():
            stream.flush()
            os.fsync(stream.fileno())
        with write_atomically(self._folder / NOTE) as note:
            note.write(_HELD.dump_json(Held(done=done, files=self._files)))


def _checksum(path: Path, size: int) -> int:
    """The crc32 of a file's first bytes."""
    found, left = 0, size
    with path.open("rb") as stream:
        while left and (raw := stream.read(min(left, _READ))):
            found, left = zlib.crc32(raw, found), left - len(raw)
    return found
