"""What the types find wrong in a recipe, as lines that a user can act on.

In comes a `Document` (plain data with places); out goes a `Recipe`, or every fault at once, each
`file:line:column  key.path: got X, expected Y`, with a did-you-mean for keys and choices and
without the value of anything that looks like a secret.
"""

from __future__ import annotations

import copy
import difflib
import itertools
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from zoo.recipe.hiding import HIDDEN, is_secret_key, show
from zoo.recipe.schema import choices, expectation, group_at, node_at, required_keys, rows
from zoo.recipe.several import with_heads
from zoo.recipe.showing import listed
from zoo.recipe.staging import stage_documents
from zoo.recipe.types import SCHEMA_VERSION, Keys
from zoo.recipe.yaml12 import Document, Fault, Path

OF_ROWS: tuple[Path, ...] = (("data",), ("task",), ("tasks",), ("model", "head"), ("profile",))
"""The keys that say how rows are read."""
KIND = re.compile(r"\([^)]*\)")
CHOICES = 60
"""Of a list of what is allowed."""


def find_faults(document: Document) -> list[Fault]:
    """Every fault of a document: of its text, of its keys and values, and the contradictions between them; then those
    that its stages have as whole recipes."""
    newer = _newer_version(document)
    if newer is not None:
        return [newer]
    found = _own_faults(document)
    seen = {(fault.place, fault.message) for fault in found}
    for stage in stage_documents(document):
        for fault in _own_faults(stage.document):
            if (fault.place, fault.message) not in seen:
                seen.add((fault.place, fault.message))
                found.append(in_stage(fault, stage.name))
    return by_place(found)


def by_place(faults: Iterable[Fault]) -> list[Fault]:
    """As they stand in their file."""
    return sorted(faults, key=lambda fault: (fault.place.line or 0, fault.place.column or 0))


def in_stage(fault: Fault, name: str) -> Fault:
    """The fault, which says in which stage of a recipe it stands."""
    return replace(fault, message=f"{fault.message} (in stage {name})")


def _own_faults(document: Document) -> list[Fault]:
    """Those of a whole recipe, without its stages."""
    found = list(document.faults)
    wrong = {fault.path for fault in found if fault.path}
    errors = _errors(document.data)
    for error in errors:
        if error["type"] == "clash":
            found += _clashes(error, document, wrong)
        elif not any(_under(error["path"], path) for path in wrong):
            found.append(_fault(error, document))
    fields = [error for error in errors if error["type"] != "clash"]
    if fields:
        # The types look for contradictions only where each key is sound: look again without the wrong ones.
        wrong |= {error["path"] for error in fields} | _meant(fields, document.data)
        for error in _errors(_repaired(document.data, [error["path"] for error in fields if error["path"]])):
            if error["type"] == "clash":
                found += _clashes(error, document, wrong)
    return found


def sound_part(document: Document, faults: Iterable[Fault]) -> Any:
    """The document's data without what is wrong, to look at its rows; None where that says how they are read."""
    paths = [fault.path for fault in faults]
    if any(not path or _under(path, rows) or _under(rows, path) for path in paths for rows in OF_ROWS):
        return None
    data = _repaired(document.data, paths)
    if any(_under(("training", "batch_size"), path) for path in paths):
        # More rows than this are not to be asked for.
        data["training"] = {**data.get("training", {}), "batch_size": 1}
    return data


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing where nothing known is near."""
    known = list(known)
    # `cosine_restarts` has more letters in common with `constant` than with `cosine`, which it begins with.
    begin = sorted((each for each in known if len(each) > 2 and word.startswith(each)), key=len)
    near = (
        difflib.get_close_matches(word, known, n=1, cutoff=0.8)
        or begin[-1:]
        or difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    )
    return f" (did you mean {near[0]}?)" if near else ""


def not_among(word: str, known: Iterable[str], meant: str | None = None) -> str:
    """The message for a word that is none of the known ones; `meant` is what it stands for, where that is known."""
    known = tuple(known)
    choice = listed(known, CHOICES) or "none: there are none"
    near = f" (did you mean {meant}?)" if meant else did_you_mean(word, known)
    return f"got {show(word)}, expected one of {choice}{near}"


def _newer_version(document: Document) -> Fault | None:
    version = document.data.get("version") if isinstance(document.data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version <= SCHEMA_VERSION:
        return None
    message = (
        f"got {show(version)}, expected {SCHEMA_VERSION}: the recipe was written for a newer text-zoo, upgrade yours"
    )
    return Fault(place=document.place(("version",)), path=("version",), message=message)


def _errors(data: Any) -> list[dict[str, Any]]:
    """pydantic's errors, each with the path in the data that it stands for; the deepest of each branch."""
    try:
        Keys.model_validate(data)
    except ValidationError as error:
        errors: dict[Path, dict[str, Any]] = {}
        for found in error.errors(include_url=False):
            path = _path(found["loc"], data)
            if found["type"] == "union_tag_invalid":
                path = (*path, "type")
            errors.setdefault(path, {**found, "path": path})
        return [errors[path] for path in errors if not any(other != path and _under(other, path) for other in errors)]
    return []


