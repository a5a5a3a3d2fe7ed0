"""What a message may show of a user's value: anything but a secret.

In come keys, values and lines of a recipe; out goes text for a message, with what looks like a
token or a password left out. Recipes are shared and logs are kept, so a secret typed into one by
mistake is named by its key alone.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

HIDDEN = "(a value that looks like a secret, not shown)"

_KEY = re.compile(
    r"(?:.*[_\-.])?(?:token|passw(?:or)?d|passphrase|passcode|pwd|secrets?|api_?keys?|credentials?|auth|bearer|.+_key)"
)
_VALUE = re.compile(
    r"hf_\w{10,}|sk-[\w-]{10,}|gh[a-z]_\w{10,}|github_pat_\w+|AKIA\w{12,}|xox[a-z]-[\w-]+|pypi-\w{16,}"
    r"|KGAT_\w+|eyJ[\w-]{10,}\.|://[^/@\s]*:[^/@\s]+@"
)
_WORD = re.compile(
    r"(?i)(?<![a-z])(?:token|passw(?:or)?ds?|passphrase|passcode|pwd|secrets?|api[_-]?keys?|credentials?|auth|bearer)"
    r"(?![a-z])"
)
_LOGIN, _QUERY = re.compile(r"(?<=://)[^/@\s]*@"), re.compile(r"(?<=://)([^?\s]*)\?[^\s'\"<>)]*")
_LONGEST = 60


def is_secret_key(key: object) -> bool:
    """Whether a key reads like the name of a secret: `token`, `hf_token`, `api_key` ..., but not `tokens`."""
    return isinstance(key, str) and _KEY.fullmatch(key.lower()) is not None


def looks_secret(text: str) -> bool:
    """Whether a text reads like a token of a known make, or like an address with a password."""
    return _VALUE.search(text) is not None


def show(value: Any, path: Iterable[object] = ()) -> str:
    """A value for a message: as YAML would write it, shortened, a group by its keys, a secret not at all."""
    if any(is_secret_key(part) for part in path):
        return HIDDEN
    if isinstance(value, dict):
        return f"a group of keys ({', '.join(map(str, value)) or 'empty'})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(show(item) for item in value[:5])}{', ...' if len(value) > 5 else ''}]"
    if isinstance(value, float) and not math.isfinite(value):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
    if isinstance(value, str):
        if looks_secret(value):
            return HIDDEN
        shown = json.dumps(value, ensure_ascii=not value.isprintable())
    elif isinstance(value, bool | None):
        shown = json.dumps(value)
    else:
        shown = str(value) if not isinstance(value, int) or abs(value) < 10**_LONGEST else "a huge whole number"
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def hide_in(text: str) -> str:
    """The text with addresses in it, without names and passwords, what stands behind `?` there, and secrets."""
    for pattern, instead in ((_LOGIN, "...@"), (_QUERY, r"\1?..."), (_VALUE, HIDDEN)):
        text = pattern.sub(instead, text)
    return text


def hide_line(line: str) -> str:
    """A line of a recipe for a message, or a note in its place where it may hold a secret."""
    return HIDDEN if looks_secret(line) or _WORD.search(line) else line
