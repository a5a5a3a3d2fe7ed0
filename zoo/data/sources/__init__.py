"""Sources: an origin (hf://, kaggle://, pypi://, https://, package://, a local folder) in, a verified folder out.

`locate` looks and never touches a network; `fetch` brings what is absent.
"""

from __future__ import annotations

from zoo.data.sources.cache import (
    ANOTHER_CACHE,
    Missing,
    cache_folder,
    fetch,
    fetch_first,
    folder_of,
    locate,
    locate_first,
    recorded,
)
from zoo.data.sources.origin import Origin, address, matches
from zoo.data.sources.request import Progress

__all__ = [
    "ANOTHER_CACHE",
    "Missing",
    "Origin",
    "Progress",
    "address",
    "cache_folder",
    "fetch",
    "fetch_first",
    "folder_of",
    "locate",
    "locate_first",
    "matches",
    "recorded",
]
