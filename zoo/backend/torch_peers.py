"""Processes of torchrun that share batches: torch.distributed, by gloo on CPUs and by NCCL on GPUs.

Rows of a batch, or of each of its parts, are cut into as many equal shares as there are processes, in order. Losses and
weights are added up over all shares before they are divided, so that the gradient is the whole batch's.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import distributed

from zoo.backend.peers import (
    ALONE,
    BETWEEN,
    PATIENCE,
    FirstEnded,
    Order,
    Peers,
    gone,
    order_of,
    place_by_torchrun,
    text_of,
)
from zoo.backend.transformer_torch import share_of_masks
from zoo.errors import EnvironmentFault, TrainingError

__all__ = ["Processes", "joined", "take_device"]


def take_device() -> None:
    """Compute on the GPU that is this process's, where torchrun has started several; to be called before a tensor is
    made.

    Raises:
        EnvironmentFault: there are fewer GPUs here than processes.
    """
    if not _launched() or not _on_gpus():
        return
    here, asked = torch.cuda.device_count(), int(os.environ["LOCAL_WORLD_SIZE"])
    if asked > here:
        raise EnvironmentFault(f"torchrun has started {asked} processes here, and torch has {here} GPUs: use {here}")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


@functools.cache
def joined() -> Peers:
    """The processes that torchrun has started, this one among them; it waits for all. Without torchrun: alone."""
    if not _launched():
        return ALONE
    kinds = "cpu:gloo,cuda:nccl" if _on_gpus() else "gloo"
    distributed.init_process_group(kinds, timeout=timedelta(seconds=PATIENCE))
    return Processes()


def _launched() -> bool:
    return place_by_torchrun()[1] > 1


def _on_gpus() -> bool:
    return torch.cuda.is_available() and os.environ.get("KERAS_TORCH_DEVICE", "cuda").startswith("cuda")


class Processes(Peers):
    """Of the default process group."""

    def __init__(self) -> None:
        self.number, self.count = distributed.get_rank(), distributed.get_world_size()
        self._orders = distributed.new_group(backend="gloo", timeout=timedelta(seconds=BETWEEN))

    def order(self, order: Order | None) -> None:
        words = torch.frombuffer(bytearray(text_of(order).encode()), dtype=torch.uint8)
        with _gone():
            distributed.broadcast(torch.tensor([len(words)]), 0, self._orders)
            distributed.broadcast(words, 0, self._orders)

    def ordered(self) -> Order | None:
        length = torch.zeros(1, dtype=torch.int64)
        try:
            with _gone():
                distributed.broadcast(length, 0, self._orders)
                words = torch.zeros(int(length), dtype=torch.uint8)
                distributed.broadcast(words, 0, self._orders)
        except TrainingError as error:
            raise FirstEnded from error
        return order_of(words.numpy().tobytes().decode())

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        with _gone():
            distributed.barrier(self._orders)
            self.shares = True
            try:
                with share_of_masks(self.number):
                    yield
            finally:
                self.shares = False

    def agreed(self, code: int) -> int:
        found = torch.tensor([code])
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
        return int(found)

    def told(self, figures: Mapping[str, float]) -> dict[str, float]:
        found = torch.tensor(list(figures.values()), dtype=torch.float64)
        distributed.broadcast(found, 0)
        return {name: type(own)(value) for (name, own), value in zip(figures.items(), found.tolist(), strict=True)}

    # --- a batch in shares

    def own(self, arrays: Any, parts: int = 1) -> Any:
        """This process's rows of each part of a batch, one part after the other; of one array, or of each of several
        by name."""
        if isinstance(arrays, Mapping):
            return {name: self.own(array, parts) for name, array in arrays.items()}
        rows = np.arange(len(arrays)).reshape(parts, self.count, -1)[:, self.number].reshape(-1)
        return np.asarray(arrays)[rows]

    def together(self, rows: Any, parts: int = 1) -> Any:
        """What `own` has taken apart, from all processes' tensors of equal shapes."""
        found = [torch.empty_like(rows) for _ in range(self.count)]
        distributed.all_gather(found, rows.contiguous())
        shares = torch.stack([share.reshape(parts, -1, *rows.shape[1:]) for share in found], 1)
        return shares.reshape(-1, *rows.shape[1:])

    def summed(self, *numbers: Any) -> tuple[Any, ...]:
        """The sums over all processes of scalar tensors."""
        found = torch.stack(numbers)
        distributed.all_reduce(found)
        return found.unbind()


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    """A process that does not answer is told as that, as the run cannot go on without it."""
    try:
        yield
    except (RuntimeError, distributed.DistBackendError) as error:
        if not _of_network(error):
            raise
        raise gone(error) from error


def _of_network(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, distributed.DistBackendError | distributed.DistNetworkError) or any(
        sign in text for sign in ("gloo", "nccl", "connection closed", "timed out")
    )
