"""Looks through an HDF5 file of weights before anything reads it.

The format can do more than hold arrays: a link or a dataset may take its bytes from another file of the machine, a
dataset may declare terabytes that are not there, and a group may hold itself. In comes the file of a Keras preset; out
comes nothing. Refused: all but groups and plain arrays of numbers that lie in the file, and more of them than the model
has weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.errors import EnvironmentFault

__all__ = ["refuse_unsound"]

MOST = 100_000
"""Objects of a file; a backbone of MAX_LAYERS has fewer, and a group that holds itself has no end."""
BYTES = 8
"""Of the widest number that a weight may be stored as."""
BESIDE = 1 << 20
"""Bytes for what a file may hold beside the weights: states of generators, counts."""


def refuse_unsound(path: Path, *, parameters: int) -> None:
    """Look at every object of a file.

    Args:
        path: the file.
        parameters: how many weights the model has that it is read for.

    Raises:
        EnvironmentFault: see the module.
    """
    import h5py

    room = BYTES * parameters + BESIDE
    try:
        with h5py.File(path, "r") as file:
            for name, dataset in _datasets(file, path):
                if dataset.is_virtual or dataset.external:
                    raise _refused(path, f"{name} takes its values from another file")
                if dataset.dtype.kind not in "biufV" or dataset.dtype.hasobject:  # V: bfloat16, which NumPy has not
                    raise _refused(path, f"{name} holds {dataset.dtype}")
                room -= dataset.size * dataset.dtype.itemsize
                if room < 0:
                    raise _refused(path, f"with {name} it declares more than the {parameters:,} weights of the model")
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise EnvironmentFault(f"{path}: cannot be read as HDF5 ({error}): fetch it again") from error


def _datasets(file: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """All datasets of a file, by name; what is no group either is refused before it is opened."""
    import h5py

    waiting, seen = [file], 0
    while waiting:
        group = waiting.pop()
        for name in group:
            seen += 1
            if seen > MOST:
                raise _refused(path, f"it has more than {MOST:,} groups and arrays")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise _refused(path, f"{group.name}/{name:.80} is a link to elsewhere")
            found = group[name]
            if isinstance(found, h5py.Group):
                waiting.append(found)
            elif isinstance(found, h5py.Dataset):
                yield found.name, found
            else:
                raise _refused(path, f"{group.name}/{name:.80} is no array")


def _refused(path: Path, what: str) -> EnvironmentFault:
    return EnvironmentFault(f"{path}: {what}, expected arrays of numbers alone: get the preset from where it was made")
