"""Many requests, one thread: nothing lost, nothing mixed up, and one request's fault is its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest
from serving_stand_in import StandIn, good_share

from zoo.errors import DataError
from zoo.serve.batching import Batcher, Busy


@pytest.fixture
def run() -> StandIn:
    return StandIn()


@pytest.fixture
def batcher(run: StandIn) -> Iterator[Batcher]:
    made = Batcher(run.values, batch_size=8, most_waiting=1000)
    yield made
    run.gate.set()
    made.close()


def held(batcher: Batcher, run: StandIn) -> None:
    """Let the thread stand within a batch until the gate is opened."""
    run.gate.clear()
    started = threading.Event()

    def wait() -> None:
        started.set()
        run.gate.wait(10)

    batcher.call(wait)
    assert started.wait(10)


def settled(batcher: Batcher) -> int:
    """Texts that wait once the thread has done all there was: a result is told before it is counted off."""
    batcher.call(lambda: None, size=0).result(10)
    return batcher.waiting


def test_each_gets_its_own_in_its_order(batcher: Batcher, run: StandIn) -> None:
    requests = [[f"text {number} {part}" for part in range(number % 4 + 1)] for number in range(200)]
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda texts: batcher.values(texts).result(10), requests))
    for texts, shares in zip(requests, found, strict=True):
        np.testing.assert_array_equal(shares[:, 1], [good_share(text) for text in texts])
    assert sum(size for size, _ in run.calls) == sum(map(len, requests))
    assert {thread for _, thread in run.calls} == {"model"}
    assert settled(batcher) == 0


def test_what_waits_goes_together(batcher: Batcher, run: StandIn) -> None:
    held(batcher, run)
    futures = [batcher.values([f"text {number}"]) for number in range(20)]
    run.gate.set()
    for future in futures:
        future.result(10)
    assert [size for size, _ in run.calls] == [8, 8, 4]


def test_a_large_request_goes_alone(batcher: Batcher, run: StandIn) -> None:
    held(batcher, run)
    futures = [batcher.values(["a"] * size) for size in (2, 30, 3, 3)]
    run.gate.set()
    assert [len(future.result(10)) for future in futures] == [2, 30, 3, 3]
    assert [size for size, _ in run.calls] == [2, 30, 6]


def test_an_action_comes_in_turn_and_in_the_same_thread(batcher: Batcher, run: StandIn) -> None:
    held(batcher, run)
    first = batcher.values(["a"])
    action = batcher.call(lambda: (len(run.calls), threading.current_thread().name))
    last = batcher.values(["b"])
    run.gate.set()
    assert action.result(10) == (1, "model")
    assert (first.result(10).shape, last.result(10).shape) == ((1, 2), (1, 2))


def test_the_fault_of_one_request_is_its_own(batcher: Batcher, run: StandIn) -> None:
    held(batcher, run)
    futures = [batcher.values([text]) for text in ("a", "refuse me", "b")]
    run.gate.set()
    with pytest.raises(DataError, match="at fault"):
        futures[1].result(10)
    assert [float(futures[place].result(10)[0, 1]) for place in (0, 2)] == [good_share("a"), good_share("b")]


def test_a_bug_reaches_who_asked_and_the_thread_goes_on(batcher: Batcher) -> None:
    with pytest.raises(ValueError, match="secret"):
        batcher.values(["a bug"]).result(10)
    with pytest.raises(ZeroDivisionError):
        batcher.call(lambda: 1 // 0).result(10)
    assert len(batcher.values(["a"]).result(10)) == 1


def test_too_many_are_refused_and_then_taken_again(run: StandIn) -> None:
    batcher = Batcher(run.values, batch_size=8, most_waiting=10)
    held(batcher, run)
    waiting = batcher.values(["a"] * 9)
    with pytest.raises(Busy):
        batcher.values(["b"])
    run.gate.set()
    waiting.result(10)
    assert settled(batcher) == 0
    # Too large for the queue, which is empty.
    assert len(batcher.values(["c"] * 30).result(10)) == 30
    batcher.close()


def test_one_that_went_away_is_not_computed(batcher: Batcher, run: StandIn) -> None:
    held(batcher, run)
    gone, stays = batcher.values(["gone"]), batcher.values(["stays"])
    assert gone.cancel()
    run.gate.set()
    assert len(stays.result(10)) == 1
    assert [size for size, _ in run.calls] == [1]
    assert settled(batcher) == 0


def test_closing_cancels_what_waits_and_takes_nothing_more(batcher: Batcher, run: StandIn) -> None:
    held(batcher, run)
    waits = batcher.values(["a"])
    threading.Timer(0.1, run.gate.set).start()
    batcher.close()
    with pytest.raises(CancelledError):
        waits.result(0)
    with pytest.raises(Busy):
        batcher.values(["b"])
    assert run.calls == []
