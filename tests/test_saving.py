"""When a checkpoint is due, and what comes of one that cannot be written; without a backend."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

from zoo.errors import OutputError
from zoo.models.weights import DTYPES, save_arrays
from zoo.recipe.training_group import Saves
from zoo.training import saving
from zoo.training.checkpoint import Checkpoints, Progress, State
from zoo.training.saving import Saving


class Slow(Checkpoints):
    """Writes once it may, or fails."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__(Path("nowhere"))
        self.may, self.fails, self.written = threading.Event(), fails, list[int]()

    def write(self, state: State, kept: Sequence[int] = ()) -> None:
        assert self.may.wait(10)
        if self.fails:
            raise OutputError("the disk is full")
        self.written.append(state.progress.step)


def at(step: int) -> State:
    return State(progress=Progress(step=step), model={}, optimizer={})


def test_by_steps_and_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: now))
    folder = Slow()
    folder.may.set()
    with Saving(folder, Saves(minutes=2.0, steps=5), step=10, before=lambda: None) as kept:
        assert [kept.due(step) for step in (10, 14, 15)] == [False, False, True]
        now = 120.0
        assert [kept.due(step) for step in (10, 11)] == [False, True]
        kept.save(at(11), ())
        kept.wait()
        assert not kept.due(12)
    with Saving(folder, Saves(minutes=None), step=0, before=lambda: None) as kept:
        now = 1e9
        assert not kept.due(10**6)


def test_one_that_is_being_written_holds_up_nobody() -> None:
    folder, told = Slow(), list[str]()
    with Saving(folder, Saves(steps=1), step=0, before=lambda: told.append("rows")) as kept:
        kept.save(at(1), ())
        assert told == ["rows"]
        assert (kept.behind(1), kept.behind(2), kept.due(2), folder.written) == (False, True, False, [])
        folder.may.set()
        kept.save(at(3), ())
    assert folder.written == [1, 3]


def test_arrays_are_written_as_by_the_library(tmp_path: Path) -> None:
    kinds = enumerate(sorted(DTYPES))
    values = {f"{kind}/é{number}": np.arange(number * 3).reshape(number, 3).astype(kind) for number, kind in kinds}
    values |= {"turned": np.arange(6, dtype=np.float32).reshape(2, 3).T, "one": np.array(3, np.int64)}
    save_arrays(values, tmp_path / "a.safetensors")
    whole = {name: np.ascontiguousarray(value).reshape(value.shape) for name, value in values.items()}
    assert (tmp_path / "a.safetensors").read_bytes() == safetensors.numpy.save(whole)
    for name, value in safetensors.numpy.load_file(tmp_path / "a.safetensors").items():
        np.testing.assert_array_equal(value, values[name])


def test_what_goes_wrong_is_raised_in_the_loop() -> None:
    folder = Slow(fails=True)
    folder.may.set()
    kept = Saving(folder, Saves(steps=1), step=0, before=lambda: None)
    kept.save(at(1), ())
    while kept.writing:
        pass
    with pytest.raises(OutputError, match="full"):
        kept.due(1)
    with pytest.raises(OutputError, match="full"), kept:
        kept.save(at(2), ())

    def stopped_while_it_is_written() -> None:
        with kept:
            kept.save(at(3), ())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        stopped_while_it_is_written()
    assert stopped.value.__notes__ == ["the disk is full"]
