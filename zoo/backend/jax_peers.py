"""Processes of jax that share batches, as on several machines: jax.distributed.

A step is one program on the devices of all processes. Orders, and what is agreed on, go through the key-value store of
jax's coordination service, beside the devices: no step is waited for.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax._src import distributed  # the store has no public name; Orbax takes it from here too

from zoo.backend.peers import (
    ALONE,
    BETWEEN,
    PATIENCE,
    FirstEnded,
    Order,
    Peers,
    gone,
    order_of,
    place_by_jax,
    text_of,
)
from zoo.errors import TrainingError

__all__ = ["Machines", "joined"]

HEARTBEAT = 30
"""Seconds without a sign of life after which jax ends the other processes; until it looks, some more go by."""
KEPT = 100
"""Agreements that stay in the store: no process is so many steps behind another."""


def joined() -> Peers:
    """The processes that the environment names, this one among them; without it: alone.

    To be called before jax is asked for a device. It waits for all processes.
    """
    number, count = place_by_jax()
    if count == 1:
        return ALONE
    # Where the first one listens jax reads itself, in JAX_COORDINATOR_ADDRESS.
    jax.distributed.initialize(num_processes=count, process_id=number, heartbeat_timeout_seconds=HEARTBEAT)
    return Machines()


class Machines(Peers):
    """Of jax.distributed."""

    def __init__(self) -> None:
        self.number, self.count = jax.process_index(), jax.process_count()
        self._store: Any = distributed.global_state.client
        self._orders = self._agreements = self._meetings = 0

    def order(self, order: Order | None) -> None:
        self._orders += 1
        self._store.key_value_set(f"order/{self._orders}", text_of(order))

    def ordered(self) -> Order | None:
        self._orders += 1
        try:
            with _gone():
                return order_of(self._store.blocking_key_value_get(f"order/{self._orders}", 1000 * BETWEEN))
        except TrainingError as error:
            raise FirstEnded from error

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        self._meetings += 1
        with _gone():
            self._store.wait_at_barrier(f"sharing/{self._meetings}", 1000 * BETWEEN)
            self.shares = True
            try:
                yield
            finally:
                self.shares = False

    def agreed(self, code: int) -> int:
        if code and not self.first:
            self._store.key_value_set(f"asked/{self.number}", str(code), allow_overwrite=True)
        if self.first:
            asked = dict(self._store.key_value_dir_get("asked"))
            code = max(code, *map(int, asked.values())) if asked else code
        return int(self._by_first(str(code)))

    def told(self, figures: Mapping[str, float]) -> dict[str, float]:
        found: dict[str, float] = json.loads(self._by_first(json.dumps(dict(figures))))
        return found

    def _by_first(self, text: str) -> str:
        """What the first process says here."""
        self._agreements += 1
        key = f"agreed/{self._agreements}"
        if self.first:
            self._store.key_value_set(key, text)
            if self._agreements > KEPT:
                self._store.key_value_delete(f"agreed/{self._agreements - KEPT}")
            return text
        said: str = self._store.blocking_key_value_get(key, int(1000 * PATIENCE))
        return said


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    """A process that does not answer is told as that, as the run cannot go on without it."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        text = str(error).lower()
        if not any(sign in text for sign in ("gloo", "nccl", "deadline", "unavailable", "coordination", "heartbeat")):
            raise
        raise gone(error) from error
