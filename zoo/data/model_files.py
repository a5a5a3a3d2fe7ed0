"""Which files of a model's folder are read, and that they lie in it; the folder may be anybody's.

In comes a folder; out come the paths of its weights in Hugging Face's layout. Refused: an index that names files of
another folder, or such as are not there, and links that lead out of the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from zoo.data.objects import read_object
from zoo.errors import EnvironmentFault

__all__ = ["CHECKPOINT_FILES", "VOCABULARY_FILES", "link_outside", "refuse_links", "weight_files"]

VOCABULARY_FILES = (
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "assets/tokenizer/*",
)
CHECKPOINT_FILES = (
    "config.json",
    "metadata.json",
    "model.weights.h5",
    "*.safetensors",
    "model.safetensors.index.json",
    *VOCABULARY_FILES,
)
"""What is taken from a repository that has no card."""


def weight_files(folder: Path) -> list[Path]:
    """model.safetensors, else the shards that its index names; none where there is neither.

    Raises:
        EnvironmentFault: the index cannot be read, names files that do not lie beside it, or that are not there.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file() or not index.is_file():
        return [whole] if whole.is_file() else []
    named = read_object(index, "get the preset again").get("weight_map")
    shards = sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
    outside = [name for name in shards if Path(name).name != name or not name.endswith(".safetensors")]
    if not shards or outside:
        what = f"names {outside[0]!r:.60}" if outside else "has no weight_map"
        raise EnvironmentFault(
            f"{index}: {what}, expected tensors and the files beside it that hold them; get the preset again"
        )
    lost = [name for name in shards if not os.path.isfile(folder / name)]  # pathlib raises where a name is too long
    if lost:
        raise EnvironmentFault(f"{folder}: lacks {', '.join(lost)}, named in {index.name}; get the preset again")
    return [folder / name for name in shards]


def refuse_links(folder: Path, patterns: Iterable[str] = CHECKPOINT_FILES) -> None:
    """EnvironmentFault where one of these files is a link that leads out of the folder."""
    found = link_outside(folder, patterns)
    if found is not None:
        raise EnvironmentFault(
            f"{found}: a link to {os.path.realpath(found)}, expected a file in its folder: copy the file there"
        )


def link_outside(folder: Path, patterns: Iterable[str]) -> Path | None:
    """The first of these files that is a link out of the folder; None where all lie in it."""
    inside = [os.path.realpath(folder)]
    if folder.parent.name == "snapshots":
        inside.append(os.path.realpath(folder.parents[1] / "blobs"))  # where the Hub's own cache has the files of all
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        if not any(os.path.realpath(path).startswith(f"{place}{os.sep}") for place in inside):
            return path
    return None
