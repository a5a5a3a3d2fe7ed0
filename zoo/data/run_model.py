"""Where the model of a run lies, and what it says of its backbone.

In comes a folder; out come its folder `model/` and the sizes in model.json, and of a run in stages those of the last
one, of a run in parts those of the first. No weights are read. Refused: a model.json that cannot be read.
"""

from __future__ import annotations

import os.path
from pathlib import Path
from typing import Any

from zoo.data.objects import read_object

__all__ = ["MODEL", "MODEL_FILE", "RUN", "backbone_of_run", "is_run", "model_of_run"]

MODEL, MODEL_FILE, RUN = "model", "model.json", "run.json"


def is_run(folder: Path) -> bool:
    """Whether it is the folder of a run, finished or not."""
    return os.path.isfile(folder / RUN)  # pathlib raises where a name is too long


def model_of_run(folder: Path) -> Path | None:
    """The folder of a run's finished model; None where there is none. Raises EnvironmentFault as `backbone_of_run`."""
    found = _with_model(folder) / MODEL
    return found if os.path.isfile(found / MODEL_FILE) else None


def _with_model(folder: Path) -> Path:
    """The folder of a run's last stage or of its first part, which may have some itself; itself where it has none."""
    if not is_run(folder):
        return folder
    run = read_object(folder / RUN, "restore it or train again")
    for kind, place in (("stages", -1), ("parts", 0)):
        rows = run.get(kind)
        row = rows[place] if isinstance(rows, list) and rows else None
        name = row.get("folder") if isinstance(row, dict) else None
        if isinstance(name, str) and Path(name).name == name != os.pardir:
            return _with_model(folder / name)
    return folder


def backbone_of_run(folder: Path) -> dict[str, Any] | None:
    """What decides the backbone of a run's model, by the names that `BackboneConfig` has; None where there is none.

    Raises EnvironmentFault where model.json or run.json cannot be read.
    """
    found = model_of_run(folder)
    if found is None:
        return None
    blueprint = read_object(found / MODEL_FILE, "restore it or train again").get("blueprint")
    backbone = blueprint.get("backbone") if isinstance(blueprint, dict) else None
    return backbone if isinstance(backbone, dict) else {}
