"""The lines of a text file.

In comes a path and an encoding; out come its lines. Refused, with the line or the byte: what is no text encoding, bytes
that are not in it, and NULs.
"""

from __future__ import annotations

import codecs
from collections.abc import Generator
from pathlib import Path

from zoo.errors import DataError
from zoo.recipe.data_group import is_text_encoding

__all__ = ["lines_of"]


def lines_of(path: Path, encoding: str, newline: str | None = None) -> Generator[str, None, None]:
    """The file's lines; a byte order mark is dropped, wrong bytes and NULs are refused with their place."""
    if not is_text_encoding(encoding):
        raise DataError(f"encoding: {encoding!r} is no text encoding of Python's, expected e.g. utf-8, latin-1, cp1252")
    name = codecs.lookup(encoding).name
    with path.open(encoding="utf-8-sig" if name == "utf-8" else encoding, newline=newline) as handle:
        try:
            for number, line in enumerate(handle, 1):
                if "\0" in line:
                    raise DataError(
                        f"{path}:{number}: holds a NUL character; is it UTF-16 or binary? Give its `encoding:`, "
                        f"e.g. {_likely_encodings(path)}, or remove the character"
                    )
                yield line
        except UnicodeError as error:
            raise DataError(
                f"{path}: byte {_bad_byte(path, encoding)} is not {encoding} ({getattr(error, 'reason', error)}); "
                f"give the file's own `encoding:`, e.g. {_likely_encodings(path)}"
            ) from error


def _likely_encodings(path: Path) -> str:
    """What to try instead, by how the file begins: UTF-16 without a byte order mark has to be named by its order."""
    with path.open("rb") as handle:
        first = handle.read(4)
    if first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    if b"\0" in first:
        return "utf-16-le or utf-16-be" if first[1:2] == b"\0" else "utf-16-be or utf-16-le"
    return "latin-1 or cp1252"


def _bad_byte(path: Path, encoding: str) -> int:
    """Offset of the first byte that cannot be decoded; 0 where the codec does not tell."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 16):
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return offset - held + error.start
            except UnicodeError:
                return 0
            offset += len(chunk)
    return offset
