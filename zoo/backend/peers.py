"""Processes that compute one run together: which of them this one is, and what they tell each other.

The first process is the run: it reads, decides and writes. The others take part in its training steps and evaluations,
as it orders. Where a process is alone it is the first, and nothing here costs anything.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from zoo.errors import TrainingError

__all__ = [
    *("ALONE", "BETWEEN", "PATIENCE", "FirstEnded", "Order", "Peers", "gone", "place_by_jax", "place_by_torchrun"),
    *("order_of", "text_of"),
]

PATIENCE = 50.0
"""Seconds after which a process that does not answer in training is taken for gone."""
BETWEEN = 30 * 24 * 3600
"""Seconds for which an order may be waited for: as long as the first process works by itself."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the first process has the others train: the run's folder, which all of them see; where its checkpoints lie;
    and what was chosen by trial. resume: whether the run goes on from a checkpoint."""

    folder: str
    checkpoints: str
    precision: str
    compiled: bool
    resume: bool


def text_of(order: Order | None) -> str:
    """An order as it is sent."""
    return json.dumps(order and asdict(order))


def order_of(text: str) -> Order | None:
    """What `text_of` gave."""
    found = json.loads(text)
    return None if found is None else Order(**found)


class FirstEnded(Exception):
    """The first process has ended, and has said why."""


class Peers:
    """A process that is alone; see the module.

    number: of this process, from 0. count: how many there are. shares: whether batches are shared out now.
    """

    number = 0
    count = 1
    shares = False

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


def gone(error: BaseException) -> TrainingError:
    """What is said of a process that a library finds not to answer: without it the run cannot go on."""
    return TrainingError(
        f"another process of the run has ended or does not answer ({str(error).splitlines()[0]:.160}): "
        "see what it said; the last checkpoint is whole, go on from it with --resume"
    )


def place_by_jax() -> tuple[int, int]:
    """Which one of how many processes this is, by the environment variables that jax's users set."""
    return int(os.environ.get("JAX_PROCESS_ID", "0")), int(os.environ.get("JAX_NUM_PROCESSES", "1"))


def place_by_torchrun() -> tuple[int, int]:
    """Which one of how many processes this is that torchrun has started; 0 of 1 where it has not."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
