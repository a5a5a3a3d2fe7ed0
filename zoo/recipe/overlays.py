"""Values laid over a document at dotted keys: what profiles, overrides and stages are made of.

In come a document and what is to stand at its keys; the document is changed in place, and places go with values.
Noted as faults of it: keys inside a single value or a list, keys of too many parts, keys that are not to be given so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.recipe.yaml12 import MAX_DEPTH, Document, Fault, Path, Place

__all__ = ["lay", "lay_group", "plain"]


def plain(data: Any) -> Any:
    """A copy with plain dicts and lists, which the overlays may then change."""
    if isinstance(data, Mapping):
        return {key if isinstance(key, str) else str(key): plain(value) for key, value in data.items()}
    return [plain(value) for value in data] if isinstance(data, (list, tuple)) else data


def lay_group(document: Document, source: Document, group: Path, *, withheld: Mapping[str, str]) -> None:
    """Put each value of a group of `source` at its dotted key of the document, in the place of what stood there."""
    values: Any = source.data
    for part in group:
        values = values[part]
    depth = len(group) + 1
    for key, value in values.items():
        root = (*group, key)
        over = Document(
            data=plain(value),
            source=source.source,
            keys={path[depth:]: place for path, place in source.keys.items() if path[:depth] == root},
            values={path[depth:]: place for path, place in source.values.items() if path[:depth] == root},
        )
        lay(document, key, over, source.place(root, of_key=True), withheld=withheld)


def lay(document: Document, key: str, over: Document, key_place: Place, *, withheld: Mapping[str, str]) -> None:
    """Put what `over` holds at a dotted key of the document, in the place of what stood there.

    Args:
        document: what is changed.
        key: dotted.
        over: the value, with its places.
        key_place: where the key stands.
        withheld: first parts of keys that are not to be given so, and what is expected in place of each.
    """
    path: Path = tuple(key.split("."))
    if len(path) > MAX_DEPTH:
        message = f"got a key of {len(path)} parts, expected at most {MAX_DEPTH}, a recipe needs five"
        document.faults.append(Fault(place=key_place, path=path[:1], message=message))
        return
    if path[0] in withheld:
        message = f"got it in a profile, an override or a stage, expected {withheld[str(path[0])]}"
        document.faults.append(Fault(place=key_place, path=path, message=message))
        return
    group = document.data
    for end, part in enumerate(path[:-1], start=1):
        if isinstance(group, dict) and group.get(part) is None:
            group[part] = {}
            document.keys[path[:end]] = document.values[path[:end]] = key_place
        group = group.get(part) if isinstance(group, dict) else None
    if not isinstance(group, dict):
        message = "got a key inside a single value or a list, expected a key of a group: give the whole value"
        document.faults.append(Fault(place=key_place, path=path, message=message))
        return
    group[path[-1]] = over.data
    for places in (document.keys, document.values):
        for old in [old for old in places if old[: len(path)] == path]:
            del places[old]
    document.keys |= {path + below: place for below, place in over.keys.items()} | {path: key_place}
    document.values |= {path + below: place for below, place in over.values.items()}
