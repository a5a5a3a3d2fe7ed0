"""Requests of many threads to batches of one: a queue, and a single thread that owns the model.

In come texts, from any thread; out go futures of the model's values, each in its request's own order. What waits
when the thread is free is put together, at most `batch_size` texts, after a few milliseconds in which more may come.
Frameworks are not all safe to call from several threads, so whatever touches the model goes through this one.
Refused: more than `most_waiting` texts at once (Busy).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.errors import ZooError

PATIENCE = 0.003
"""Seconds that a batch waits for more texts, once it has one."""
LEAVE = 5.0
"""Seconds that `close` waits for what is being computed."""

Model = Callable[[list[str], list[str] | None], np.ndarray]
"""Texts, and the second ones where the run has pairs -> values [rows, names]."""


class Busy(Exception):
    """More waits than may wait: ask again later."""


@dataclass(kw_only=True)
class _Job:
    """Texts that want values, or with `action` something else to do; `size` is what it counts for."""

    texts: list[str] = field(default_factory=list)
    pairs: list[str] | None = None
    action: Callable[[], Any] | None = None
    size: int
    result: Future[Any] = field(default_factory=Future)


class Batcher:
    """The queue and its thread; `close` it at the end."""

    def __init__(self, model: Model, *, batch_size: int, most_waiting: int) -> None:
        self._model, self._batch_size, self._most_waiting = model, batch_size, most_waiting
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._waiting = 0
        self._closed = False
        # A daemon: a computation that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Texts that wait or are being computed."""
        return self._waiting

    @property
    def ready(self) -> bool:
        """Whether it takes another text."""
        return self._thread.is_alive() and not self._closed and self._waiting < self._most_waiting

    def values(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> Future[np.ndarray]:
        """The values [rows, names] of texts, in their order, once they are computed; Busy where too many wait.

        The future raises what the model raises about these texts, and never about another request's.
        """
        return self._add(_Job(texts=list(texts), pairs=None if pairs is None else list(pairs), size=len(texts)))

    def call(self, action: Callable[[], Any], *, size: int = 1) -> Future[Any]:
        """Whatever else touches the model, in the same thread; it counts for `size` texts. Busy where too many wait."""
        return self._add(_Job(action=action, size=size))

    def close(self) -> None:
        """Take nothing more, cancel what waits, and let the thread end."""
        with self._changed:
            self._closed = True
            while self._jobs:
                self._jobs.popleft().result.cancel()
            self._changed.notify_all()
        self._thread.join(LEAVE)

    def _add(self, job: _Job) -> Future[Any]:
        with self._changed:
            # One that is too large by itself would never be taken, so an empty queue takes it.
            if self._closed or (self._waiting and self._waiting + job.size > self._most_waiting):
                raise Busy
            self._waiting += job.size
            self._jobs.append(job)
            self._changed.notify_all()
        job.result.add_done_callback(lambda _: self._leave(job.size))
        return job.result

    def _leave(self, size: int) -> None:
        with self._changed:
            self._waiting -= size

    def _work(self) -> None:
        while taken := self._take():
            # From here on a request that goes away no longer cancels its future.
            jobs = [job for job in taken if job.result.set_running_or_notify_cancel()]
            if jobs and jobs[0].action is not None:
                _settle(jobs[0], jobs[0].action)
            elif jobs:
                self._compute(jobs)

    def _take(self) -> list[_Job]:
        """The jobs of the next batch, the oldest first; an action alone. None are left when it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            if not self._jobs:
                return []
            until = time.monotonic() + PATIENCE
            taken, size = [self._jobs.popleft()], 0
            if taken[0].action is not None:
                return taken
            size = taken[0].size
            while size < self._batch_size and not self._closed:
                left = until - time.monotonic()
                if not self._changed.wait_for(lambda: bool(self._jobs), max(0.0, left)):
                    break
                following = self._jobs[0]
                if following.action is not None or size + following.size > self._batch_size:
                    break
                taken.append(self._jobs.popleft())
                size += following.size
            return taken

    def _compute(self, jobs: list[_Job]) -> None:
        if len(jobs) == 1:
            _settle(jobs[0], lambda: self._model(jobs[0].texts, jobs[0].pairs))
            return
        texts = [text for job in jobs for text in job.texts]
        pairs = None if jobs[0].pairs is None else [pair for job in jobs for pair in job.pairs or ()]
        try:
            found = self._model(texts, pairs)
        except ZooError:
            # One of the texts is at fault, and only its own request may hear of it.
            for job in jobs:
                self._compute([job])
            return
        except Exception as error:  # noqa: BLE001  # it belongs to whoever asked
            for job in jobs:
                job.result.set_exception(error)
            return
        start = 0
        for job in jobs:
            job.result.set_result(found[np.arange(start, start + job.size)])
            start += job.size


def _settle(job: _Job, action: Callable[[], Any]) -> None:
    try:
        value = action()
    except Exception as error:  # noqa: BLE001  # it belongs to whoever asked
        job.result.set_exception(error)
    else:
        job.result.set_result(value)
