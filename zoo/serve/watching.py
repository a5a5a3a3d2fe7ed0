"""What a server tells those who watch it, in Prometheus's text format.

In come requests on their way through, and what is computed of them; out comes the text of `GET /metrics`. Paths that
the server does not know count as one, so that nobody can make it remember without end. No text is in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CONTENT_TYPE_LATEST", "Watched", "Watching"]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the classes that requests are counted in by the time they took."""
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Likewise for the texts of a batch."""


class Watching:
    """Counters of one server; `waiting` tells how many texts wait."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter("zoo_requests", "Requests answered.", ("endpoint", "status"), registry=self._registry)
        self.seconds = Histogram(
            "zoo_request_seconds",
            "From a request's head to the end of its answer.",
            ("endpoint",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self.batches = Histogram(
            "zoo_batch_texts", "Texts that were computed together.", buckets=TEXTS, registry=self._registry
        )
        gauge = Gauge("zoo_waiting_texts", "Texts that wait or are being computed.", registry=self._registry)
        gauge.set_function(waiting)

    def text(self) -> bytes:
        """All of it, as `CONTENT_TYPE_LATEST` says."""
        return generate_latest(self._registry)


class Watched:
    """An application whose requests are counted, by the endpoints it has."""

    def __init__(self, app: ASGIApp, watching: Watching, endpoints: Collection[str]) -> None:
        self._app, self._watching, self._endpoints = app, watching, endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        endpoint = scope["path"] if scope["path"] in self._endpoints else "other"
        begun, status = time.perf_counter(), "none"  # as where the client goes away

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._watching.requests.labels(endpoint, status).inc()
            self._watching.seconds.labels(endpoint).observe(time.perf_counter() - begun)
