"""What the types say about a key, read from their JSON Schema: its kind, its choices, its neighbours.

In comes a path of a recipe; out goes the schema node that stands there, and from it the phrase for
"expected ..." in messages and for the type column of docs/recipe.md. schema.json is this very schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from zoo.recipe.types import Keys
from zoo.recipe.yaml12 import Path

Node = dict[str, Any]


class Row(NamedTuple):
    """One documented key."""

    key: str
    """Dotted; where the kind of a group decides, with that kind: `model.head(binary).threshold`."""
    node: Node
    """Its schema node."""
    required: bool
    """Whether a recipe must give it."""


@cache
def recipe_schema() -> Node:
    """JSON Schema of a recipe file (draft 2020-12), made from the types."""
    schema = Keys.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "text-zoo recipe"}


def node_at(path: Path, data: Any) -> Node | None:
    """Schema node of a path; `data` (the whole recipe) decides between the kinds of the groups above it.

    None where there is no such key.
    """
    node: Any = recipe_schema()
    for part in path:
        group = _kind(node, data)
        if isinstance(part, int):
            several = next((option for option in _options(group) if "items" in option or "prefixItems" in option), {})
            node = several.get("items") or (several.get("prefixItems") or [None])[0]
            data = data[part] if isinstance(data, list) and part < len(data) else None
        else:
            node = group.get("properties", {}).get(part, named(group))
            data = data.get(part) if isinstance(data, dict) else None
        if not isinstance(node, dict):
            return None
    return dict(_resolved(node))


def named(group: Node) -> Node | None:
    """Schema node of what stands below any name of a group that has names for keys; None where it has none."""
    for option in _options(group):
        below = option.get("additionalProperties")
        if "patternProperties" in option:
            (below,) = option["patternProperties"].values()
        if isinstance(below, dict):
            return _resolved(below)
    return None


def group_at(path: Path, data: Any) -> Node:
    """Schema node of the group at a path, of the kind that it is in `data`; empty where there is none."""
    node = node_at(path, data)
    for part in path:
        data = data.get(part) if isinstance(data, dict) else None
    return _kind(node, data) if node else {}


def expectation(node: Node) -> str:
    """What a value must be, in words: `a whole number above 0, or null`."""
    if "x-expected" in node:
        return str(node["x-expected"])
    options = _options(node)
    if len(options) > 1 and all("properties" in option for option in options):
        return f"a group of keys with type: {' or '.join(choices(node))}"
    phrases = list(dict.fromkeys(_phrase(option) for option in options))
    return " or ".join(phrases) if len(phrases) == 2 and "null" not in phrases else ", or ".join(phrases)


def choices(node: Node) -> tuple[str, ...]:
    """The texts that a value may be, where they are few: a choice, or the `type` of a group."""
    found: list[str] = []
    for option in _options(node):
        option = option.get("properties", {}).get("type", option)
        found += [str(value) for value in option.get("enum", [option["const"]] if "const" in option else [])]
    return tuple(found)


def required_keys(group: Node) -> tuple[tuple[str, Node], ...]:
    """The keys that a group cannot do without, each with its node."""
    return tuple((key, _resolved(group["properties"][key])) for key in group.get("required", ()))


def rows(node: Node | None = None, prefix: str = "") -> Iterator[Row]:
    """Every key of a recipe, groups before their keys."""
    node = node or recipe_schema()
    for key, child in node.get("properties", {}).items():
        yield Row(prefix + key, _resolved(child), key in node.get("required", ()))
        groups = [option for option in _options(child) if "properties" in option]
        if (below := named(child)) is not None and "properties" in below:
            # What stands below these, `data` and `head`, is told where a recipe of one task has it.
            yield from (
                row for row in rows(below, f"{prefix}{key}.NAME.") if row.key.count(".") == prefix.count(".") + 2
            )
        for group in groups:
            kind = f"({group['properties']['type']['const']})" if len(groups) > 1 else ""
            yield from rows(group, f"{prefix}{key}{kind}.")


def _resolved(node: Node) -> Node:
    """A node with its `$ref` followed; what stands beside the `$ref` (a default, a text) goes first."""
    if "$ref" not in node:
        return node
    target = recipe_schema()["$defs"][node["$ref"].rpartition("/")[2]]
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


def _options(node: Node) -> list[Node]:
    """The alternatives of a node, itself when it has none."""
    alternatives = node.get("anyOf") or node.get("oneOf")
    if alternatives is None:
        return [_resolved(node)]
    return [option for alternative in alternatives for option in _options(alternative)]


def _kind(node: Node, data: Any) -> Node:
    """The alternative of a group that `data` is, by its `type`; the node itself where nothing is to choose."""
    groups = [option for option in _options(node) if "properties" in option]
    if not groups:
        return node
    for group in groups:
        given = data.get("type") if isinstance(data, dict) else None
        if given is not None and group["properties"].get("type", {}).get("const") == given:
            return group
    return groups[0]


def _phrase(node: Node) -> str:
    if "x-expected" in node:
        return str(node["x-expected"])
    if "enum" in node:
        return f"one of {', '.join(map(str, node['enum']))}"
    if "const" in node:
        return str(node["const"])
    kind = node.get("type")
    if kind in ("integer", "number"):
        return ("a whole number" if kind == "integer" else "a number") + _bounds(node)
    if kind == "array":
        if "prefixItems" in node:
            return f"a list of {len(node['prefixItems'])} ({_phrase(_resolved(node['prefixItems'][0]))} each)"
        return f"a list ({expectation(node['items'])} each)"
    return {"boolean": "true or false", "null": "null", "string": "text", "object": "a group of keys"}.get(
        str(kind), "a value"
    )


def _bounds(node: Node) -> str:
    words = (
        ("minimum", "of at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    )
    parts = [
        f"{word} {node[key]:g}" if abs(node[key]) < 1e6 else f"{word} {node[key]:,}"
        for key, word in words
        if key in node
    ]
    return f" {' and '.join(parts)}" if parts else ""
