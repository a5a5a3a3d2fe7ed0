"""`python -m zoo.serve`, as a user calls it: its address, its end, and what it refuses; what it offers as examples."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import recipes
from zoo.data.dataset import load_dataset
from zoo.errors import EnvironmentFault
from zoo.finished import load_run
from zoo.recipe import dump_recipe, load_recipe
from zoo.runs.run_folder import create_run
from zoo.serve import __main__ as serve
from zoo.serve import examples
from zoo.tasks.classification import Classification

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"KERAS_BACKEND": "torch", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def run(first_run: Path) -> Path:
    return first_run


@contextmanager
def served(run: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of this run on a free port, and its address."""
    command = [sys.executable, "-m", "zoo.serve", str(run), "--port", "0", *arguments]
    process = subprocess.Popen(
        command,
        env=ENVIRONMENT,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A job that a shell put into the background ignores Ctrl-C, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout
        line = process.stdout.readline().strip()
        yield process, json.loads(line)["url"] if "json" in arguments else line
    finally:
        process.kill()
        process.communicate()


def ask(address: str, path: str, body: Any = None) -> Any:
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    try:
        connection.request("POST" if body else "GET", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def as_curl(line: str) -> tuple[int, str]:
    """What curl would get, on a machine without it: it sends -d as a form unless a header says otherwise."""
    _, address, *options = shlex.split(line)
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert {*given} <= {"-H", "-d"}, line
    kind = given.get("-H", "Content-Type: application/x-www-form-urlencoded").partition(": ")[2]
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    try:
        body = given.get("-d")
        headers = {} if body is None else {"Content-Type": kind}
        connection.request("GET" if body is None else "POST", place.path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def curl(line: str) -> tuple[int, str]:
    command = [*shlex.split(line), "--silent", "--show-error", "--noproxy", "*", "--write-out", "\n%{http_code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told, _, status = done.stdout.rpartition("\n")
    return int(status), told


def test_it_answers_as_the_run_did_until_ctrl_c(run: Path) -> None:
    texts = load_dataset(recipes.load("quickstart", profile="smoke")).test.texts[:5]
    with served(run, "--format", "json") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        status, told = ask(address, "/predict", {"texts": texts})
        assert status == 200
        found = [list(row["probabilities"].values()) for row in json.loads(told)["predictions"]]
        stored = [row["probabilities"] for row in load_run(run).folder.predictions[:5]]
        np.testing.assert_allclose(found, stored, rtol=0, atol=1e-5)
        for line in re.findall(r"^curl .*", (ROOT / "docs" / "serving.md").read_text(encoding="utf-8"), re.MULTILINE):
            for way in (as_curl, *[curl] * (shutil.which("curl") is not None)):
                status, told = way(line.replace("http://127.0.0.1:8000/", address))
                assert status == 200, (line, told)
        status, page = ask(address, "/")
        assert (status, "<h1>first</h1>" in page) == (200, True)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # whoever is impatient gets no traceback either
        rest, err = process.communicate(timeout=60)
    assert (process.returncode, rest) == (130, "")
    assert err.split("\n")[-3:] == ["    serve  Ctrl-C ends it", "interrupted", ""]
    for unwanted in ("Traceback", texts[0], "INFO", "warning"):
        assert unwanted not in err


def test_another_address_is_warned_of_and_sigterm_ends_it(run: Path) -> None:
    with served(run, "--host", "0.0.0.0") as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert ask(address, "/health")[0] == 200
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "0.0.0.0 can be reached from other machines" in err
    assert err.endswith("\nterminated\n")


def test_what_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main([str(tmp_path / "none"), "--port", "0"]) == 6
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert serve.main([str(run), "--port", port]) == 4
    assert serve.main([str(run), "--host", "not.a.name.invalid"]) == 4
    assert serve.main([str(run), "--host", "192.0.2.1"]) == 4
    assert serve.main([str(run), "--port", "70000"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"--port: {port} on 127.0.0.1 is taken by another program" in told.err
    assert "--host: got not.a.name.invalid, expected an address of this machine" in told.err
    assert "--host: got 192.0.2.1, expected an address of this machine" in told.err
    assert "Traceback" not in told.err


def test_what_is_not_installed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=r"fastapi is not installed.*pip install 'text-zoo\[serve\]'"):
        serve.application(load_run(run), "127.0.0.1", 8)


def test_the_names_that_are_answered() -> None:
    assert {"127.0.0.1", "localhost", "[::1]"} <= set(serve._names("127.0.0.1"))
    assert {"192.0.2.1", "127.0.0.1"} <= set(serve._names("192.0.2.1"))
    everywhere = serve._names("0.0.0.0")
    assert socket.gethostname() in everywhere
    assert not any("*" in name or "%" in name for name in everywhere)


class TestExamples:
    def test_they_are_the_run_s_own(self, run: Path) -> None:
        found = examples.examples(load_run(run), pairs=False)
        texts = set(load_dataset(recipes.load("quickstart", profile="smoke")).test.texts)
        assert len(found) == examples.MOST
        assert {example["text"] for example in found} <= texts
        assert len({example["text"] for example in found}) == examples.MOST

    def test_ours_where_the_data_are_gone(self, tmp_path: Path) -> None:
        recipe = load_recipe(recipes.path("quickstart"), profile="smoke")
        with create_run(tmp_path / "run", dump_recipe(recipe)) as folder:
            folder.update_run({"dataset": {"sha256": "another"}})
        assert [example["text"] for example in examples.examples(stand_in(tmp_path / "run"), pairs=False)] == [
            *examples.OURS
        ]
        assert examples.examples(stand_in(tmp_path / "run"), pairs=True) == []


def stand_in(path: Path) -> Any:
    """A run without a model: examples need none but for the class names."""
    run = load_run(path)
    run.__dict__["_saved"] = (SimpleNamespace(task=Classification(names=("negative", "positive"))), None)
    return run
