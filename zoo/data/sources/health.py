"""Whether the cache holds what was put there: every file's hash against what was recorded when it came.

Nothing comes in but the cache; out comes, of each of its folders, what is in it and what is wrong. Nothing is refused,
nothing is repaired: a run repairs what it needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.data.appending import NOTE, held, wrong_with
from zoo.data.sources.cache import SOURCES, STAMP, cache_folder, read_stamp
from zoo.data.sources.request import sha256_of
from zoo.data.writing import PARTIAL
from zoo.errors import EnvironmentFault

__all__ = ["Kept", "kept", "size_of"]

INCOMING = ".incoming"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A part of the cache.

    name: of its folder. what: the address that it is of, or what is kept there. files and bytes: how much that is.
    checked: whether something says what its files should hold. faults: what is wrong with it, a sentence each.
    unfinished: bytes of downloads that have not ended.
    """

    name: str
    what: str
    files: int
    bytes: int
    checked: bool
    faults: tuple[str, ...] = ()
    unfinished: int = 0


def size_of(folder: Path) -> tuple[int, int]:
    """Files below a folder, and their bytes."""
    sizes = [os.lstat(path).st_size for path in _files(folder)]
    return len(sizes), sum(sizes)


def kept(advance: Callable[[int], None]) -> Iterator[Kept]:
    """All parts of the cache, the origins first.

    Args:
        advance: called with the bytes that were looked at since the last call.
    """
    cache = cache_folder()
    if not cache.is_dir():
        return
    for folder in _folders(cache / SOURCES):
        yield _origin(folder, advance)
    for folder in _folders(cache):
        if folder.name != SOURCES:
            yield _made_here(folder, advance)


def _origin(folder: Path, advance: Callable[[int], None]) -> Kept:
    count, size = size_of(folder)
    unfinished = size_of(folder / INCOMING)[1]
    whole: Any = {"name": f"{SOURCES}/{folder.name}", "files": count, "bytes": size, "unfinished": unfinished}
    try:
        stamp = read_stamp(folder)
    except EnvironmentFault as error:
        advance(size)
        return Kept(what="unknown", checked=True, faults=error.faults, **whole)
    faults = list[str]()
    for file, entry in stamp.files.items():
        path = folder / file
        try:
            found = sha256_of(path)
        except OSError as error:
            faults.append(f"{path} cannot be read ({error.strerror})")
            continue
        advance(path.stat().st_size)
        if found != entry.sha256:
            wrong = f"{path} has the SHA-256 {found[:12]}..., and {STAMP} says {entry.sha256[:12]}..."
            faults.append(f"{wrong}: `python -m zoo.fetch` with a recipe that uses it brings it anew")
    if not stamp.files and not unfinished:
        faults.append(f"{folder} has no {STAMP}: nothing says what it holds, delete it")
    return Kept(what=stamp.uri or "unknown", checked=bool(stamp.files), faults=tuple(faults), **whole)


def _made_here(folder: Path, advance: Callable[[int], None]) -> Kept:
    """What can be made anew; tables of tokens have checksums of their own."""
    count, size = size_of(folder)
    faults, checked = list[str](), False
    for path in _files(folder):
        if path.name == NOTE and not path.parent.name.endswith(PARTIAL):
            checked, note = True, held(path.parent)
            if (broken := note if isinstance(note, str) else wrong_with(path.parent, note)) is not None:
                faults.append(f"{path.parent} is damaged ({broken}); the next run makes it anew")
        advance(os.lstat(path).st_size)
    return Kept(name=folder.name, what="made here", files=count, bytes=size, checked=checked, faults=tuple(faults))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in sorted(names))
