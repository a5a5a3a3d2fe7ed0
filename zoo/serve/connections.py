"""The server's connections: how many there may be, and how long one may take to ask and to listen.

In comes an application; out comes uvicorn's configuration for it. uvicorn itself limits neither: a client that sends
half a request, or never reads its answer, keeps its descriptor for ever. Closed are: what takes too long over the head
of a request or over taking the answer, and, where all places are taken, whoever has waited longest with an unfinished
request or has not taken its answer; where there is none, the new one is answered 503. The time of a body is limited
where it is read (zoo/serve/serving.py).
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEADER_SECONDS", "KEEP_SECONDS", "MOST_CONNECTIONS", "MOST_HEADER_BYTES", "TAKE_SECONDS", "config"]

MOST_CONNECTIONS = 256
"""At once; fewer where the process may open few files."""
MOST_HEADER_BYTES = 16 * 1024
"""Of a request's line and its headers."""
HEADER_SECONDS = 10.0
"""From the connection, or the first byte of a later request on it, to the end of the headers."""
KEEP_SECONDS = 5
"""That a connection is kept for another request."""
TAKE_SECONDS = 30.0
"""In which the client must have taken what waits for it of an answer, but for the last 16 KiB."""


def config(app: ASGIApp, **settings: Any) -> Config:
    """uvicorn's configuration of this application, with the limits; `settings` are further ones of uvicorn's."""
    most = min(MOST_CONNECTIONS, max(8, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
    return Config(
        app,
        http=type("Limited", (LimitedProtocol,), {"most": most}),
        ws="none",  # no endpoint has one, and a connection that changes over would leave these limits
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        timeout_keep_alive=KEEP_SECONDS,
        # Also how many are accepted before any of them is looked at, and so it must leave descriptors.
        backlog=most // 2,
        **settings,
    )


FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n"
    b'{"error": "too many requests wait: ask again in a second"}'
)
"""The answer where every place is taken by a whole request."""


class LimitedProtocol(H11Protocol):
    """One connection; uvicorn's own, with an end to its patience."""

    most = MOST_CONNECTIONS
    _head: asyncio.TimerHandle | None
    """When the head of the request on its way must be there."""
    _take: asyncio.TimerHandle | None
    """When the client must have taken of the answer what waits for it; None where nothing does."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._head = self._take = None
        self._since = self.loop.time()
        room = self._make_room()
        super().connection_made(transport)
        if room:
            self._watch()
        else:
            transport.write(FULL)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for deadline in filter(None, (self._head, self._take)):
            deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._take = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._take is not None:
            self._take.cancel()
            self._take = None

    @property
    def _between(self) -> bool:
        """Whether no request is there whose answer is still to come."""
        # None before the first request, whatever uvicorn declares.
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]

    def _watch(self) -> None:
        """Give the headers that are on their way their time; once they are there, the application sees to the rest."""
        if self._between and self._head is None:
            self._head = self.loop.call_later(HEADER_SECONDS, self.transport.abort)
        elif not self._between and self._head is not None:
            self._head.cancel()
            self._head = None

    def _make_room(self) -> bool:
        """Whether there is a place; where all are taken, whoever has kept the server waiting longest goes."""
        others = [each for each in self.connections if isinstance(each, LimitedProtocol)]
        unfinished = [each for each in others if each._between or each.cycle.more_body or each._take]
        if len(others) < self.most:
            return True
        if unfinished:
            oldest = min(unfinished, key=lambda each: each._since)
            self.connections.discard(oldest)  # it tells its end only later
            oldest.transport.abort()
        return bool(unfinished)
