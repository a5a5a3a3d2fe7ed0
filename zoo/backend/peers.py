"""Processes that compute one run together: which of them this one is, and what they tell each other.

The first process is the run: it reads, decides and writes. The others take part in its training steps and evaluations,
as it orders. Where a process is alone it is the first, and nothing here costs anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ALONE", "PATIENCE", "FirstEnded", "Order", "Peers"]

PATIENCE = 50.0
"""Seconds after which a process that does not answer in training is taken for gone."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the first process has the others train: the run's folder, which all of them see; where its checkpoints lie;
    and what was chosen by trial. resume: whether the run goes on from a checkpoint."""

    folder: str
    checkpoints: str
    precision: str
    compiled: bool
    resume: bool


class FirstEnded(Exception):
    """The first process has ended, and has said why."""


class Peers:
    """A process that is alone; see the module.

    number: of this process, from 0. count: how many there are.
    """

    number = 0
    count = 1

    @property
    def first(self) -> bool:
        return self.number == 0

    def order(self, order: Order | None) -> None:
        """Have the others train this; None sends them home. The first process calls it."""

    def ordered(self) -> Order | None:
        """What the first process orders next, which is waited for; raises FirstEnded. The others call it."""
        return None

    def sharing(self) -> contextlib.AbstractContextManager[None]:
        """A context in which batches are shared out; it is entered once all processes are there."""
        return contextlib.nullcontext()

    def agreed(self, code: int) -> int:
        """The largest of what the processes say at this point."""
        return code

    def told(self, figures: Mapping[str, float]) -> dict[str, float]:
        """The first process's figures, for all; they have the same names everywhere."""
        return dict(figures)


ALONE = Peers()
