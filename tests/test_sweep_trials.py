"""Workers of a search with a stand-in for training, what comes of their trials, and the command; without Keras."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from searches import RATE, SIZE, SOUND, read

import recipes
from zoo.data.dataset import Dataset, load_dataset
from zoo.errors import DataError, EnvironmentFault, OutputError, RecipeError, TrainingError
from zoo.recipe import Recipe, dump_recipe, load_recipe
from zoo.runs.run_folder import Pruned, RunFolder, create_run
from zoo.runs.screen import Screen
from zoo.sweep import __main__ as verb
from zoo.sweep.conclusion import BEST, conclude
from zoo.sweep.outcome import Row, best_of, rows_of, trial_folder
from zoo.sweep.reading import RECIPE, SEARCH
from zoo.sweep.space import Plan
from zoo.sweep.study import RETRIES, begin, give_back, line_up, open_study, refuse_missing, worker_lock
from zoo.sweep.trying import Train
from zoo.sweep.working import work

# --- workers, with a stand-in for training ------------------------------------------------------


@pytest.fixture(scope="module")
def films() -> Dataset:
    return load_dataset(recipes.load("quickstart", profile="smoke"))


def accuracy(recipe: Recipe, epoch: int) -> float:
    """The better the nearer the rate is to 1e-3."""
    return 0.9 - abs(recipe.training.optimizer.learning_rate - 1e-3) * 50 - 0.05 / epoch


def training(
    before: Callable[[Recipe, Path, int], None] = lambda recipe, out, epoch: None, epochs: int = 4
) -> tuple[Train, list[Path]]:
    """A stand-in that writes a run folder as a run does; `before` is called before each epoch. And where it was."""
    began = list[Path]()

    def train(recipe: Recipe, out: Path, *, resume: bool, progress: Screen, log: Sequence[str], tested: bool) -> object:
        assert resume
        assert not tested
        began.append(out)
        with create_run(out, dump_recipe(recipe), resume=True) as folder:
            folder.update_run({"timing": {"total_seconds": 9.0}})
            done = [row for row in folder.history if row["kind"] == "epoch"]
            progress.on_begin(10 * len(done), 10 * epochs)
            for epoch in range(len(done) + 1, epochs + 1):
                before(recipe, out, epoch)
                figures = {"accuracy": accuracy(recipe, epoch), "loss": 1.0, "rows": 40}
                row = {"kind": "epoch", "step": 10 * epoch, "epoch": epoch, "seconds": 1.0, "best": True}
                row |= {"train": {"loss": 1.0}, "validation": figures}
                folder.append_history(row)
                progress.on_row(row)
            metrics = {"validation": {"accuracy": accuracy(recipe, epochs)}}
            folder.update_run({"metrics": metrics})
        return None

    return train, began


def searched(tmp_path: Path, text: str = SOUND, url: str | None = None) -> tuple[Plan, Path]:
    plan, out = read(tmp_path, text), tmp_path / "out"
    out.mkdir()
    assert begin(plan, out, url, falling=False, resume=False)
    line_up(open_study(plan, out, url), plan)
    return plan, out


def worked(
    plan: Plan, out: Path, train: Train, *, worker: str = "a-1", url: str | None = None, over: Callable[[], bool] = bool
) -> optuna.Study:
    study, lock = open_study(plan, out, url, draw=(1,)), worker_lock(out, worker)
    assert lock.take()
    try:
        work(
            plan,
            study,
            out,
            worker=worker,
            label="1",
            train=train,
            log=(),
            screen=Screen(quiet=True),
            database=url is not None,
            over=over,
        )
    finally:
        lock.release()
    return study


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, optuna.Study, list[Path]]:
    """A search of twelve trials."""
    plan, out = searched(tmp_path_factory.mktemp("done"), SOUND.replace("trials: 6", "trials: 12"))
    train, began = training()
    return plan, out, worked(plan, out, train), began


def test_every_trial_is_a_run_of_its_own(done: tuple[Plan, Path, optuna.Study, list[Path]]) -> None:
    plan, out, study, began = done
    rows = rows_of(study, plan, out)
    assert began == [trial_folder(out, number) for number in range(12)]
    assert [(row.number, row.attempts) for row in rows] == [(number, 1) for number in range(12)]
    for row in rows:
        kept = load_recipe(trial_folder(out, row.number) / "recipe.yaml")
        assert (kept.training.optimizer.learning_rate, kept.training.batch_size) == (row.values[RATE], row.values[SIZE])
        assert row.value == accuracy(kept, row.epochs)
    assert rows[0].values == {RATE: 1e-3, SIZE: 16}
    best = best_of(rows, falling=False)
    assert best is not None
    assert best.number == 0


def test_bad_trials_are_pruned(done: tuple[Plan, Path, optuna.Study, list[Path]]) -> None:
    plan, out, study, _ = done
    rows = rows_of(study, plan, out)
    pruned = [row for row in rows if row.status == "pruned"]
    assert pruned
    assert all(row.epochs < 4 for row in pruned)
    for row in pruned:
        run = RunFolder(trial_folder(out, row.number)).run
        assert run["status"] == "pruned"
        assert "the pruner stopped it" in run["error"]
    assert {row.status for row in rows} == {"complete", "pruned"}


def test_a_database_keeps_the_trials_as_well(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'trials.db'}"
    plan, out = searched(tmp_path, SOUND.replace("trials: 6", "trials: 2"), url)
    rows = rows_of(worked(plan, out, training()[0], url=url), plan, out)
    assert [(row.status, row.epochs) for row in rows] == [("complete", 4)] * 2
    assert not (out / "journal.log").exists()
    with pytest.raises(OutputError, match="holds a search tried already"):
        begin(plan, out, url, falling=False, resume=False)
    assert begin(plan, out, url, falling=False, resume=True)
    assert not begin(plan, tmp_path / "elsewhere", url, falling=False, resume=True)


def test_the_first_trial_is_the_recipe_also_beside_what_is_searched(tmp_path: Path) -> None:
    plan, out = searched(tmp_path, SOUND.replace("[8, 16, 32]", "[8, 32]").replace("trials: 6", "trials: 2"))
    rows = rows_of(worked(plan, out, training()[0]), plan, out)
    assert load_recipe(trial_folder(out, 0) / "recipe.yaml") == plan.recipe_with({})
    assert rows[0].values == {RATE: 1e-3, SIZE: 16}


def test_a_trial_that_cannot_be_trained_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    def diverges(recipe: Recipe, out: Path, epoch: int) -> None:
        if out.name == "0001":
            raise TrainingError("the loss is nan")

    plan, out = searched(tmp_path, SOUND.replace("trials: 6", "trials: 3"))
    rows = rows_of(worked(plan, out, training(diverges)[0]), plan, out)
    assert [(row.number, row.error) for row in rows if row.status == "failed"] == [(1, "the loss is nan")]
    assert RunFolder(trial_folder(out, 1)).run["status"] == "failed"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OutputError])
def test_what_stops_a_worker_leaves_its_trial_to_be_gone_on_with(tmp_path: Path, stop: type[BaseException]) -> None:
    left = [True]

    def stops(recipe: Recipe, out: Path, epoch: int) -> None:
        if out.name == "0001" and epoch == 3 and left:
            left.clear()
            raise stop("stopped")

    plan, out = searched(tmp_path, SOUND.replace("trials: 6", "trials: 2"))
    train, began = training(stops)
    with pytest.raises(stop):
        worked(plan, out, train)
    assert rows_of(open_study(plan, out, None), plan, out)[1].status == "waiting"
    study = worked(plan, out, train, worker="a-2")
    row = rows_of(study, plan, out)[1]
    assert (row.status, row.attempts, row.epochs) == ("complete", 2, 4)
    assert began.count(trial_folder(out, 1)) == 2
    epochs = [row["epoch"] for row in RunFolder(trial_folder(out, 1)).history]
    assert epochs == [1, 2, 3, 4]  # those of the first attempt stay


def test_the_trials_of_a_dead_worker_wait_again_so_often(tmp_path: Path) -> None:
    plan, out = searched(tmp_path, SOUND.replace("trials: 6", "trials: 1"))
    study = open_study(plan, out, None)
    for death in range(RETRIES + 1):
        trial = study.ask()
        trial.set_user_attr("worker", f"gone-{death}")
        plan.suggested(trial, untouched=True)
        living = worker_lock(out, f"gone-{death}")
        assert living.take()
        assert give_back(study, out, own="a-1", database=False) == []  # as long as it lives
        living.release()
        assert give_back(study, out, own="a-1", database=False) == [0]
    train, began = training()
    rows = rows_of(worked(plan, out, train), plan, out)
    assert [(row.status, row.attempts) for row in rows] == [("failed", RETRIES + 1)]
    assert began == []


def test_time_is_up_between_two_trials(tmp_path: Path) -> None:
    plan, out = searched(tmp_path, SOUND.replace("trials: 6", "trials: 3"))
    train, began = training()
    rows = rows_of(worked(plan, out, train, over=lambda: len(began) >= 2), plan, out)
    assert [row.status for row in rows] == ["complete", "complete", "waiting"]


# --- the outcome --------------------------------------------------------------------------------


def run_as_tested(folder: Path, validation: float, test: float) -> None:
    with create_run(folder, dump_recipe(recipes.load("quickstart", profile="smoke")), resume=True) as run:
        figures = {"accuracy": test, "f1": test, "loss": 0.5, "rows": 40}
        run.update_run({"metrics": {"validation": {"accuracy": validation}, "test": figures}})


def test_the_outcome_is_written_down(
    done: tuple[Plan, Path, optuna.Study, list[Path]], films: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out, study, _ = done
    again = list[Mapping[str, int]]()

    def train_again(file: Path, changes: Mapping[str, int], folder: Path) -> None:
        again.append(changes)
        seed = changes.get("seed", 0)
        run_as_tested(folder, accuracy(load_recipe(file), 4) - 0.01 * (seed > 0), 0.8 + 0.01 * seed)

    found = conclude(plan, study, films, out, train_again=train_again, screen=Screen())
    assert again == [{}, *({"seed": seed, "data.seed": 0} for seed in (1, 2))]  # the same rows in each split
    assert found["best"]["trial"] == 0
    assert load_recipe(out / BEST) == plan.recipe_with({})
    assert found["seeds"]["runs"][0]["validation"] == found["best"]["value"]
    assert found["seeds"]["test"]["accuracy"]["mean"] == pytest.approx(0.81)
    assert found["seeds"]["test"]["accuracy"]["deviation"] == pytest.approx(0.01)
    assert found["importance"][RATE] > found["importance"][SIZE]
    assert json.loads((out / "sweep.json").read_text(encoding="utf-8"))["best"] == json.loads(json.dumps(found["best"]))
    with (out / "trials.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in table] == list(range(12))
    assert float(table[0][RATE]) == 1e-3
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 3
    assert "Warning" not in page
    told = capsys.readouterr().err
    assert "again gives" not in told
    assert "a pruned one" in told


def test_another_figure_of_the_best_recipe_is_told(
    tmp_path: Path, films: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = searched(tmp_path, SOUND.replace("trials: 6", "trials: 1") + "seeds: 1\n")
    study = worked(plan, out, training()[0])
    conclude(
        plan, study, films, out, train_again=lambda file, seed, folder: run_as_tested(folder, 0.5, 0.5), screen=Screen()
    )
    assert "the best recipe run again gives accuracy 0.5" in capsys.readouterr().err


def test_no_complete_trial_is_an_error_that_leaves_a_table(tmp_path: Path, films: Dataset) -> None:
    def diverges(recipe: Recipe, out: Path, epoch: int) -> None:
        raise TrainingError("the loss is nan")

    plan, out = searched(tmp_path, SOUND.replace("trials: 6", "trials: 1"))
    study = worked(plan, out, training(diverges)[0])
    with pytest.raises(TrainingError, match="no trial is complete"):
        conclude(plan, study, films, out, train_again=None, screen=Screen(quiet=True))
    assert "the loss is nan" in (out / "trials.csv").read_text(encoding="utf-8")


def test_less_can_be_better() -> None:
    def row(number: int, value: float, status: Any = "complete") -> Row:
        given: Mapping[str, Any] = {
            "values": {},
            "epochs": 1,
            "seconds": 1.0,
            "attempts": 1,
            "worker": None,
            "error": None,
        }
        return Row(number=number, value=value, status=status, **given)

    rows = [row(0, 0.5), row(1, 0.4), row(2, 0.4), row(3, 0.1, "pruned")]
    assert [best_of(rows, falling=falling).number for falling in (True, False)] == [1, 0]


# --- the command --------------------------------------------------------------------------------


def test_without_optuna_it_is_said_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'text-zoo\[sweep\]'"):
        refuse_missing()


@pytest.mark.parametrize(
    ("url", "kind"),
    [("nonsense", RecipeError), ("nonsense://a", RecipeError), ("sqlite:////nowhere/at/all.db", OutputError)],
)
def test_a_storage_that_is_not_there(tmp_path: Path, url: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="storage"):
        begin(read(tmp_path), tmp_path, url, falling=False, resume=False)


def test_a_password_of_a_storage_is_not_told(tmp_path: Path) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its driver need not be installed
        begin(read(tmp_path), tmp_path, "postgresql+psycopg://me:hunter2@localhost:1/none", falling=False, resume=False)
    assert isinstance(caught.value, EnvironmentFault | OutputError)
    assert "hunter2" not in str(caught.value)


def test_a_folder_is_of_one_search(tmp_path: Path) -> None:
    plan, out = read(tmp_path), tmp_path / "out"
    with pytest.raises(DataError), verb.folder_of(out, plan, None, resume=False):
        raise DataError("no such rows")
    assert not out.exists()
    with verb.folder_of(out, plan, None, resume=False) as kept:
        assert not kept
        (out / "journal.log").touch()
        with pytest.raises(OutputError, match="is being written to"), verb.folder_of(out, plan, None, resume=True):
            pass
    with pytest.raises(OutputError, match="is not empty"), verb.folder_of(out, plan, None, resume=False):
        pass
    with verb.folder_of(out, plan.with_trials(50), None, resume=True) as kept:
        assert kept
    other = read(tmp_path, SOUND.replace("[8, 16, 32]", "[8, 16]"))
    with pytest.raises(OutputError, match="begun with another"), verb.folder_of(out, other, None, resume=True):
        pass
    with pytest.raises(OutputError, match="holds no search"), verb.folder_of(tmp_path / "new", plan, None, resume=True):
        pass
    assert {SEARCH, RECIPE} <= set(os.listdir(out))


def test_a_pruned_run_drops_its_checkpoints(tmp_path: Path) -> None:
    def prunes() -> None:
        with create_run(tmp_path / "run", dump_recipe(recipes.load("quickstart", profile="smoke"))) as folder:
            (folder.path / "checkpoints" / "step-1").mkdir(parents=True)
            raise Pruned("not worth it")

    with pytest.raises(Pruned):
        prunes()
    assert RunFolder(tmp_path / "run").run["status"] == "pruned"
    assert not (tmp_path / "run" / "checkpoints").exists()
