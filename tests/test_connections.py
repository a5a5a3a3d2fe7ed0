"""The server against clients that never come to an end: half requests take neither its descriptors nor its time."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
DESCRIPTORS = 96
SERVER = f"""
import resource, socket
from serving_stand_in import StandIn
from zoo.serve import __main__ as serve
from zoo.serve.serving import create_app
{{settings}}
resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS}))
with serve.listening("127.0.0.1", 0) as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # what is not taken waits in the server
    print(listener.getsockname()[1], flush=True)
    serve.run_until_stopped(create_app(StandIn()), listener)
"""
HEADER = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n"


@contextlib.contextmanager
def served(settings: str = "") -> Iterator[int]:
    """The port of a server in a process of few descriptors."""
    command = [sys.executable, "-c", SERVER.format(settings=settings)]
    process = subprocess.Popen(command, cwd=FOLDER, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout
        yield int(process.stdout.readline())
    finally:
        process.kill()
        _, told = process.communicate()
    assert told == ""


def ask(port: int, timeout: float) -> tuple[int, int]:
    """Status of a whole request, and how many predictions it brought."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request("POST", "/predict", json.dumps({"texts": ["a film"]}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, len(json.loads(answer.read())["predictions"])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """One server for all kinds of half a request."""
    with served() as port:
        yield port


@pytest.mark.parametrize("half", [b"", HEADER[:40], HEADER + b"\r\n", HEADER + b'\r\n{"texts": ['])
def test_half_requests_do_not_stop_it(port: int, half: bytes) -> None:
    with contextlib.ExitStack() as opened:
        for _ in range(DESCRIPTORS + 8):  # more than it could keep
            client = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            with contextlib.suppress(ConnectionError):  # the server may have made room already
                client.sendall(half)
        begun = time.monotonic()
        assert ask(port, timeout=8) == (200, 1)
        assert time.monotonic() - begun < 5


def test_who_takes_too_long_is_closed() -> None:
    settings = "from zoo.serve import connections, serving\nconnections.HEADER_SECONDS = serving.BODY_SECONDS = 0.5"
    with served(settings) as port, contextlib.ExitStack() as opened:
        halves = (b"", HEADER[:40], HEADER + b'\r\n{"texts": [')
        clients = [opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in halves]
        for client, half in zip(clients, halves, strict=True):
            client.sendall(half)
        head, line, body = (client.recv(4096) for client in clients)
        assert (head, line) == (b"", b"")
        assert body.startswith(b"HTTP/1.1 408 ")
        assert ask(port, timeout=8) == (200, 1)


def test_who_does_not_take_the_answer_is_closed() -> None:
    settings = "from zoo.serve import connections\nconnections.TAKE_SECONDS = 0.5\nconnections.KEEP_SECONDS = 60"
    with served(settings) as port, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(10)
        client.connect(("127.0.0.1", port))
        with pytest.raises(ConnectionError):
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1_000_000)
        assert ask(port, timeout=8) == (200, 1)


def test_who_does_not_take_the_answer_keeps_nobody_out(port: int) -> None:
    """All places are taken by whole requests whose answers are not read: they go, one for each that comes."""
    with contextlib.ExitStack() as opened:
        for _ in range(DESCRIPTORS // 4):  # as many places as it has
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(10)
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 30)
            assert client.recv(1) == b"H"
        begun = time.monotonic()
        assert ask(port, timeout=8) == (200, 1)
        assert time.monotonic() - begun < 5


def test_a_slow_answer_and_a_kept_connection_are_no_fault() -> None:
    settings = (
        "import time\nfrom zoo.serve import connections, serving\n"
        "connections.HEADER_SECONDS = serving.BODY_SECONDS = 0.5\n"
        "quick = StandIn.values\n"
        "StandIn.values = lambda *a, **b: (time.sleep(1.5), quick(*a, **b))[1]"
    )
    with served(settings) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=8)
        with contextlib.closing(connection):
            for pause in (0.0, 1.0):
                time.sleep(pause)
                connection.request(
                    "POST", "/predict", json.dumps({"texts": ["a"]}), {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                assert (answer.status, answer.read()[:1]) == (200, b"{")
            assert connection.sock is not None
