"""Takes the wanted files out of a zip, wheel or tar archive.

In comes an archive from anywhere; out go the wanted members, as plain files. Refused, before anything
is written: absolute names and `..`, links and devices among the members, and archives that unpack to
more than `MAX_BYTES` or blow up more than `MAX_RATIO` times (a bomb's headers may lie, so the bytes
are counted while they are written, too).
"""

from __future__ import annotations

import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from zoo.data.sources.origin import refuse_outside
from zoo.errors import EnvironmentFault

MAX_BYTES = 16 << 30
MAX_RATIO = 200
_RATIO_FROM = 64 << 20
_CHUNK = 1 << 20


def extract(archive: Path, folder: str, wants: Callable[[str], bool], target: Path) -> list[str]:
    """Members of `archive` under `folder` that are wanted, written below `target`; their names relative to `folder`."""
    prefix = f"{folder.strip('/')}/" if folder else ""
    limit = min(MAX_BYTES, max(_RATIO_FROM, archive.stat().st_size * MAX_RATIO))
    written: list[str] = []
    try:
        for name, size, opened in _members(archive):
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


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]]]]:
    """Name, claimed size and opener of every plain file; all names are checked before the first is yielded."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            infos = [info for info in zipped.infolist() if not info.is_dir()]
            for info in infos:
                _check(archive, info.filename, link=stat.S_ISLNK(info.external_attr >> 16))
            for info in infos:
                yield info.filename, info.file_size, lambda info=info: zipped.open(info)  # type: ignore[misc]
        return
    with tarfile.open(archive) as tarred:
        members = [member for member in tarred.getmembers() if not member.isdir()]
        for member in members:
            _check(archive, member.name, link=not member.isfile())
        for member in members:
            yield member.name, member.size, lambda member=member: tarred.extractfile(member)  # type: ignore[misc]


def _check(archive: Path, name: str, *, link: bool) -> None:
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
