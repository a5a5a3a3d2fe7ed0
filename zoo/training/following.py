"""A process that takes part in a run which another one leads.

In come the first process's orders (`zoo.backend.Order`); out comes nothing but its part of each step and evaluation.
Refused: a run folder that this process does not see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.backend import Backend, FirstEnded, Order
from zoo.data.backbones import bring
from zoo.data.dataset import load_dataset
from zoo.errors import OutputError
from zoo.recipe import Recipe, load_recipe
from zoo.stopping import Terminated
from zoo.training.checkpoint import Followed, Progress
from zoo.training.prepare import prepare

__all__ = ["follow"]


def follow(backend: Backend) -> None:
    """Do what the first process orders, one training after the other, until it sends the others home.

    Raises:
        ZooError: what training refuses, and what the module says.
        Terminated: the first process has ended, and has said why.
    """
    while (order := _ordered(backend)) is not None:
        recipe = _recipe_of(order)
        bring(recipe)  # the first process's cache may be another machine's
        session = prepare(recipe, load_dataset(recipe), backend=backend)
        session.train(Followed(Path(order.checkpoints)), Silent(), resume=order.resume)


def _ordered(backend: Backend) -> Order | None:
    try:
        return backend.peers.ordered()
    except FirstEnded as error:
        raise Terminated from error


def _recipe_of(order: Order) -> Recipe:
    path = Path(order.folder) / "recipe.yaml"
    if not path.exists():
        raise OutputError(
            f"{path} is not seen by every process of the run: give --out a folder on a file system that all of its "
            "machines share"
        )
    compiled = "on" if order.compiled else "off"
    chosen = {"training.precision": order.precision, "training.compile": compiled}
    return load_recipe(path).override(chosen)


class Silent:
    """A `Listener` that tells nobody: the first process does."""

    def on_begin(self, progress: Progress, steps: int) -> None: ...

    def on_step(self, step: int, epoch: int, tokens: int, loss: Callable[[], float], first: bool) -> None: ...

    def on_wait(self, what: str, seconds: float) -> None: ...

    def on_note(self, text: str) -> None: ...

    def on_row(self, row: Mapping[str, Any]) -> None: ...

    def on_save(self) -> None: ...

    @contextmanager
    def bar(self, title: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        yield lambda count: None
