"""Trials of a search that one process hands out to an engine; without the engine, and without Keras."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from searches import RATE, SIZE, SOUND
from test_sweep_trials import searched

from zoo.errors import DataError, EnvironmentFault, RecipeError, TrainingError
from zoo.runs.run_folder import Pruned
from zoo.runs.screen import Screen
from zoo.sweep import __main__ as verb
from zoo.sweep.ledger import End, Ledger, end_of, is_pruned
from zoo.sweep.outcome import Row, rows_of
from zoo.sweep.space import Plan
from zoo.sweep.study import RETRIES, open_study, refuse_missing


def ledger_of(plan: Plan, out: Path, over: Callable[[], bool] = bool) -> Ledger:
    return Ledger(plan, open_study(plan, out, None), out, worker="a-1", screen=Screen(quiet=True), over=over)


def rows(plan: Plan, out: Path) -> list[Row]:
    return rows_of(open_study(plan, out, None), plan, out)


def test_trials_are_handed_out_and_end_each_in_its_way(tmp_path: Path) -> None:
    plan, out = searched(tmp_path, SOUND.replace("trials: 6", "trials: 3"))
    ledger = ledger_of(plan, out)
    taken = {key: ledger.take(key) for key in "abc"}
    assert taken["a"] == (0, {RATE: 1e-3, SIZE: 16})
    assert [found and found[0] for found in taken.values()] == [0, 1, 2]
    assert ledger.take("d") is None
    assert not ledger.closed  # one of them may come back
    for epoch in (1, 2):
        assert not ledger.stops("a", epoch, 0.5 + epoch / 10, epoch == 2)
    ledger.ended("a", End(status="complete", value=0.7))
    ledger.ended("b", End(status="failed", error="the loss is nan"))
    ledger.ended("c", End(status="pruned"))
    assert ledger.closed
    told = [(row.status, row.value, row.epochs, row.error) for row in rows(plan, out)]
    assert told == [("complete", 0.7, 2, None), ("failed", None, 0, "the loss is nan"), ("pruned", None, 0, None)]


def test_the_study_knows_first_that_a_trial_is_stopped(tmp_path: Path) -> None:
    """Its process asks the study, and neither a death nor a break makes it wait again."""
    plan, out = searched(tmp_path)
    ledger = ledger_of(plan, out)
    for key in "abcde":
        ledger.take(key)
        assert not ledger.stops(key, 1, 0.9, False)
        ledger.ended(key, End(status="complete", value=0.9))
    ledger.take("f")
    assert not is_pruned(plan, out, 5)
    assert ledger.stops("f", 1, 0.1, False)
    assert is_pruned(plan, out, 5)
    ledger.died("f")
    assert (rows(plan, out)[5].status, rows(plan, out)[5].attempts) == ("pruned", 1)


def test_a_trial_whose_process_died_waits_again_so_often(tmp_path: Path) -> None:
    plan, out = searched(tmp_path, SOUND.replace("trials: 6", "trials: 1"))
    ledger = ledger_of(plan, out)
    for _ in range(RETRIES + 1):
        ledger.take("a")
        assert not ledger.stops("a", 1, 0.5, False)  # also where an earlier attempt has told it
        ledger.died("a")
    assert ledger.closed
    (row,) = rows(plan, out)
    assert (row.status, row.attempts, row.epochs) == ("failed", RETRIES + 1, 1)
    assert row.error is not None
    assert "died 3 times" in row.error


def broken_off(ledger: Ledger) -> None:
    with ledger.open():
        ledger.take("a")
        raise KeyboardInterrupt


def test_who_breaks_it_off_counts_no_death(tmp_path: Path) -> None:
    plan, out = searched(tmp_path, SOUND.replace("trials: 6", "trials: 1"))
    for _ in range(RETRIES + 1):
        with pytest.raises(KeyboardInterrupt):
            broken_off(ledger_of(plan, out))
    assert [(row.status, row.attempts) for row in rows(plan, out)] == [("waiting", RETRIES + 1)]


def test_a_fault_of_all_trials_ends_the_search(tmp_path: Path) -> None:
    def no_rows() -> float:
        raise DataError("no such rows")

    plan, out = searched(tmp_path)
    ledger = ledger_of(plan, out)
    ledger.take("a")
    ledger.ended("a", end_of(no_rows))
    assert ledger.closed
    assert ledger.fault == End(status="fault", error="no such rows", code=DataError.exit_code)
    assert {row.status for row in rows(plan, out)} == {"waiting"}
    assert ledger_of(plan, out, over=lambda: True).closed
    assert not ledger_of(plan, out).closed


@pytest.mark.parametrize(
    ("raised", "end"),
    [
        (TrainingError("nan"), End(status="failed", error="nan")),
        (RecipeError("too long"), End(status="failed", error="too long")),
        (Pruned(), End(status="pruned")),
        (KeyError("a"), End(status="fault", error="a bug of ours: KeyError: 'a'", code=70)),
    ],
)
def test_how_a_training_ends(raised: Exception, end: End) -> None:
    def train() -> float:
        raise raised

    assert end_of(train) == end
    assert end_of(lambda: 0.5) == End(status="complete", value=0.5)


# --- the command --------------------------------------------------------------------------------


def test_without_ray_it_is_said_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "ray" else name)
    with pytest.raises(EnvironmentFault, match=r"ray is not installed.* pip install 'text-zoo\[sweep,ray\]'"):
        refuse_missing("ray")
    refuse_missing()


def test_options_that_do_not_go_together(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert verb.main(["any.yaml", "--engine", "ray", "--storage", "sqlite:///a.db"]) == RecipeError.exit_code
    assert "--storage: got one beside --engine ray, expected none" in capsys.readouterr().err
    assert verb.main(["any.yaml", "--gpus-per-trial", "1", "--cpus-per-trial", "2"]) == RecipeError.exit_code
    told = capsys.readouterr().err
    assert "--gpus-per-trial: got one without --engine" in told
    assert "--cpus-per-trial: got one without --engine" in told
