"""A finished run as a web application: one page, and endpoints that speak JSON.

In come a run and, where there is one, a function that tells the importance of words; out comes an ASGI application:

    GET  /         the page: a text box, probabilities as bars or numbers, words coloured by what they contribute
    POST /predict  {"texts": [...], "pairs": [...]} -> {"predictions": [...]}, in order, as the task answers: of
                   classification {"label", "probabilities"}
    POST /explain  {"text", "pair", "label"} -> {"label", "words": [{"start", "end", "of", "score"}]}
    GET  /health   that it lives: status, run, classes, and how many texts wait
    GET  /ready    whether it takes texts now
    GET  /metrics  what it did, for Prometheus
    GET  /openapi.json  all of this for programs

Refused, as {"error": message}: 400 a Host header that is not this server's (a foreign page whose name was pointed
here), 403 an Origin that is not (a foreign page), 408 a body that does not come to its end, 413 a large one, 415 one
that is not sent as JSON (a foreign page may send such without asking), 422 texts that are too long, too many, empty or
not Unicode, 503 too many that wait. The page loads nothing from anywhere, and its policy lets the browser run its own
script alone. No text is written to any log.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zoo.errors import ZooError
from zoo.recipe.faults import not_among
from zoo.report import pages
from zoo.runs.run import Run
from zoo.serve import description
from zoo.serve.batching import Batcher, Busy
from zoo.serve.description import answers, refused
from zoo.serve.watching import CONTENT_TYPE_LATEST, Watched, Watching

MOST_BYTES = 1 << 20
"""Of a request's body."""
BODY_SECONDS = 30.0
"""In which a request's body must have come."""
MOST_TEXTS = 256
"""Texts of one request."""
MOST_CHARACTERS = 20_000
"""Of one text."""
MOST_EXPLAINED = 3_000
"""Characters of a text whose words are weighed: each of them costs about one prediction."""
MOST_WAITING = 1024
"""Texts that wait, of all requests together."""
EXPLANATION = 32
"""Texts that one explanation counts for among them."""
ENDPOINTS = ("/", "/predict", "/explain", "/health", "/ready", "/metrics", "/openapi.json")
METHOD: Literal["occlusion"] = "occlusion"
"""How words are weighed: it needs predictions alone, and so no gradient that has to be compiled first."""

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
"""Names by which this machine may be asked for, where it answers itself alone."""


