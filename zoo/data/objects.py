"""A JSON object from a file that somebody else wrote.

In comes a path; out comes the object. Refused: what is not a plain file (a FIFO would be waited for), what is not UTF-8
or not JSON, nesting and numbers beyond what Python reads, more than `MOST_BYTES`, and any other value than an object.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zoo.errors import EnvironmentFault

MOST_BYTES = 64 << 20
"""Of such a file; the largest that anybody writes are vocabularies of a quarter of a million entries, a third of it."""


def read_object(path: Path, repair: str) -> dict[str, Any]:
    """The object that a file holds.

    Args:
        path: the file.
        repair: what to do where it cannot be read, as the end of a sentence.

    Raises:
        FileNotFoundError: nothing is there.
        EnvironmentFault: it cannot be read as an object.
    """
    try:
        if path.exists() and not path.is_file():
            raise EnvironmentFault(f"{path}: is a folder or a device, expected a file: {repair}")
        if path.stat().st_size > MOST_BYTES:
            raise EnvironmentFault(
                f"{path}: has {path.stat().st_size:,} bytes, expected at most {MOST_BYTES:,} of an object: {repair}"
            )
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except RecursionError as error:
        raise EnvironmentFault(f"{path}: nested too deep, expected an object of a few levels: {repair}") from error
    except (OSError, ValueError) as error:
        raise EnvironmentFault(f"{path}: cannot be read, not valid JSON ({error}): {repair}") from error
    if not isinstance(value, dict):
        raise EnvironmentFault(f"{path}: got {type(value).__name__}, expected an object: {repair}")
    return value


def first_wrong(error: ValidationError) -> str:
    """The first value of an object that was refused: its key, what is wrong with it, and the value."""
    wrong = error.errors()[0]
    return f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}, got {wrong['input']!r:.40}"
