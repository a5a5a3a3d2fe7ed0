"""The command that goes on with a run, as a shell takes it where the run was stopped, and others like it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["called", "resuming"]


def resuming(folder: Path, backend: str | None, log: Sequence[str]) -> str:
    """The command for a run folder: the recipe in it has profile and overrides written in."""
    words = [str(folder / "recipe.yaml"), "--out", str(folder), "--resume"]
    return called("zoo.run", [*words, *(word for name in log for word in ("--log", name))], backend)


def called(module: str, words: Sequence[str], backend: str | None) -> str:
    """The command of a module with these words."""
    return (f"KERAS_BACKEND={backend} " if backend else "") + shlex.join([_python(), "-m", module, *words])


def _python() -> str:
    """How this interpreter is called from here."""
    found = shutil.which("python")
    if not sys.executable or (found and os.path.dirname(os.path.abspath(found)) == os.path.dirname(sys.executable)):
        return "python"
    near = os.path.relpath(sys.executable)
    return sys.executable if near.startswith(os.pardir) else near
