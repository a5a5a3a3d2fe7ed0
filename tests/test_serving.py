"""The web application, on a run that needs no backend: what it answers, what it refuses, and what it lets a page do."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import given, settings
from prometheus_client.parser import text_string_to_metric_families
from serving_stand_in import NAMES, StandIn, good_share, weigh
from starlette.testclient import TestClient

from zoo.serve import serving
from zoo.serve.serving import create_app

HOSTILE = "</script><script>alert(1)</script> $\\frac{"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def run() -> StandIn:
    return StandIn()


@pytest.fixture
def opened() -> Iterator[Callable[..., TestClient]]:
    """A function from a run, and what create_app takes, to a client of its application."""
    clients: list[TestClient] = []

    def opening(run: Any, **arguments: Any) -> TestClient:
        client = TestClient(create_app(run, **arguments), base_url="http://127.0.0.1:8000")
        clients.append(client.__enter__())
        return client

    yield opening
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(run: StandIn, opened: Callable[..., TestClient]) -> TestClient:
    return opened(run, explain=weigh, examples=[{"text": HOSTILE}])


def refused(answer: Any, status: int, *parts: str) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert [part for part in parts if part not in answer.json()["error"]] == [], answer.text


def test_predict(client: TestClient) -> None:
    texts = ["one", "another é 😀", HOSTILE]
    answer = client.post("/predict", json={"texts": texts})
    assert answer.status_code == 200
    for text, row in zip(texts, answer.json()["predictions"], strict=True):
        assert row["probabilities"] == pytest.approx({NAMES[0]: 1 - good_share(text), NAMES[1]: good_share(text)})
        assert row["label"] == NAMES[good_share(text) > 0.5]


def test_explain(client: TestClient) -> None:
    answer = client.post("/explain", json={"text": "so good", "label": "good"})
    assert answer.json() == {
        "label": "good",
        "words": [
            {"start": 0, "end": 2, "of": "text", "score": -0.1},
            {"start": 3, "end": 7, "of": "text", "score": pytest.approx(0.4)},
        ],
    }
    predicted = client.post("/predict", json={"texts": ["so good"]}).json()["predictions"][0]["label"]
    assert client.post("/explain", json={"text": "so good"}).json()["label"] == predicted
    refused(client.post("/explain", json={"text": "a", "label": "god"}), 422, "label", "did you mean good?")
    refused(client.post("/explain", json={"text": "x" * 3001}), 422, "3,001 characters", "up to 3,000")


def test_without_an_explainer_there_is_no_colouring(run: StandIn, opened: Callable[..., TestClient]) -> None:
    client = opened(run)
    refused(client.post("/explain", json={"text": "a"}), 404, "does not weigh words")
    assert facts_of(client.get("/").text)["explains"] is False


def test_health_and_no_pages_that_load_from_elsewhere(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok", "run": "stand-in", "labels": list(NAMES), "waiting": 0}
    for path in ("/docs", "/redoc"):
        refused(client.get(path), 404)


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ({"texts": []}, ["texts: got 0 texts, expected 1 to 256"]),
        ({"texts": ["a"] * 257}, ["got 257 texts"]),
        ({"texts": ["a", " \n"]}, ["texts[1] is empty"]),
        ({"texts": ["a", "x" * 20_001]}, ["texts[1] has 20,001 characters, expected at most 20,000"]),
        ({"texts": "a"}, ["body.texts", "list"]),
        ({"texts": [1]}, ["body.texts.0", "string"]),
        ({"texts": ["a"], "pairs": ["b"]}, ["pairs: got some, expected none"]),
        ({"text": "a"}, ["body.texts", "Field required", "body.text", "not permitted"]),
        ({"texts": ["refuse me"]}, ["a text is at fault"]),
        ([], ["body"]),
    ],
)
def test_what_predict_refuses(client: TestClient, body: Any, parts: list[str]) -> None:
    answer = client.post("/predict", json=body)
    refused(answer, 422, *parts)
    assert "x" * 100 not in answer.text


def test_pairs(run: StandIn, opened: Callable[..., TestClient]) -> None:
    client = opened(run, pairs=True, explain=weigh, examples=[{"text": "a", "pair": "b"}])
    assert client.post("/predict", json={"texts": ["a", "b"], "pairs": ["c", "d"]}).status_code == 200
    words = client.post("/explain", json={"text": "a", "pair": "b c"}).json()["words"]
    assert [(word["of"], word["start"]) for word in words] == [("text", 0), ("pair", 0), ("pair", 2)]
    refused(client.post("/predict", json={"texts": ["a"]}), 422, "pairs: got none")
    refused(client.post("/explain", json={"text": "a"}), 422, "pairs: got none")
    refused(client.post("/predict", json={"texts": ["a"], "pairs": ["b", "c"]}), 422, "pairs: got 2")
    refused(client.post("/predict", json={"texts": ["a"], "pairs": [""]}), 422, "pairs[0] is empty")
    assert 'id="pair"' in client.get("/").text


@pytest.mark.parametrize("content", [b'{"texts": ["a', b"\xff\xfe", b"", b"[" * 100_000, b'{"texts": NaN}'])
def test_a_body_that_is_not_json(client: TestClient, content: bytes) -> None:
    answer = client.post("/predict", content=content, headers=JSON)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]


def test_a_large_body_is_refused_stated_or_not(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.dumps({"texts": ["x" * 1000] * 1100}).encode()
    assert len(whole) > serving.MOST_BYTES
    refused(client.post("/predict", content=whole, headers=JSON), 413, "expected at most 1,048,576 bytes")
    pieces = (whole[start : start + 1000] for start in range(0, len(whole), 1000))
    refused(client.post("/predict", content=pieces, headers=JSON), 413, "expected at most 1,048,576 bytes")
    small = iter([b'{"texts": ', b'["a"]}'])
    assert client.post("/predict", content=small, headers=JSON).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 400),
        ("127.0.0.1.evil.example:8000", 400),
        ("", 400),
    ],
)
def test_only_its_own_names_are_answered(client: TestClient, host: str, status: int) -> None:
    """A page of elsewhere whose name was made to lead here has its own name in the Host header."""
    assert client.get("/health", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8000", 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:3000", 403),  # another server of this machine
        ("http://127.0.0.1:8000.evil.example", 403),
        ("null", 403),  # a page of a file, or in a sandbox
    ],
)
def test_only_its_own_page_is_answered(client: TestClient, origin: str, status: int) -> None:
    for answer in (
        client.post("/predict", json={"texts": ["a"]}, headers={"Origin": origin}),
        client.get("/metrics", headers={"Origin": origin}),
    ):
        assert answer.status_code == status
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_too_many_that_wait(run: StandIn, opened: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MOST_WAITING", 4)
    client = opened(run, explain=weigh)
    run.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/predict", json={"texts": ["a"] * 4})
        until = time.monotonic() + 10
        while client.get("/health").json()["waiting"] < 4 and time.monotonic() < until:
            time.sleep(0.01)
        second = client.post("/predict", json={"texts": ["b"]})
        explained = client.post("/explain", json={"text": "b"})
        run.gate.set()
        assert first.result(10).status_code == 200
    for answer in (second, explained):
        refused(answer, 503, "too many texts wait")
        assert answer.headers["Retry-After"] == "1"
    assert client.post("/predict", json={"texts": ["b"]}).status_code == 200


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain"])
def test_a_body_that_is_not_sent_as_json(client: TestClient, kind: str | None) -> None:
    """As curl sends it unless it is told; and as a page of elsewhere may, which is why it is not taken."""
    headers = {} if kind is None else {"Content-Type": kind}
    for path, body in (("/predict", {"texts": ["a"]}), ("/explain", {"text": "a"})):
        answer = client.post(path, content=json.dumps(body), headers=headers)
        refused(answer, 415, kind or "without a content type", "add the header Content-Type: application/json")
    refused(client.post("/predict"), 422)


def test_ready_and_metrics(run: StandIn, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/ready").json() == {"status": "ready"}
    for texts in (["one"], ["two", "three"], []):
        client.post("/predict", json={"texts": texts})
    client.get("/secret/path")
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["zoo_requests_total", "/predict", "200"] == 2
    assert found["zoo_requests_total", "/predict", "422"] == 1
    assert found["zoo_requests_total", "other", "404"] == 1
    assert found["zoo_request_seconds_count", "/predict"] == 3
    assert (found["zoo_batch_texts_sum",], found["zoo_batch_texts_count",]) == (3, 2)
    assert found["zoo_waiting_texts",] == 0
    assert "secret" not in answer.text
    run.gate.clear()
    monkeypatch.setattr(client.app.state.batcher, "_most_waiting", 1)  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, "/predict", json={"texts": ["a"]})
        until = time.monotonic() + 10
        while client.get("/ready").status_code == 200 and time.monotonic() < until:
            time.sleep(0.01)
        answer = client.get("/ready")
        assert client.get("/health").status_code == 200
        run.gate.set()
        assert waiting.result(10).status_code == 200
    refused(answer, 503, "takes no texts now")
    assert answer.headers["Retry-After"] == "1"


class TestOpenapi:
    """The description is served, and what it says is so: for bodies as it has them, and for others."""

    @pytest.mark.parametrize("mode", schemathesis.GenerationMode)
    def test_the_server_does_what_it_says(self, run: StandIn, mode: schemathesis.GenerationMode) -> None:
        app = create_app(run, explain=weigh, hosts=["testserver"])
        schema = schemathesis.openapi.from_asgi("/openapi.json", app)
        seen = set()
        for found in schema.get_all_operations():
            operation = found.ok()
            takes_body = operation.method == "post"
            if mode.is_negative and not takes_body:
                continue  # there is nothing that could be wrong about it

            @settings(max_examples=15 if takes_body else 1, database=None, deadline=None, derandomize=True)
            @given(case=operation.as_strategy(generation_mode=mode))
            def holds(case: schemathesis.Case) -> None:
                seen.add((case.path, case.call_and_validate().status_code))

            holds()
        app.state.batcher.close()
        answered, refused = {(path, 200) for path in serving.ENDPOINTS[:-1]}, {("/explain", 422), ("/predict", 422)}
        assert seen >= (refused if mode.is_negative else answered)

    def test_pairs(self, run: StandIn, opened: Callable[..., TestClient]) -> None:
        client = opened(run, pairs=True)
        bodies = client.get("/openapi.json").json()["components"]["schemas"]
        jsonschema.validate({"texts": ["a"], "pairs": ["b"]}, bodies["Texts"])
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"texts": ["a"]}, bodies["Texts"])


def test_no_text_is_logged(client: TestClient, capfd: pytest.CaptureFixture[str]) -> None:
    refused(client.post("/predict", json={"texts": ["a bug of SECRET"]}), 500, "a bug of ours: ValueError")
    for text in ("SECRET", "refuse me SECRET"):
        client.post("/predict", json={"texts": [text]})
        client.post("/explain", json={"text": text})
    told = capfd.readouterr()
    assert "a bug of ours: ValueError (serving_stand_in.py:" in told.err
    assert "SECRET" not in told.out + told.err


def test_the_page(client: TestClient) -> None:
    answer = client.get("/")
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    nonce = re.fullmatch(r"'nonce-([\w-]{20,})'", policy["script-src"])
    assert nonce
    assert answer.text.count(f'<script nonce="{nonce[1]}">') == 1
    assert answer.text.count("<script") == 2  # the other one holds values, which no browser runs
    assert nonce[1] not in client.get("/").text
    assert "88% of" not in answer.text
    assert "On 1,234 test rows: accuracy 87.5%" in answer.text
    assert "bad &lt;b&gt;, good" in answer.text
    loaded = re.findall(r"""(?:src|href|action|srcset)=["']([^"']*)|url\(|@import""", answer.text)
    assert loaded == ["data:,"]
    assert "prefers-color-scheme: dark" in answer.text


def test_values_in_the_page_cannot_leave_their_place(client: TestClient) -> None:
    html = client.get("/").text
    assert HOSTILE not in html
    assert facts_of(html)["examples"] == [{"text": HOSTILE}]


def facts_of(html: str) -> Any:
    found = re.search(r'<script type="application/json" id="facts">(.*?)</script>', html)
    assert found
    return json.loads(found[1])
