"""The cache: an origin in, a folder with its verified files out.

    <cache>/sources/<scheme>-<name>-<key>/   the files, and stamp.json: what each hashed to, its size and time
                                  .incoming/ what is still on its way, resumed by the next try

A file is in its place only after its hash was checked, by one atomic rename, so half a download is never
used. The stamp makes `locate` fast: it compares sizes and times and hashes again only what was touched. `fetch`, which
a run asks for its files, trusts neither: a disk that fails changes bytes and no time, so each file is hashed once in a
process. A hash that the card leaves open is recorded in the stamp, and another one is refused from then on. One process
fetches an origin at a time; the others wait and find it there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TypeVar

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from zoo.data.objects import first_wrong, read_object
from zoo.data.sources import hub, index, kaggle, web
from zoo.data.sources.origin import Address, Origin, address
from zoo.data.sources.request import Brought, Progress, Request, Unreachable, mismatch, sha256_of
from zoo.data.writing import storage_errors, write_atomically
from zoo.errors import EnvironmentFault

SCHEMES = {"hf": hub.bring, "kaggle": kaggle.bring, "pypi": index.bring, "https": web.bring, "http": web.bring}
SOURCES, STAMP = "sources", "stamp.json"
ANOTHER_CACHE = "set ZOO_CACHE to a folder that can be written"

_hashed: dict[tuple[Path, int, str], bool] = {}
"""What was hashed in this process: path, time in nanoseconds and expected sha256, and whether it had that."""

AnyOrigin = TypeVar("AnyOrigin", bound=Origin)


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Something that a recipe needs and this machine does not have."""

    what: str
    uri: str
    cache_path: Path

    def __str__(self) -> str:
        return f"{self.what} is not on this machine: {self.uri} would be cached in {self.cache_path}"


class Stamped(BaseModel):
    """One file: its sha256, its size in bytes, its time of change in nanoseconds."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int
    mtime_ns: int


class Stamp(BaseModel):
    """What is known of an origin's files: written at each fetch."""

    model_config = ConfigDict(strict=True, extra="ignore")

    uri: str = ""
    revision: str | None = None
    archive_sha256: str | None = None
    complete: bool = False
    files: dict[str, Stamped] = {}


def cache_folder() -> Path:
    """$ZOO_CACHE, else text-zoo in the user's cache folder of this platform."""
    chosen = os.environ.get("ZOO_CACHE")
    if chosen:
        return Path(os.path.expanduser(chosen)).absolute()
    return platformdirs.user_cache_path("text-zoo", appauthor=False)


def folder_of(origin: Origin) -> Path:
    """Where the origin's files lie, or would lie."""
    uri = address(origin.uri)
    if uri.scheme == "path":
        return Path(uri.name)
    if uri.scheme == "package":
        return Path(str(resources.files("zoo.data.catalog"))) / uri.name
    readable = re.sub(r"[^A-Za-z0-9._]+", "-", uri.name).strip("-.")[-80:]
    key = hashlib.sha256(origin.uri.encode()).hexdigest()[:8]
    return cache_folder() / SOURCES / f"{uri.scheme}-{readable}-{key}"


def locate(origin: Origin, *, content: bool = False) -> Path | None:
    """The folder with all of the origin's files; None where one is absent or damaged. No network.

    Args:
        content: whether the files' bytes are looked at, too, once in a process; else sizes and times alone.
    """
    folder = folder_of(origin)
    if address(origin.uri).scheme in {"path", "package"}:
        present = all(os.path.isfile(folder / name) for name in origin.files)
        return folder if present and os.path.isdir(folder) else None
    stamp = read_stamp(folder)
    if not stamp.complete and not origin.files:
        return None
    names = list(origin.files) or [name for name in stamp.files if origin.wants(name)]
    if not names or not all(_sound(folder, name, stamp, origin.files.get(name), content=content) for name in names):
        return None
    return folder


def fetch(origin: Origin, *, progress: Progress | None = None) -> Path:
    """Bring the origin's files into the cache and verify them, also those that are there; the folder.

    EnvironmentFault where the place cannot be reached or a hash is not the expected one, OutputError where the
    cache cannot be written; what was downloaded so far stays and the next try resumes there.
    """
    folder = folder_of(origin)
    uri = address(origin.uri)
    if uri.scheme in {"path", "package"}:
        if locate(origin) is None:
            absent = [name for name in origin.files if not os.path.isfile(folder / name)]
            raise EnvironmentFault(f"{folder}: {', '.join(absent) or 'the folder'} is not there; check the path")
        return folder
    found = locate(origin, content=True)
    if found is not None:
        return found
    from zoo.data.locking import Lock  # importing filelock takes a while

    try:
        with storage_errors(folder, ANOTHER_CACHE):
            folder.mkdir(parents=True, exist_ok=True)
            with Lock.beside(folder).held():
                if locate(origin, content=True) is None:
                    _bring(origin, uri, folder, progress or _silent)
    except Unreachable as error:
        damaged = [f"{path} is damaged, it does not hold what was downloaded. " for path in _seen_damaged(folder)]
        raise EnvironmentFault(
            f"{''.join(damaged)}{error}. It would be cached in {folder}: try again with a network "
            "(`python -m zoo.fetch`), or copy that folder from a machine that has it"
        ) from error
    return folder


