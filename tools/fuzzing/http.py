"""Requests to zoo.serve, changed in their bodies, headers and paths: an answer, or a refusal of the client's (4xx)."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st
from starlette.testclient import TestClient

import zoo
from tools.fuzzing.case import Case, Kind
from tools.fuzzing.mutating import bytes_of, data_of
from tools.fuzzing.runs import Runs
from zoo.explain.attribution import word_importance
from zoo.serve.serving import ENDPOINTS, create_app

BODIES = {
    "/predict": {"texts": ["a fine film", "a bad one, Ünïcode \U0001f600"]},
    "/explain": {"text": "a fine film", "label": "positive"},
}
METHODS = ("POST",) * 12 + ("GET", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH")
HEADERS: tuple[dict[str, str], ...] = (
    *({"Content-Type": "application/json"},) * 9,
    *(
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "\x7f"},
    ),
    {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    {"Content-Type": "application/json", "Content-Length": "-1"},
    {"Content-Type": "application/json", "Content-Length": "999999999999"},
    {"Content-Type": "application/json", "Host": "evil.example"},
    {"Content-Type": "application/json", "Origin": "https://evil.example"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "application/x-www-form-urlencoded"},
)
BAD_REQUEST, BUSY = 400, 503


def http(runs: Runs) -> Kind:
    """The kind for a server of the finished run."""
    run = zoo.load_run(runs.done)
    client = TestClient(create_app(run, explain=word_importance), base_url="http://127.0.0.1:8000")

    @st.composite
    def cases(draw: st.DrawFn) -> Case:
        path = draw(
            st.sampled_from((*BODIES, *BODIES, *BODIES, *BODIES, *ENDPOINTS, "/none", "/predict/", "/%00", "//x"))
        )
        sound = BODIES.get(path, BODIES["/predict"])
        way = draw(st.sampled_from(("data", "data", "bytes", "text")))
        if way == "data":
            body = json.dumps(draw(data_of(sound, ("", "x", "pair", "pairs", "label", "text")))).encode()
        elif way == "bytes":
            body = draw(bytes_of(json.dumps(sound, ensure_ascii=False).encode()))
        else:
            body = json.dumps({"texts": draw(st.lists(st.text(max_size=40), min_size=1, max_size=3))}).encode()
        about = {"method": draw(st.sampled_from(METHODS)), "path": path, "headers": draw(st.sampled_from(HEADERS))}
        return Case(about, {"body": body})

    def judge(case: Case, folder: Path) -> None:
        about = case.about
        answer = client.request(
            about["method"], about["path"], content=case.files["body"], headers=dict(about["headers"])
        )
        assert answer.status_code < 500 or answer.status_code == BUSY, f"{answer.status_code}: {answer.text[:500]}"
        if answer.status_code == BAD_REQUEST and "Host" in about["headers"]:
            return  # it comes in plain text
        if answer.status_code >= BAD_REQUEST and about["method"] != "HEAD":
            assert list(answer.json()) == ["error"], f"{answer.status_code}: {answer.text[:500]}"
        elif about["path"] in BODIES and answer.status_code == 200:
            answer.json()

    return Kind(cases(), judge)
