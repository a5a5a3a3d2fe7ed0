"""What takes long says that it goes on."""

from __future__ import annotations

import threading
import time

import pytest

from zoo.training.waiting import Firsts, waiting


def test_it_is_told_again_and_again_from_one_thread_that_ends() -> None:
    told, before = list[tuple[str, float, str]](), threading.active_count()
    with waiting("compiling", lambda what, s: told.append((what, s, threading.current_thread().name)), every=0.01):
        assert threading.active_count() == before + 1
        time.sleep(0.2)
    assert threading.active_count() == before
    assert len(told) > 3
    assert {what for what, *_ in told} == {"compiling"}
    assert {name for *_, name in told} == {"waiting"}
    seconds = [seconds for _, seconds, _ in told]
    assert seconds == sorted(seconds)
    assert 0.0 < seconds[0] < seconds[-1] < 5.0


def test_who_cannot_be_told_stops_the_run_and_no_other_error_is_lost() -> None:
    called = threading.Event()

    def full(what: str, seconds: float) -> None:
        called.set()
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"), waiting("compiling", full, every=0.01):
        assert called.wait(10.0)
    with pytest.raises(ZeroDivisionError), waiting("compiling", full, every=0.01):
        assert called.wait(10.0) / 0


def test_the_first_of_each_shape_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.training.waiting.SECOND", 0.01)
    told: list[str] = []
    for compiles in (False, True):
        firsts, found = Firsts(compiles=compiles), list[bool]()
        for shape in ((4, 8), (4, 8), (4, 16)):
            with firsts.computing(shape, lambda what, _: told.append(what)) as first:
                found.append(first)
                time.sleep(0.05)
        assert found == ([True, False, True] if compiles else [False] * 3)
    assert set(told) == {"compiling a batch of 4 rows of 8 tokens", "compiling a batch of 4 rows of 16 tokens"}
    with pytest.raises(MemoryError), firsts.computing((4, 32), None):
        raise MemoryError
    with firsts.computing((4, 32), None) as first:
        assert first, "what failed was not compiled"