def locate_first(origins: Sequence[AnyOrigin], *, content: bool = False) -> tuple[AnyOrigin, Path] | None:
    """The first origin that is cached, and its folder; see `locate`."""
    for origin in origins:
        folder = locate(origin, content=content)
        if folder is not None:
            return origin, folder
    return None


def fetch_first(origins: Sequence[AnyOrigin], *, progress: Progress | None = None) -> tuple[AnyOrigin, Path]:
    """The first origin that is cached, else the first that can be fetched; EnvironmentFault with what each one said."""
    found = locate_first(origins, content=True)
    if found is not None:
        return found
    faults: list[str] = []
    for origin in origins:
        try:
            return origin, fetch(origin, progress=progress)
        except EnvironmentFault as fault:
            faults.extend(fault.faults)
    raise EnvironmentFault(faults)


def _bring(origin: Origin, uri: Address, folder: Path, progress: Progress) -> None:
    """Download what is absent or damaged, verify it, put it in its place and stamp it."""
    stamp = read_stamp(folder)
    missing = {name for name in origin.files if not _sound(folder, name, stamp, origin.files[name], content=True)}
    incoming = folder / ".incoming"
    incoming.mkdir(exist_ok=True)
    request = Request(
        origin=origin,
        missing=frozenset(missing),
        folder=incoming,
        revision=stamp.revision,
        archive_sha256=origin.archive_sha256 or stamp.archive_sha256,
        known={name: entry.sha256 for name, entry in stamp.files.items()}
        | {name: digest for name, digest in origin.files.items() if digest is not None},
        progress=progress,
    )
    brought: Brought = SCHEMES[uri.scheme](request)
    arrived = [path.relative_to(incoming).as_posix() for path in sorted(incoming.rglob("*")) if path.is_file()]
    arrived = [name for name in arrived if request.wants(name)]
    absent = missing.difference(arrived)
    if absent or not arrived:
        raise Unreachable(f"{origin.uri} has no {', '.join(sorted(absent) or origin.patterns)}")
    for name in arrived:
        source, target = incoming / name, folder / name
        progress(f"{name} (verifying)", 0, None)
        digest = sha256_of(source)
        expected = request.known.get(name)
        if expected is not None and digest != expected:
            source.unlink()
            raise mismatch(f"{name} from {origin.uri}", expected, digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        stamp.files[name] = _entry(target, digest)
        _hashed[target, stamp.files[name].mtime_ns, digest] = True
    stamp.revision = brought.revision or stamp.revision
    stamp.archive_sha256 = brought.archive_sha256 or stamp.archive_sha256
    stamp.complete = True
    stamp.uri = origin.uri
    _write_stamp(folder, stamp)
    shutil.rmtree(incoming)


def _sound(folder: Path, name: str, stamp: Stamp, pinned: str | None, *, content: bool) -> bool:
    """Whether the file is the one that the stamp and the card speak of."""
    entry = stamp.files.get(name)
    if entry is None or (pinned is not None and pinned != entry.sha256):
        return False
    path = folder / name
    try:
        found = path.stat()
    except OSError:
        return False
    key = (path, found.st_mtime_ns, entry.sha256)
    if found.st_size != entry.size:
        _hashed[key] = False  # whatever its bytes are
        return False
    untouched = found.st_mtime_ns == entry.mtime_ns
    if key not in _hashed:
        if untouched and not content:
            return True
        # Copied or touched since, or used for the first time here: the bytes decide, once.
        _hashed[key] = sha256_of(path) == entry.sha256
    if untouched or not _hashed[key]:
        return _hashed[key]
    stamp.files[name] = _entry(path, entry.sha256)
    # A cache that is shared read-only cannot be stamped anew: it is hashed again the next time.
    with contextlib.suppress(OSError):
        _write_stamp(folder, stamp)
    return True


def _seen_damaged(folder: Path) -> list[Path]:
    """Files that lie there with other bytes than they had, as far as this process looked."""
    bad = [(path, time) for (path, time, _), sound in _hashed.items() if not sound and path.is_relative_to(folder)]
    return [path for path, time in bad if path.is_file() and path.stat().st_mtime_ns == time]


def _entry(path: Path, digest: str) -> Stamped:
    found = path.stat()
    return Stamped(sha256=digest, size=found.st_size, mtime_ns=found.st_mtime_ns)


def recorded(origin: Origin) -> tuple[str | None, Mapping[str, str]]:
    """Revision and sha256 by name, as recorded at the first download; for tools/refresh_catalog.py."""
    stamp = read_stamp(folder_of(origin))
    return stamp.revision, {name: entry.sha256 for name, entry in stamp.files.items()}


def read_stamp(folder: Path) -> Stamp:
    """The stamp of an origin's folder, an empty one where there is none; EnvironmentFault where it is damaged."""
    path = folder / STAMP
    repair = f"delete the folder {folder} and run `python -m zoo.fetch` again"
    try:
        return Stamp.model_validate(read_object(path, repair))
    except (FileNotFoundError, NotADirectoryError):
        return Stamp()
    except ValidationError as error:
        raise EnvironmentFault(f"{path} is damaged ({first_wrong(error)}): {repair}") from error


def _write_stamp(folder: Path, stamp: Stamp) -> None:
    with write_atomically(folder / STAMP) as stream:
        stream.write(f"{json.dumps(stamp.model_dump(), indent=1, sort_keys=True)}\n".encode())


def _silent(name: str, done: int, total: int | None) -> None:
    """Progress for nobody."""
