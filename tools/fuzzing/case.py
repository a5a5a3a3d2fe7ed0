"""A case: files, and what is called on them; how it is kept, and what a call may end in."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from zoo import cli
from zoo.errors import DataError, EnvironmentFault, RecipeError

ABOUT = "case.json"
REFUSED = {kind.exit_code for kind in (RecipeError, DataError, EnvironmentFault)}
"""What a check may end in, beside 0."""


@dataclass(frozen=True)
class Case:
    """One input. `about` says what is done with the files: JSON, and in it only what bytes of UTF-8 can hold."""

    about: Mapping[str, Any]
    files: Mapping[str, bytes]

    def write(self, folder: Path) -> None:
        """Lay out its files."""
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def keep(self, folder: Path, kind: str) -> None:
        """Write it down whole, for `kept` to read."""
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "files").mkdir(parents=True)
        self.write(folder / "files")
        (folder / ABOUT).write_text(json.dumps({"kind": kind, "about": self.about}, indent=2), encoding="ascii")


def kept(folder: Path) -> tuple[str, Case]:
    """The kind and the case that were written down."""
    said = json.loads((folder / ABOUT).read_text(encoding="ascii"))
    base = folder / "files"
    files = {str(path.relative_to(base)): path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file()}
    return said["kind"], Case(said["about"], files)


@dataclass(frozen=True)
class Kind:
    """A way in: its cases, and what is to hold of each, in a folder of its own; AssertionError says what does not."""

    cases: st.SearchStrategy[Case]
    judge: Callable[[Case, Path], None]


def ends(call: list[str], *codes: int) -> tuple[int, str]:
    """Call a command in this process; its exit code, one of these, and all that it said."""
    with _said() as said:
        code = cli.main(call)
    text = said.getvalue()
    assert code in codes, f"{call} ends in {code}: {text[-2000:]}"
    assert not re.search(r"Traceback \(most recent|a bug of ours", text), f"{call} says {text[-2000:]}"
    return code, text


@contextlib.contextmanager
def _said() -> Iterator[io.StringIO]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said