def _path(location: Path, data: Any) -> Path:
    """pydantic's location without the names of union branches that it puts between the keys."""
    path: Path = ()
    for position, part in enumerate(location):
        last = position == len(location) - 1
        if isinstance(data, dict) and isinstance(part, str) and (part in data or last):
            data = data.get(part)
        elif isinstance(data, (list, tuple)) and isinstance(part, int):
            data = data[part] if part < len(data) else None
        else:
            continue
        path = (*path, part)
    return path


def _under(path: Path, group: Path) -> bool:
    return path[: len(group)] == group


def _fault(error: dict[str, Any], document: Document) -> Fault:
    path, data = error["path"], with_heads(document.data)
    if error["type"] == "extra_forbidden":
        return Fault(place=document.place(path, of_key=True), path=path, message=_unknown_key(path, data))
    node = node_at(path, data)
    wanted = expectation(node) if node else str(error["msg"])
    if error["type"] == "missing":
        return Fault(place=document.place(path), path=path, message=f"got nothing, expected {wanted}")
    if path and path[-1] == "[key]":  # pydantic's word for a bad key of a mapping: the name of a profile
        return Fault(
            place=document.place(path[:-1], of_key=True), path=path[:-1], message=f"got this name, expected {wanted}"
        )
    value = _value(path, data)
    known = choices(node) if node else ()
    if error["type"] == "union_tag_invalid":  # the node is that of one kind of group, all kinds are meant
        known = choices(node_at(path[:-1], data) or {})
        wanted = f"one of {', '.join(known)}"
    message = f"got {show(value, path)}, expected {wanted}"
    if isinstance(value, str) and HIDDEN not in message:
        message += did_you_mean(value, known)
        if value in known:  # `schedule: linear` for a group
            message = message.replace(f"mean {value}?", f"mean {{type: {value}}}?")
    return Fault(place=document.place(path), path=path, message=message)


def _unknown_key(path: Path, data: Any) -> str:
    if is_secret_key(path[-1]):
        return "got a key for a secret (its value is not shown), expected none: keep secrets in the environment"
    known = tuple(group_at(path[:-1], data).get("properties", {}))
    near = did_you_mean(str(path[-1]), known)
    # Of a group of several kinds, as training.optimizer(adamw), without the kind.
    elsewhere = [KIND.sub("", row.key) for row in rows() if row.key.rpartition(".")[2] == path[-1]]
    if elsewhere and not near:
        near = f" (did you mean {elsewhere[0]}?)"
    return f"got an unknown key, expected one of {', '.join(known)}{near}"


def _value(path: Path, data: Any) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _clashes(error: dict[str, Any], document: Document, wrong: set[Path]) -> Iterable[Fault]:
    for clash in error["ctx"]["clashes"]:
        paths = [tuple(key.split(".")) for key in clash.keys]
        if not any(_under(path, bad) or _under(bad, path) for path in paths for bad in wrong):
            yield Fault(place=document.place(paths[0]), path=paths[0], message=clash.message)


def _meant(errors: list[dict[str, Any]], data: Any) -> set[Path]:
    """The keys that misspelt keys probably stand for: nothing is said about their absence."""
    meant: set[Path] = set()
    for error in errors:
        path: Path = error["path"]
        if error["type"] == "extra_forbidden":
            known = group_at(path[:-1], data).get("properties", {})
            near = difflib.get_close_matches(str(path[-1]), list(known), n=1, cutoff=0.6)
            meant |= {(*path[:-1], key) for key in near}
    return meant


def _repaired(data: Any, paths: Iterable[Path]) -> Any:
    """A copy of the data in which what stands at some paths is left out, or harmless where it is required."""
    data = copy.deepcopy(data)
    for path in paths:
        *above, key = itertools.takewhile(lambda part: isinstance(part, str) and part != "[key]", path)
        group = _value(tuple(above), data)
        if not isinstance(group, dict):
            continue
        group.pop(key, None)
        if key in group_at(tuple(above), data).get("required", ()):
            group[key] = _harmless(node_at((*above, key), data) or {})
    return data


def _harmless(node: dict[str, Any]) -> Any:
    if "properties" in node:
        return {key: _harmless(child) for key, child in required_keys(node)}
    return (choices(node) or ("unknown",))[0]
