"""Texts that were read in another encoding than they were written in, or lost characters on their way.

In come texts; out come the numbers of those that show it, by what they show. Nothing is refused: what no file may hold,
its reader has refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["KINDS", "damaged"]

KINDS = {
    "mojibake": "UTF-8 that was read as Windows-1252, as Ã© for é: give data.files.encoding, or repair the file",
    "replacement characters": "the sign � in place of characters that were lost: read the source again",
    "control characters": "NUL, or Windows-1252 that was read as Latin-1: give data.files.encoding, or take them out",
    "invisible characters": "spaces without width or marks of byte order, which cut words in two: take them out",
}
"""What there is, and what it is."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\x80-\x84\x86-\x9f]")
_INVISIBLE = re.compile("[\u200b\u2060\ufeff]")
_WINDOWS = "".join(character for code in range(0x80, 0x100) if (character := bytes([code]).decode("cp1252", "ignore")))
_ODD = re.compile(f"[{re.escape(_WINDOWS)}]{{2,}}")


def damaged(texts: Iterable[str]) -> dict[str, list[int]]:
    """Kind of damage -> numbers of the texts that show it; of each of KINDS."""
    found: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for number, text in enumerate(texts):
        for kind in _of(text):
            found[kind].append(number)
    return found


def _of(text: str) -> Iterator[str]:
    if text.isascii() and text.isprintable():
        return
    if any(map(_is_mojibake, _ODD.findall(text))):
        yield "mojibake"
    if "\ufffd" in text:
        yield "replacement characters"
    if _CONTROLS.search(text):
        yield "control characters"
    if _INVISIBLE.search(text):
        yield "invisible characters"


def _is_mojibake(odd: str) -> bool:
    """Whether these characters, written in Windows-1252 as they stand there, have a beginning that is UTF-8.

    Two of them that are text in their own right and UTF-8 too, as Ã and a quote, hardly ever stand side by side.
    """
    raw = odd.encode("cp1252", "ignore")
    return any(_decodes(raw[start : start + length]) for start in range(len(raw)) for length in (2, 3, 4))


def _decodes(raw: bytes) -> bool:
    if len(raw) < 2 or raw[0] < 0xC2:
        return False
    try:
        return len(raw.decode("utf-8")) == 1
    except UnicodeDecodeError:
        return False
