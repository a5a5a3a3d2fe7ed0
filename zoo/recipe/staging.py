"""A recipe with stages as whole recipes, one a stage: its overlay laid over what all stages have in common.

In comes the document of a recipe; out come those of its stages, each with its places. A stage begins with the backbone
that the one before ended with, unless it names its own. Noted as faults: keys that a stage cannot have, layers that the
stage before does not end with, the head of a stage that learned something else.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from pydantic import ConfigDict

from zoo.recipe.flattening import flat
from zoo.recipe.heads import HEADS
from zoo.recipe.kinds import Config, Name
from zoo.recipe.overlays import lay_group, plain
from zoo.recipe.yaml12 import Document, Fault, Path

__all__ = ["STAGE", "Overlay", "StageDocument", "stage_documents", "stage_folder"]

WITHHELD = {
    **dict.fromkeys(("version", "profiles", "stages"), "it in the recipe file alone"),
    "backend": "it in the recipe itself: all stages are of one process",
}
"""What a stage cannot say, and what is expected instead."""
STAGE = "stage://"
"""What begins the teacher of a stage whose run is not there yet, before the stage's name."""
SEVERAL = "joint"
"""The task of a recipe that has `tasks`."""
BACKBONE = ("model", "backbone")
OWN = ("family", "preset", "num_layers", "num_heads", "hidden_dim", "intermediate_dim", "max_positions", "vocabulary")
"""Keys of a backbone by which a stage names its own."""
KEPT = ("dropout", "attention_dropout")
"""Keys of a backbone that a stage has from the recipe, whatever the stage before had."""


class Overlay(Config):
    """A stage: a name, and dotted keys or groups that are laid over the recipe."""

    model_config = ConfigDict(extra="allow")

    name: Name
    """Name of the stage."""


@dataclass(frozen=True, kw_only=True)
class StageDocument:
    """A stage's name and the document of its whole recipe."""

    name: str
    document: Document


def stage_folder(number: int, name: str) -> str:
    """The folder of a stage within that of the run; number counts from 0."""
    return f"{number + 1}-{name}"


def stage_documents(document: Document, out: FilePath | None = None) -> list[StageDocument]:
    """The documents of a recipe's stages, in order; none where it has no stages, or no list of groups with names.

    Args:
        document: of the recipe, with whatever is laid over it.
        out: the folder of the run, in which each stage finds the one before; None gives a stage in place of that the
            backbone that the stages before began with, of the same sizes.
    """
    data = document.data
    overlays = data.get("stages") if isinstance(data, dict) else None
    if not isinstance(overlays, list) or not all(_is_named(overlay) for overlay in overlays):
        return []
    names = [overlay["name"] for overlay in overlays]
    found: list[StageDocument] = []
    for number, overlay in enumerate(overlays):
        own = _laid(document, number, last=number == len(overlays) - 1)
        keys = flat({key: value for key, value in overlay.items() if key != "name"})
        if number and not any(_under_backbone(key, OWN) for key in keys):
            folder = None if out is None else _folder(out, number - 1, names)
            _begin_with(own, found[-1].document, folder, layers=any(_under_backbone(key, ("layers",)) for key in keys))
        _find_teacher(own, found, None if out is None else [_folder(out, place, names) for place in range(number)])
        found.append(StageDocument(name=names[number], document=own))
    return found


def _folder(out: FilePath, number: int, names: list[str]) -> str:
    return os.path.join(os.path.abspath(out), stage_folder(number, names[number]))


def _is_named(overlay: Any) -> bool:
    return isinstance(overlay, dict) and isinstance(overlay.get("name"), str)


def _under_backbone(key: str, names: tuple[str, ...]) -> bool:
    return any(key == f"model.backbone.{name}" or key.startswith(f"model.backbone.{name}.") for name in names)


def _laid(document: Document, number: int, *, last: bool) -> Document:
    """The whole recipe of a stage, with the backbone of the recipe or its own."""
    overlay: Mapping[str, Any] = document.data["stages"][number]
    left_out = {"stages", "profiles", *([] if last else ["expected"])}
    keys = flat(overlay)
    own = Document(
        data={key: plain(value) for key, value in document.data.items() if key not in left_out},
        source=document.source,
        keys={path: place for path, place in document.keys.items() if path[:1] and path[0] not in left_out},
        values={path: place for path, place in document.values.items() if not path or path[0] not in left_out},
    )
    several = any(key.startswith("tasks.") for key in keys)
    task = keys.get("task", SEVERAL if several else _task(own.data))
    if task != _task(own.data):
        # What goes with the recipe's own task goes with no other one.
        own.data = {key: value for key, value in own.data.items() if key not in ("tasks", "sampling")}
        if isinstance(own.data.get("model"), dict):
            own.data["model"].pop("head", None)
        if several:
            own.data.pop("data", None)
        own.data["task"] = task
    root: Path = ("stages", number)
    lay_group(own, _without_name(document, number), root, withheld=WITHHELD)
    own.data["name"] = f"{document.data.get('name')}-{overlay['name']}"
    own.keys["name",] = own.values["name",] = document.place((*root, "name"))
    return own


