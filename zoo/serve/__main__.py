"""`python -m zoo.serve RUN`: a finished run as a page in the browser, and as a JSON endpoint.

In comes a run; out come, until Ctrl-C, the page and the endpoints of zoo/serve/serving.py, and their address on
stdout. Refused: an unknown run, a port that is taken, an address that is not this machine's. It listens on this machine
alone unless `--host` says otherwise; whoever reaches the port may then use the model.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import ipaddress
import json
import signal
import socket
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from zoo import cli
from zoo.errors import EnvironmentFault
from zoo.finished import Run, load_run
from zoo.runs.screen import Screen
from zoo.serve.examples import examples

if TYPE_CHECKING:
    from fastapi import FastAPI

GRACE = 5
"""Seconds that requests on their way are given at the end."""


def serve(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    host: Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 is all of them.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Texts computed at once, at most.")] = 32,
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Serve a finished run as a page in the browser and as a JSON endpoint, until Ctrl-C.

    Example: python -m zoo.serve runs/mine --port 8080
    """
    screen = Screen()
    with listening(host, port) as listener:
        done = load_run(run).finished()
        done.task.refuse("serve")
        app = application(done, host, batch_size)
        app.state.batcher.call(lambda: done.model).result()  # what is wrong with it is told now
        address = _url(host, listener.getsockname()[1])
        if not _is_loopback(host):
            screen.say("warning", f"{host} can be reached from other machines, and whoever does may use the model")
        print(json.dumps({"url": address, "run": str(done.path)}) if output == "json" else address, flush=True)
        screen.say("serve", "Ctrl-C ends it")
        run_until_stopped(app, listener)
    return 0


def application(run: Run, host: str, batch_size: int) -> FastAPI:
    """The application of a run, with examples of its own and the importance of words.

    Raises:
        EnvironmentFault: what it is made of is not installed.
    """
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        if importlib.util.find_spec(package) is None:
            raise EnvironmentFault(f"{package} is not installed, which serves: pip install 'text-zoo[serve]'")
    from zoo.explain.attribution import word_importance
    from zoo.serve.serving import create_app

    pairs = bool(run.takes_pairs)
    return create_app(
        run,
        explain=word_importance if run.task.each == "text" else None,
        pairs=pairs,
        examples=examples(run, pairs=pairs),
        batch_size=batch_size,
        hosts=_names(host),
    )


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that takes connections at this address.

    Raises:
        EnvironmentFault: the port is taken or not allowed, or the address is not this machine's.
    """
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise EnvironmentFault(f"--host: got {host}, expected an address of this machine ({error.strerror})") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
            listener.listen(socket.SOMAXCONN)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise EnvironmentFault(
                    f"--port: {port} on {host} is taken by another program, expected a free one: "
                    "choose another --port, or 0 for any free one"
                ) from error
            if error.errno == errno.EACCES:
                raise EnvironmentFault(f"--port: {port} is not allowed to you, expected 1024 or more") from error
            raise EnvironmentFault(
                f"--host: got {host}, expected an address of this machine ({error.strerror})"
            ) from error
        yield listener


def run_until_stopped(app: FastAPI, listener: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM comes, give the requests on their way some seconds, and raise it again."""
    import uvicorn

    from zoo.serve import connections

    came: list[int] = []

    class Server(uvicorn.Server):
        # Its own would raise each signal again within the event loop, and a second Ctrl-C then shows a traceback.
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            came.append(sig)
            self.should_exit = True

    # Critical: the tracebacks that it would log could hold a text.
    config = connections.config(
        app, log_level="critical", access_log=False, timeout_graceful_shutdown=GRACE, lifespan="on"
    )
    Server(config).run(sockets=[listener])
    if came:
        signal.raise_signal(came[0])


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names(host: str) -> list[str]:
    """The Host headers that this server answers to: its addresses and names, and no other that leads here."""
    from zoo.serve.serving import LOOPBACK

    names = {*LOOPBACK, host}
    if host in ("0.0.0.0", "::"):
        import psutil

        names |= {socket.gethostname(), socket.getfqdn()}
        names |= {entry.address for entries in psutil.net_if_addrs().values() for entry in entries}
    plain = {name.partition("%")[0] for name in names}  # an address of IPv6 may carry its interface
    return sorted(plain | {f"[{name}]" for name in plain if ":" in name})


def _url(host: str, port: int) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


def main(argv: Sequence[str] | None = None) -> int:
    """The verb: arguments in, exit code out."""
    return cli.run_command(serve, argv, name="serve")


if __name__ == "__main__":
    raise SystemExit(main())
