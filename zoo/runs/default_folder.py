"""Where a run goes that is told no folder."""

from __future__ import annotations

import time
from pathlib import Path

__all__ = ["RUNS", "default_folder"]

RUNS = Path("runs")


def default_folder(recipe_name: str, backend: str, root: Path = RUNS) -> Path:
    """A path that is free: `<root>/<recipe>/<backend>-<local time>`, with a number where two fall in one second."""
    first = root / recipe_name / f"{backend}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = first, 2
    while path.exists():
        path, number = first.with_name(f"{first.name}-{number}"), number + 1
    return path
