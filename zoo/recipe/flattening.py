"""Nested groups as one level: `{"training": {"epochs": 3}}` in, `{"training.epochs": 3}` out. Nothing is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat(group: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, in the order of the groups; `prefix` stands before each key, and a list is a value."""
    found: dict[str, Any] = {}
    for key, value in group.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
