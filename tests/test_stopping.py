"""Ctrl-C and SIGTERM: exit codes, time to clean up, and not a word that is not ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zoo import cli, stopping

ROOT = Path(__file__).resolve().parents[1]
BOTH = pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
SCRIPT = "from zoo.__main__ import main; main()"
"""What the console script does."""
ENDS = {"SIGINT": (130, "interrupted\n"), "SIGTERM": (143, "terminated\n")}


def ended(call: list[str], **environment: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, *call],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | environment,
        timeout=60,
        # A job that a shell put into the background ignores SIGINT, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    return done.returncode, done.stdout, done.stderr


def command(name: str, body: str) -> tuple[int, str, str]:
    """How a command ends of this body, in which `come()` sends the signal to itself."""
    lead = (
        "import gc, os, signal, time\nfrom zoo import cli\n"
        f"def come():\n    os.kill(os.getpid(), signal.{name})\n    time.sleep(0)\n"
        "def command() -> int:\n"
    )
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    return ended(["-c", f"{lead}{indented}raise SystemExit(cli.run_command(command, [], name='test'))"])


@BOTH
def test_a_command_cleans_up(name: str) -> None:
    code, word = ENDS[name]
    body = f"""
try:
    come()
    time.sleep(20)
finally:
    time.sleep({2.5 * stopping.AGAIN})  # as long as it takes
    print('cleaned', flush=True)
"""
    assert command(name, body) == (code, "cleaned\n", word)


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        "try:\n    come()\nexcept BaseException:\n    pass\ntime.sleep(20)",
        # The garbage collector's callbacks, and finalisers, can pass nothing on.
        "gc.callbacks.append(lambda phase, info: come() if phase == 'start' else None)\ngc.collect()\n"
        "gc.callbacks.clear()\ntime.sleep(20)",
        "class A:\n    def __del__(self):\n        come()\nA()\ntime.sleep(20)",
    ],
    ids=["bare except", "callback", "finaliser"],
)
def test_what_is_lost_comes_again_without_a_word(name: str, body: str) -> None:
    code, word = ENDS[name]
    assert command(name, body) == (code, "", word)


@BOTH
def test_what_a_library_makes_of_it_is_no_error_of_its_own(name: str) -> None:
    code, word = ENDS[name]
    body = "try:\n    come()\nexcept BaseException:\n    raise ImportError('half a module') from None"
    assert command(name, body) == (code, "", word)


@BOTH
def test_what_crashes_as_python_is_taken_down_is_left_alone(name: str) -> None:
    """As jax does where it was interrupted within a compilation."""
    body = "import atexit\natexit.register(os.kill, os.getpid(), signal.SIGSEGV)\nprint('said')\ncome()"
    assert command(name, body) == (ENDS[name][0], "said\n", ENDS[name][1])


@BOTH
def test_an_import_is_finished_first(name: str, tmp_path: Path) -> None:
    """A compiled module aborts the process where an exception goes through it, as torch's does."""
    (tmp_path / "slow.py").write_text(f"import os, signal\nos.kill(os.getpid(), signal.{name})\nwhole = True\n")
    body = (
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport slow\nprint(slow.whole, flush=True)\ntime.sleep(20)"
    )
    assert command(name, body) == (ENDS[name][0], "True\n", ENDS[name][1])


@BOTH
def test_a_second_signal_ends_it_at_once(name: str) -> None:
    code, word = ENDS[name]
    body = f"""
try:
    come()
finally:
    come()  # timeout(1) sends it twice
    time.sleep({2 * stopping.DOUBLED})
    print('cleaning', flush=True)
    come()
    print('cleaned', flush=True)
"""
    assert command(name, body) == (code, "cleaning\n", word)


def test_what_was_done_in_spite_of_it_is_done() -> None:
    assert command("SIGTERM", "try:\n    come()\nexcept BaseException:\n    pass") == (0, "", "")


def test_what_is_ignored_stays_so() -> None:
    body = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    call = f"import os, signal\n{body}\nfrom zoo import cli\n"
    call += "cli.run_command(lambda: os.kill(os.getpid(), signal.SIGINT), [], name='test')\nprint('on')"
    assert ended(["-c", call]) == (0, "on\n", "")


@BOTH
@pytest.mark.parametrize("call", [["-m", "zoo.run"], ["-m", "zoo", "run"], ["-c", SCRIPT]])
def test_during_the_imports(tmp_path: Path, name: str, call: list[str]) -> None:
    """As when it comes while the first large module is imported."""
    code, word = ENDS[name]
    body = f"import os, signal, time\nos.kill(os.getpid(), signal.{name})\ntime.sleep(20)"
    (tmp_path / "typer.py").write_text(body, encoding="utf-8")
    assert ended(call, PYTHONPATH=f"{tmp_path}:{ROOT}") == (code, "", word)


def test_a_library_that_is_imported_leaves_signals_alone() -> None:
    code = "import signal; before = signal.getsignal(2), signal.getsignal(15)\n"
    code += "import zoo.run, zoo.cli; print(before == (signal.getsignal(2), signal.getsignal(15)))"
    assert ended(["-c", code]) == (0, "True\n", "")


def test_the_handlers_are_given_back() -> None:
    def found() -> list[object]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
        return [*map(signal.getsignal, numbers), sys.unraisablehook]

    before, within = found(), list[object]()

    def look() -> None:
        within.extend(found())

    cli.run_command(look, [], name="test")
    assert found() == before
    assert [one != other for one, other in zip(within, before, strict=True)] == [
        signal.getsignal(signal.SIGINT) is not signal.SIG_IGN,
        True,
        True,
        True,
    ]
