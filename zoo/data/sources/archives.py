"""Takes the wanted files out of a zip, wheel or tar archive.

In comes an archive from anywhere; out go the wanted members, as plain files. Refused, before anything
is written: absolute names and `..`, links and devices among the members, more than `MAX_MEMBERS` of them, and archives
that unpack to more than `MAX_BYTES` or blow up more than `MAX_RATIO` times, wanted or not: to find a tar's next member
all of the one before is unpacked (a bomb's headers may lie, so the bytes are counted while they are written, too).
"""

from __future__ import annotations

import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from zoo.data.sources.origin import refuse_outside
from zoo.errors import EnvironmentFault

MAX_BYTES = 16 << 30
MAX_RATIO = 200
MAX_MEMBERS = 100_000
_RATIO_FROM = 64 << 20
_CHUNK = 1 << 20


def extract(archive: Path, folder: str, wants: Callable[[str], bool], target: Path) -> list[str]:
    """Members of `archive` under `folder` that are wanted, written below `target`; their names relative to `folder`."""
    prefix = f"{folder.strip('/')}/" if folder else ""
    limit = min(MAX_BYTES, max(_RATIO_FROM, archive.stat().st_size * MAX_RATIO))
    written: list[str] = []
    try:
        for name, size, opened in _members(archive, limit):
            relative = name.removeprefix(prefix)
            if not name.startswith(prefix) or not wants(relative):
                continue
            if size > limit:
                raise _refused(archive, f"{name} unpacks to {size:,} bytes, at most {limit:,} are taken")
            destination = target / relative
            destination.parent.mkdir(parents=True, exist_ok=True)
            with opened() as source, destination.open("wb") as sink:
                limit -= _copy(source, sink, limit, archive, name)
            written.append(relative)
    except EnvironmentFault:
        raise
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk; what gzip and bz2 raise has no number
        archive.unlink()  # pip takes a wheel that lies there for the one it was to bring
        raise EnvironmentFault(
            f"{archive.name}: not a readable archive ({error}); it was probably cut short: fetch it again"
        ) from error
    return written


_BROKEN = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError),
)
"""What the readers of archives raise where one is damaged."""


def _members(archive: Path, limit: int) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Name, claimed size and opener of every plain file; all names are checked before the first is yielded."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            infos = [info for info in zipped.infolist() if not info.is_dir()]
            for number, info in enumerate(infos):
                _check(archive, info.filename, number, link=stat.S_ISLNK(info.external_attr >> 16))
            for info in infos:
                yield info.filename, info.file_size, lambda info=info: zipped.open(info)  # type: ignore[misc]
        return
    with _tar(archive) as raw, tarfile.open(fileobj=_Bounded(raw), mode="r:") as tarred:
        members = []
        for number, member in enumerate(tarred):
            _check(archive, member.name, number, link=not (member.isfile() or member.isdir()))
            limit -= max(0, member.size)
            if limit < 0:
                raise _refused(archive, f"{member.name} and what is before it unpack to more than is taken")
            members += [member] * member.isfile()
        for member in members:
            yield member.name, member.size, lambda member=member: tarred.extractfile(member)  # type: ignore[misc]


def _tar(archive: Path) -> IO[bytes]:
    """The bytes of a tar, compressed or not."""
    with archive.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(archive)) if packed else archive.open("rb")


class _Bounded(io.RawIOBase):
    """A tar's bytes, `_CHUNK` of them at once: tarfile takes a record about a member (a name that is too long for its
    place) into memory, whatever its size."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _CHUNK:
            raise ValueError(f"a record of {size:,} bytes about a member, expected at most {_CHUNK:,}")
        return self._raw.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def seekable(self) -> bool:
        return True


def _check(archive: Path, name: str, number: int, *, link: bool) -> None:
    if number >= MAX_MEMBERS:
        raise _refused(archive, f"it has more than {MAX_MEMBERS:,} members")
    try:
        refuse_outside(name)
    except ValueError as error:
        raise _refused(archive, str(error)) from error
    if link:
        raise _refused(archive, f"{name} is a link or a device, only plain files are taken")


def _copy(source: IO[bytes], sink: IO[bytes], limit: int, archive: Path, name: str) -> int:
    done = 0
    while chunk := source.read(_CHUNK):
        done += len(chunk)
        if done > limit:
            raise _refused(archive, f"{name} unpacks to more than the {limit:,} bytes allowed")
        sink.write(chunk)
    return done


def _refused(archive: Path, why: str) -> EnvironmentFault:
    return EnvironmentFault(f"{archive.name} refused: {why}. Nothing of it is used; get the files from another source")
