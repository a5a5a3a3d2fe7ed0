"""What the endpoints take and give, in OpenAPI's terms, as far as it depends on the run.

In come the run's names and the limits; out come JSON Schemas of bodies and answers, and what is refused. The server is
held to them by schemathesis, in tests/test_serving.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.tasks.prediction import Schema, closed

__all__ = ["HEALTH", "READY", "Schema", "answers", "bodies", "explanation", "predictions", "refused"]


REFUSED = {
    400: "A Host header that is not this server's; a body that is not UTF-8.",
    403: "An Origin header that is not this server's.",
    404: "What this server does not do.",
    408: "A body that does not come to its end.",
    413: "A body that is too large.",
    415: "A body that is not sent as JSON.",
    422: "What is asked for is not taken; the message says why.",
    500: "A bug of ours.",
    503: "Too much waits: ask again.",
}


STRING: Schema = {"type": "string"}
HEALTH = closed(
    {
        "status": {"const": "ok"},
        "run": STRING,
        "labels": {"type": "array", "items": STRING},
        "waiting": {"type": "integer", "minimum": 0},
    }
)
READY = closed({"status": {"const": "ready"}})


def bodies(
    names: Sequence[str], *, pairs: bool, most_texts: int, most_characters: int, most_explained: int
) -> dict[str, Schema]:
    """Of /predict and /explain, by the names of their types."""
    texts = {"type": "array", "items": _text(most_characters), "minItems": 1, "maxItems": most_texts}
    nothing: Schema = {"type": "null"}
    label = {"label": {"anyOf": [_one_of(names), nothing]}}
    one, second = _text(most_explained), _text(most_characters)
    if pairs:
        return {
            "Texts": closed({"texts": texts, "pairs": texts}),
            "Text": closed({"text": one, "pair": second}, label),
        }
    return {
        "Texts": closed({"texts": texts}, {"pairs": nothing}),
        "Text": closed({"text": one}, {"pair": nothing, **label}),
    }


def predictions(fields: Mapping[str, Schema]) -> Schema:
    """The answer of /predict, of predictions with these fields."""
    return closed({"predictions": {"type": "array", "items": closed(fields)}})


def explanation(names: Sequence[str]) -> Schema:
    """The answer of /explain."""
    place = {"type": "integer", "minimum": 0}
    of, score = {"enum": ["text", "pair"]}, {"type": "number"}
    word: dict[str, Schema] = {"start": place, "end": place, "of": of, "score": score}
    return closed({"label": _one_of(names), "words": {"type": "array", "items": closed(word)}})


def _one_of(names: Sequence[str]) -> Schema:
    """One of these; any string where a task has no names."""
    return {"type": "string", "enum": list(names)} if names else STRING


def _text(most: int) -> Schema:
    """A text of at most so many characters that is not blank."""
    return {"type": "string", "pattern": r"\S", "minLength": 1, "maxLength": most}


def answers(schema: Schema, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of an endpoint: what it gives, and the statuses that it refuses with."""
    given = {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    return {200: given, **refused(*statuses)}


def refused(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What is refused with these statuses; a Host header, before all else, in plain text."""
    error = {"application/json": {"schema": closed({"error": {"type": "string"}})}}
    plain = {"text/plain": {"schema": STRING}}
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": REFUSED[status], "content": error} for status in statuses
    }
    everywhere: dict[int | str, dict[str, Any]] = {
        400: {"description": REFUSED[400], "content": {**plain, **error}},
        403: {"description": REFUSED[403], "content": error},
    }
    return {**everywhere, **found}