def _without_name(document: Document, number: int) -> Document:
    overlay = {key: value for key, value in document.data["stages"][number].items() if key != "name"}
    stages = [overlay if place == number else {} for place in range(len(document.data["stages"]))]
    return Document(data={"stages": stages}, source=document.source, keys=document.keys, values=document.values)


def _begin_with(own: Document, before: Document, folder: str | None, *, layers: bool) -> None:
    """Give a stage the backbone that the stage before ends with.

    Args:
        own: the stage.
        before: the stage before, as its own document stands.
        folder: where it lies; None takes what it began with.
        layers: whether the stage says which layers it takes.
    """
    model, earlier = own.data.get("model"), _backbone(before)
    backbone = _backbone(own)
    if not isinstance(model, dict) or backbone is None or earlier is None:
        return  # the types say so
    asked = backbone.get("layers") if layers else None
    kept = {key: backbone[key] for key in KEPT if key in backbone}
    if folder is not None:
        begun = {"family": earlier.get("family"), "preset": folder, **({"layers": asked} if layers else {})}
        model["backbone"] = begun | kept
        return
    begun = {key: value for key, value in earlier.items() if key not in KEPT} | kept
    if _are_numbers(asked):
        _take_layers(begun, asked or [], own)
    model["backbone"] = begun
    head = model.get("head")
    if isinstance(head, dict) and head.get("init") == "preset":
        if _task(own.data) == _task(before.data):
            head["init"] = "seed"  # the head is not here yet
            head.pop("preset_labels", None)
        else:
            key = ("model", "head", "init")
            message = f"got preset, expected seed: the stage before learns another task, {_task(before.data)}"
            own.faults.append(Fault(place=own.place(key), path=key, message=message))


def _find_teacher(own: Document, before: list[StageDocument], folders: list[str] | None) -> None:
    """Give a stage that names another one as its teacher the folder of that; None where these are not there yet."""
    training = own.data.get("training")
    distil = training.get("distil") if isinstance(training, dict) else None
    teacher = distil.get("teacher") if isinstance(distil, dict) else None
    if not isinstance(distil, dict) or not isinstance(teacher, str) or "/" in teacher:
        return
    key: Path = ("training", "distil", "teacher")
    names = [stage.name for stage in before]
    if teacher in names:
        place = names.index(teacher)
        own_kind, theirs = (_kind(data) for data in (own.data, before[place].document.data))
        distil["teacher"] = f"{STAGE}{teacher}" if folders is None else folders[place]
        if own_kind == theirs:
            return
        message = f"got {teacher}, which learns {theirs}, expected a stage that learns {own_kind}"
    else:
        known = f"one of {', '.join(names)}, the stages before" if names else "no stage: none is before this one"
        message = f"got {teacher}, expected {known}, or the folder of a run"
    own.faults.append(Fault(place=own.place(key), path=key, message=message))


def _kind(data: Mapping[str, Any]) -> str:
    """Task and head of a recipe, in words."""
    head = data["model"].get("head") if isinstance(data.get("model"), dict) else None
    kind = head.get("type") if isinstance(head, dict) else None
    return f"{_task(data)} by a head {kind or HEADS.get(str(_task(data)))}"


def _take_layers(backbone: dict[str, Any], asked: list[int], own: Document) -> None:
    """Of those that the stage before ends with."""
    known = backbone.get("layers")
    if known is None and isinstance(backbone.get("num_layers"), int):
        known = list(range(backbone["num_layers"]))
    if known is not None and max(asked, default=0) >= len(known):
        key = (*BACKBONE, "layers")
        message = f"got {max(asked)}, expected below {len(known)}, the layers that the stage before ends with"
        own.faults.append(Fault(place=own.place(key), path=key, message=message))
    elif backbone.get("preset") is None:
        backbone["num_layers"] = len(asked)
    else:
        backbone["layers"] = asked if known is None else [known[number] for number in asked]


def _backbone(document: Document) -> dict[str, Any] | None:
    model = document.data.get("model")
    backbone = model.get("backbone") if isinstance(model, dict) else None
    return backbone if isinstance(backbone, dict) else None


def _task(data: Mapping[str, Any]) -> Any:
    return data.get("task", SEVERAL if data.get("tasks") else "classification")


def _are_numbers(layers: Any) -> bool:
    return isinstance(layers, list) and all(isinstance(each, int) and each >= 0 for each in layers)
