"""Every error a user can meet, and the exit code that each one ends in.

    ZooError                 70  a bug of ours, when raised bare
    ├── RecipeError           2  the recipe or the command line
    ├── DataError             3  the rows
    ├── EnvironmentFault      4  backend, weights, network, cache
    ├── TrainingError         5  diverged, out of memory
    └── OutputError           6  run folder or storage

A message names the value, what was expected and one thing to do. `faults` holds several
messages when one reading found several faults; `str(error)` shows them all, a line each.
"""

from __future__ import annotations

from collections.abc import Iterable

EXIT_DONE = 0
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class ZooError(Exception):
    """Base of the tree; `exit_code` is what a command ends with."""

    exit_code = EXIT_BUG

    def __init__(self, faults: str | Iterable[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("\n".join(self.faults))


class RecipeError(ZooError):
    """The recipe or the command line asks for something that cannot be meant."""

    exit_code = 2


class DataError(ZooError):
    """The rows cannot be used as they are."""

    exit_code = 3


class EnvironmentFault(ZooError):
    """A backend, weights, data or the network are missing on this machine."""

    exit_code = 4


class TrainingError(ZooError):
    """Training began and cannot go on."""

    exit_code = 5


class OutputError(ZooError):
    """The run folder cannot be written or read."""

    exit_code = 6
