"""benchmarks/verdicts.py: what is said of a recipe and a contender from their runs."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import verdicts
from zoo.score.seeds import seed_bounds


def row(**changes: Any) -> dict[str, Any]:
    """A row of a whole run of which nothing is expected."""
    where = {"recipe": "mine", "profile": None, "model": "preset", "dataset": "set"}
    who = {"contender": "torch", "peer": False, "seed": 0}
    figures = {"test": {"accuracy": 0.96, "f1": 0.96}, "tally": tally_of(0.96), "timing": {"train_seconds": 1800.0}}
    return {**where, **who, "expected": None, "outcome": "trained", **figures, **changes}


def tally_of(accuracy: float, rows: int = 872) -> dict[str, int]:
    """So many right of two classes that are equally frequent, and as many right of class 1 as of the other."""
    correct = round(accuracy * rows)
    found = correct // 2
    return {
        "rows": rows,
        "correct": correct,
        "most_frequent": rows // 2,
        "found": found,
        "relevant": found + rows - correct,
    }


def runs(*accuracies: float, **expected: Any) -> list[dict[str, Any]]:
    """Rows of whole runs, a seed each, of a recipe that expects something."""
    nothing = {"accuracy": None, "f1": None, "hours": None, "seeds": 1, "source": "somebody"}
    return [
        row(
            seed=seed,
            expected={**nothing, **expected},
            test={"accuracy": accuracy, "f1": accuracy},
            tally=tally_of(accuracy),
        )
        for seed, accuracy in enumerate(accuracies)
    ]


FIVE = (0.955, 0.961, 0.958, 0.963, 0.960)


@pytest.mark.parametrize(
    ("target", "verdict"),
    [(0.9564, "met"), (0.9565, "within noise"), (0.96, "within noise"), (0.9623, "within noise"), (0.9624, "missed")],
)
def test_over_seeds(target: float, verdict: str) -> None:
    """The mean of FIVE is 0.9594, with one-sided bounds 0.95649 and 0.96231 by Student's t."""
    (found,) = verdicts.verdicts(runs(*FIVE, accuracy=target, seeds=5))
    figure = found["figures"]["accuracy"]
    assert (figure["low"], figure["high"]) == pytest.approx(seed_bounds(FIVE))
    assert (figure["mean"], figure["by"]) == (pytest.approx(0.9594), "seeds")
    assert (found["verdict"], found["seeds"], found["wanted"]) == (verdict, [0, 1, 2, 3, 4], 5)
    (near_one,) = verdicts.verdicts(runs(1.0, 0.975, 0.9875))
    assert near_one["figures"]["accuracy"]["high"] == 1.0


@pytest.mark.parametrize(("correct", "verdict"), [(847, "met"), (846, "within noise"), (826, "missed")])
def test_of_one_run_the_test_rows_decide(correct: int, verdict: str) -> None:
    """Of 872 rows 847 have to be right before their own noise leaves 96% behind: 838 are 96.1%."""
    (found,) = verdicts.verdicts(runs(correct / 872, accuracy=0.96, seeds=5))
    figure = found["figures"]["accuracy"]
    assert (found["verdict"], figure["by"], figure["deviation"]) == (verdict, "rows", None)
    assert (found["seeds"], found["wanted"]) == ([0], 5)


def test_every_figure_has_to_be_met() -> None:
    (found,) = verdicts.verdicts(runs(*FIVE, accuracy=0.955, f1=0.96, hours=1.0))
    assert {name: figure["verdict"] for name, figure in found["figures"].items()} == {
        "accuracy": "met",
        "f1": "within noise",
        "hours": "met",
    }
    assert found["verdict"] == "within noise"
    (found,) = verdicts.verdicts(runs(*FIVE, accuracy=0.97, f1=0.96, hours=0.4))
    assert found["verdict"] == "missed"


def test_hours_are_the_mean_as_it_is() -> None:
    rows = runs(*FIVE, hours=1.2)
    rows[4]["timing"] = {"train_seconds": 3600.0 * 4.0}
    assert verdicts.verdicts(rows)[0]["verdict"] == "met"
    rows[0]["timing"] = {"train_seconds": 3600.0}
    (found,) = verdicts.verdicts(rows)
    assert (found["verdict"], found["figures"]["hours"]["mean"]) == ("missed", pytest.approx(1.3))


def test_a_mean_of_f1s_of_one_run_is_compared_as_it_is() -> None:
    """One class has bounds from its rows; a mean over classes has none."""
    rows = runs(0.96, f1=0.95)
    assert verdicts.verdicts(rows)[0]["figures"]["f1"]["by"] == "rows"
    assert verdicts.verdicts(rows)[0]["verdict"] == "within noise"
    rows[0]["tally"] = {**rows[0]["tally"], "found": None, "relevant": None}
    (found,) = verdicts.verdicts(rows)
    assert (found["figures"]["f1"]["by"], found["verdict"]) == (None, "met")


def test_a_figure_that_is_not_there_is_missed() -> None:
    rows = runs(0.96, f1=0.5)
    del rows[0]["test"]["f1"]
    (found,) = verdicts.verdicts(rows)
    assert (found["verdict"], found["figures"]["f1"]["mean"]) == ("missed", None)


def test_collapsed_runs_are_counted_and_stay_in_the_mean() -> None:
    rows = runs(*FIVE, 0.51, accuracy=0.955)
    for each in rows:
        each["outcome"] = verdicts.outcome(each)
    (found,) = verdicts.verdicts(rows)
    assert [each["outcome"] for each in rows] == [*["trained"] * 5, "collapsed"]
    assert (found["collapsed"], found["verdict"]) == (1, "within noise")
    assert found["figures"]["accuracy"]["mean"] == pytest.approx((sum(FIVE) + 0.51) / 6)


def test_contenders_are_apart_and_what_did_not_run_says_why() -> None:
    failed = {**row(contender="hf_tuned", peer=True), "outcome": "failed: exit code 5"}
    del failed["test"]
    ours, theirs = verdicts.verdicts([*runs(*FIVE), failed])
    assert (ours["contender"], ours["verdict"], ours["collapsed"]) == ("torch", "nothing expected", 0)
    assert (theirs["contender"], theirs["verdict"], theirs["seeds"]) == ("hf_tuned", "failed: exit code 5", [])


def test_a_seed_that_failed_is_not_judged() -> None:
    rows = runs(*FIVE, 0.5, accuracy=0.955, seeds=6)
    del rows[5]["test"]
    (found,) = verdicts.verdicts(rows)
    assert (found["seeds"], found["wanted"], found["verdict"]) == ([0, 1, 2, 3, 4], 6, "met")
