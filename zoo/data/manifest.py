"""A folder's manifest: size and SHA-256 of each of its files, by which damage is seen.

In comes a folder; out comes manifest.json in it, written last, and later a word on what is no longer as it was written.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from zoo.data.writing import write_atomically

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a file is: its size in bytes and its SHA-256, hexadecimal."""

    size: int
    sha256: str


_ENTRIES = TypeAdapter(dict[Annotated[str, Field(pattern=r"^[^/\\]*[^/\\.][^/\\]*$")], Entry])
"""By the name of a file beside it, and so of no other folder."""


def write_manifest(folder: Path) -> None:
    """Write manifest.json for the other files that a folder holds."""
    entries = {path.name: _entry(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}
    with write_atomically(folder / MANIFEST) as stream:
        stream.write(_ENTRIES.dump_json(entries, indent=2))


def damage(folder: Path, *names: str) -> str | None:
    """The first file that is not as the manifest says, with what is wrong; None where all are.

    Args:
        names: the files that are looked at; none given, all of them.
    """
    path = folder / MANIFEST
    try:
        expected = _ENTRIES.validate_json(path.read_bytes(), strict=True)
        for name in names or expected:
            path, entry = folder / name, expected.get(name)
            if entry is None:
                return f"{path} is not in {MANIFEST}"
            found = _entry(path)
            if found.size != entry.size:
                return f"{path} has {found.size:,} bytes, and {MANIFEST} says {entry.size:,}"
            if found.sha256 != entry.sha256:
                return f"{path} has the SHA-256 {found.sha256[:12]}..., and {MANIFEST} says {entry.sha256[:12]}..."
    except OSError as error:
        named = "" if path.name == MANIFEST else f", and {MANIFEST} names it"
        return f"{path} cannot be read ({error.strerror}){named}"
    except ValidationError as error:
        return f"{path} is no manifest ({error.errors()[0]['msg']})"
    return None


def _entry(path: Path) -> Entry:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return Entry(size=stream.tell(), sha256=digest.hexdigest())
