"""The command that goes on with a run, as a shell takes it where the run was stopped."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["resuming"]


def resuming(folder: Path, backend: str | None, log: Sequence[str]) -> str:
    """The command for a run folder: the recipe in it has profile and overrides written in."""
    command = [_python(), "-m", "zoo.run", str(folder / "recipe.yaml"), "--out", str(folder), "--resume"]
    for name in log:
        command += ["--log", name]
    return (f"KERAS_BACKEND={backend} " if backend else "") + shlex.join(command)


def _python() -> str:
    """How this interpreter is called from here."""
    found = shutil.which("python")
    if not sys.executable or (found and os.path.dirname(os.path.abspath(found)) == os.path.dirname(sys.executable)):
        return "python"
    near = os.path.relpath(sys.executable)
    return sys.executable if near.startswith(os.pardir) else near