class Word(Protocol):
    """A word's place in the text, or with `of` in the second text of a pair, and its contribution to the class."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def of(self) -> Literal["text", "pair"]: ...
    @property
    def score(self) -> float: ...


class Explain(Protocol):
    """The importance of the words of a text; zoo.explain.attribution.word_importance."""

    def __call__(
        self, run: Run, text: str, pair: str | None = None, *, label: str | None = None, method: Literal["occlusion"]
    ) -> Sequence[Word]: ...


class Texts(BaseModel):
    """Body of /predict."""

    model_config = ConfigDict(extra="forbid", strict=True)
    texts: list[str]
    pairs: list[str] | None = None


class Text(BaseModel):
    """Body of /explain; `label` is the class to explain, by default the predicted one."""

    model_config = ConfigDict(extra="forbid", strict=True)
    text: str
    pair: str | None = None
    label: str | None = None


class _Described(FastAPI):
    """An application that says exactly what the bodies of its requests are."""

    def openapi(self) -> dict[str, Any]:
        found = super().openapi()
        found["components"]["schemas"].update(self.state.bodies)
        return found


def create_app(
    run: Run,
    *,
    explain: Explain | None = None,
    pairs: bool = False,
    examples: Sequence[Mapping[str, str]] = (),
    batch_size: int = 32,
    hosts: Sequence[str] = LOOPBACK,
) -> FastAPI:
    """The application of a run; its batcher is `app.state.batcher`, which `close`s with the application.

    Args:
        run: a finished run. Its model is touched by the batcher's thread alone.
        explain: what weighs the words; None leaves the colouring out.
        pairs: whether the run was trained on pairs of texts.
        examples: texts that the page offers, each `{"text": ...}` or `{"text": ..., "pair": ...}`.
        batch_size: texts that are computed at once, at most.
        hosts: the Host headers that are answered.
    """
    watching = Watching(lambda: batcher.waiting)

    def values(texts: list[str], seconds: list[str] | None) -> np.ndarray:
        watching.batches.observe(len(texts))
        return run.values(texts, seconds, batch_size=batch_size)

    batcher = Batcher(values, batch_size=batch_size, most_waiting=MOST_WAITING)
    name, names = run.path.resolve().name, run.task.names

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(batcher.close)

    app = _Described(
        title="text-zoo",
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        summary=f"Predictions of the run {name}.",
        version="1",
        lifespan=lifespan,
        middleware=[
            Middleware(Watched, watching=watching, endpoints=ENDPOINTS),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(_OwnPage),
            Middleware(_BodyLimit, most=MOST_BYTES),
        ],
        exception_handlers={HTTPException: _say_error, RequestValidationError: _say_invalid},
    )
    app.state.batcher = batcher
    app.state.bodies = description.bodies(
        names, pairs=pairs, most_texts=MOST_TEXTS, most_characters=MOST_CHARACTERS, most_explained=MOST_EXPLAINED
    )
    predicted = description.predictions(run.named(run.task.blank)[0].schema(names))
    facts = {
        "pairs": pairs,
        "explains": explain is not None,
        "kinds": run.task.kinds,
        "tasks": list(run.card.blueprint.tasks),
        "examples": [dict(example) for example in examples],
        "most_characters": MOST_CHARACTERS,
        "most_explained": MOST_EXPLAINED,
    }

    @app.get("/", response_class=HTMLResponse, responses=refused(408, 413))
    async def page() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        test = run.metrics.get("test", {})
        html = pages.html("serve.html.j2", name=name, task=run.task, test=test, facts=facts, nonce=nonce)
        return HTMLResponse(html, headers=_page_headers(nonce))

    @app.get("/health", responses=answers(description.HEALTH, 408, 413), response_class=JSONResponse)
    async def health() -> dict[str, Any]:
        return {"status": "ok", "run": name, "labels": names, "waiting": batcher.waiting}

    @app.get("/ready", responses=answers(description.READY, 408, 413, 503), response_class=JSONResponse)
    async def ready() -> dict[str, str]:
        if not batcher.ready:
            raise HTTPException(503, "it takes no texts now: ask again in a second", {"Retry-After": "1"})
        return {"status": "ready"}

    @app.get("/metrics", response_class=PlainTextResponse, responses=refused(408, 413))
    async def metrics() -> Response:
        return Response(watching.text(), media_type=CONTENT_TYPE_LATEST)

    @app.post("/predict", responses=answers(predicted, 408, 413, 415, 422, 500, 503))
    async def predict(body: Texts) -> JSONResponse:
        _refuse_texts(body.texts, body.pairs, pairs)
        found = await _answer(lambda: batcher.values(body.texts, body.pairs))
        return JSONResponse({"predictions": [prediction.fields() for prediction in run.task.predictions(found)]})

    @app.post("/explain", responses=answers(description.explanation(names), 404, 408, 413, 415, 422, 500, 503))
    async def explanation(body: Text) -> JSONResponse:
        if explain is None:
            raise HTTPException(404, "this server does not weigh words")
        _refuse_texts([body.text], None if body.pair is None else [body.pair], pairs)
        if len(body.text) > MOST_EXPLAINED:
            raise HTTPException(
                422, f"text has {len(body.text):,} characters, and words are weighed up to {MOST_EXPLAINED:,}"
            )
        if body.label is not None and body.label not in names:
            raise HTTPException(422, f"label: {not_among(body.label, names)}")

        def weigh() -> tuple[str, Sequence[Word]]:
            given = None if body.pair is None else [body.pair]
            label = body.label or names[int(run.task.foremost(run.values([body.text], given))[0])]
            return label, explain(run, body.text, body.pair, label=label, method=METHOD)

        label, words = await _answer(lambda: batcher.call(weigh, size=EXPLANATION))
        placed = [{"start": word.start, "end": word.end, "of": word.of, "score": float(word.score)} for word in words]
        return JSONResponse({"label": label, "words": placed})

    return app


async def _answer(begin: Callable[[], Future[Any]]) -> Any:
    """What the batcher makes of it, or the error that the client is told."""
    try:
        return await asyncio.wrap_future(begin())
    except Busy:
        raise HTTPException(503, "too many texts wait: ask again in a second", {"Retry-After": "1"}) from None
    except ZooError as error:
        raise HTTPException(422, str(error)) from None
    except Exception as error:  # noqa: BLE001  # the server goes on
        # Its message could hold the text, so the place alone is told.
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"a bug of ours: {type(error).__name__} ({Path(place.filename).name}:{place.lineno})"
        print(what, file=sys.stderr)
        raise HTTPException(500, what) from None


def _refuse_texts(texts: Sequence[str], pairs: Sequence[str] | None, wants_pairs: bool) -> None:
    """HTTPException for texts that are not taken, before they reach the queue."""
    if not 1 <= len(texts) <= MOST_TEXTS:
        raise HTTPException(422, f"texts: got {len(texts)} texts, expected 1 to {MOST_TEXTS} in one request")
    if wants_pairs and pairs is None:
        raise HTTPException(422, "pairs: got none, expected a second text for each, as the run was trained on pairs")
    if not wants_pairs and pairs is not None:
        raise HTTPException(422, "pairs: got some, expected none, as the run was trained on single texts")
    if pairs is not None and len(pairs) != len(texts):
        raise HTTPException(422, f"pairs: got {len(pairs)}, expected as many as texts, {len(texts)}")
    for name, column in (("texts", texts), ("pairs", pairs or ())):
        for number, text in enumerate(column):
            if not text.strip():
                raise HTTPException(422, f"{name}[{number}] is empty, expected words")
            if len(text) > MOST_CHARACTERS:
                raise HTTPException(
                    422,
                    f"{name}[{number}] has {len(text):,} characters, expected at most {MOST_CHARACTERS:,}: shorten it",
                )


async def _say_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    # Of a body whose bytes cannot be decoded FastAPI says less.
    said = "the body is not UTF-8, expected JSON in it: encode it so" if error.status_code == 400 else error.detail
    return JSONResponse({"error": said}, error.status_code, headers=error.headers)


async def _say_invalid(request: Request, error: Exception) -> JSONResponse:
    """Every fault of a body with its place; what was sent is not sent back."""
    assert isinstance(error, RequestValidationError)
    if isinstance(error.body, bytes):  # it was not sent as JSON, and so not read
        sent = request.headers.get("content-type") or "without a content type"
        what = f"the body is sent {'as ' * ('/' in sent)}{sent}, expected JSON: add the header"
        return JSONResponse({"error": f"{what} Content-Type: application/json (curl -H 'Content-Type: ...')"}, 415)
    faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    return JSONResponse({"error": "; ".join(faults)}, 422)


class _OwnPage:
    """Answers 403 to what a page of elsewhere asks for: a browser says in `Origin` whose page it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("origin")
        if origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower():
            await self._app(scope, receive, send)
            return
        error = {
            "error": "the request is of another page than this server's own: open the page here, or send no Origin"
        }
        await JSONResponse(error, 403, {"Connection": "close"})(scope, receive, send)


class _BodyLimit:
    """Reads the body ahead; answers 413 where it has more than so many bytes, 408 where it does not come to its end."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        body = bytearray()
        more = True
        too_large = stated.isdigit() and int(stated) > self._most
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while more and not too_large:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    too_large = len(body) > self._most
        except TimeoutError:
            error = {"error": f"the body has not come within {BODY_SECONDS:g} seconds: send it again"}
            await JSONResponse(error, 408, {"Connection": "close"})(scope, receive, send)
            return
        if too_large:
            error = {"error": f"the body is too large, expected at most {self._most:,} bytes: send fewer texts"}
            await JSONResponse(error, 413, {"Connection": "close"})(scope, receive, send)
            return
        read = False

        async def replay() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self._app(scope, replay, send)


def _page_headers(nonce: str) -> dict[str, str]:
    policy = {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "connect-src": "'self'",
        "img-src": "data:",  # the empty icon
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{key} {value}" for key, value in policy.items()),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
