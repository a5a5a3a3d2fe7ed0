"""Every bad input through the command line: its exit code, where the fault is, and that nothing is left behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bad_data import ROWS_READ
from bad_inputs import Bad, judge, parametrized, set_up
from bad_places import ENVIRONMENTS, FINISHED, finished
from bad_recipes import RECIPES


@pytest.fixture(autouse=True)
def _refused_before_a_backend(own_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Keras were imported, that would be a bug of ours."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setitem(sys.modules, "keras", None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """That of the case alone."""
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


@parametrized(RECIPES, ROWS_READ, ENVIRONMENTS)
def test_bad_input(
    case: Bad, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frameworks = {"jax", "tensorflow", "torch"} & {*sys.modules}
    set_up(case, folder, monkeypatch)
    judge(case, folder, lambda: tuple(capsys.readouterr()))
    assert {"jax", "tensorflow", "torch"} & {*sys.modules} == frameworks


@parametrized(FINISHED)
def test_of_a_finished_run(
    case: Bad, first_run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(first_run)(folder, monkeypatch)
    set_up(case, folder, monkeypatch)
    judge(case, folder, lambda: tuple(capsys.readouterr()))
