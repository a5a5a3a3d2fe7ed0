"""Where a run goes that is told no folder."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["default_folder"]


def default_folder(recipe_name: str, backend: str, root: Path = Path("runs")) -> Path:
    """A path that is free: `<root>/<recipe>/<backend>-<local time>`, with a number where two fall in one second."""
    first = root / recipe_name / f"{backend}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = first, 2
    while path.exists():
        path, number = first.with_name(f"{first.name}-{number}"), number + 1
    return path
