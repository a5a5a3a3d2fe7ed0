"""Several tasks at once: recipes, rows, sampling, figures. Losses and gradients are checked in tests/on_backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from zoo.data.against_catalog import disagreements, training_rows
from zoo.data.dataset import load_dataset, missing_data
from zoo.data.mixing import rows_by_task, rows_of_epoch
from zoo.errors import DataError, RecipeError
from zoo.recipe import Recipe, dump_recipe, load_recipe, recipe_from
from zoo.recipe.several import Equal, Proportional, Sampling, Temperature
from zoo.score import pairing
from zoo.tasks import Joint, dump_task, task_of_run

SAMPLING: TypeAdapter[Sampling] = TypeAdapter(Sampling)
PLAIN: dict[str, Any] = {
    "name": "several",
    "tasks": {
        "films": {"data": {"dataset": "smoke_films"}},
        "stars": {"task": "regression", "data": {"dataset": "smoke_stars"}, "weight": 0.5},
        "feelings": {"task": "multilabel", "data": {"dataset": "smoke_feelings"}, "head": {"threshold": "tune"}},
    },
    "model": {
        "backbone": {
            "family": "bert",
            "num_layers": 1,
            "num_heads": 2,
            "hidden_dim": 8,
            "intermediate_dim": 16,
            "vocabulary": "nano_films",
        }
    },
}


def recipe(changes: dict[str, Any] | None = None) -> Recipe:
    return recipe_from(PLAIN, overrides=changes or {})


@pytest.fixture(scope="module")
def joint() -> Joint:
    task = load_dataset(recipe()).task
    assert isinstance(task, Joint)
    return task


@pytest.fixture(scope="module")
def tested(joint: Joint) -> tuple[np.ndarray, np.ndarray]:
    """Targets of the test split, and values that random outputs give them."""
    targets = load_dataset(recipe()).test.labels
    outputs = np.random.default_rng(0).normal(size=(len(targets), joint.units))
    return targets, joint.values(outputs)


class TestRecipe:
    def test_each_task_is_a_recipe_of_its_own(self, tmp_path: Path) -> None:
        found = recipe({"training.monitor": "stars.r2", "sampling": {"type": "temperature"}})
        assert found.monitor == "stars.r2"
        assert recipe().monitor == "mean"
        own = found.of_tasks()
        assert [(name, each.task, each.model.head.type) for name, each in own.items()] == [
            ("films", "classification", "classifier"),
            ("stars", "regression", "regression"),
            ("feelings", "multilabel", "multilabel"),
        ]
        assert own["stars"].monitor == "loss"
        assert training_rows(found) == sum(training_rows(each) or 0 for each in own.values())
        assert missing_data(found) == []
        (tmp_path / "recipe.yaml").write_text(dump_recipe(found), encoding="utf-8")
        again = load_recipe(tmp_path / "recipe.yaml")
        assert again == found
        assert again.of_tasks() == own

    def test_files_of_tasks_lie_beside_the_recipe(self, tmp_path: Path) -> None:
        text = json.dumps(PLAIN | {"profiles": {"own": {"tasks.films.data": {"files": {"train": "a.csv"}}}}})
        (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
        files = load_recipe(tmp_path / "recipe.yaml", profile="own").tasks["films"].data.files
        assert files is not None
        assert files.train == str(tmp_path / "a.csv")

    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"tasks.films.task": "tokens"}, "tasks.films.task: got tokens, expected a task with one answer a text"),
            ({"tasks.films.task": "masked"}, "tasks.films.task: got masked, expected a task with one answer a text"),
            ({"tasks.films.weigth": 2.0}, "tasks.films.weigth: got an unknown key"),
            ({"tasks.films.head": {"type": "regression"}}, "tasks.films.head.type: got regression, a head for"),
            ({"tasks.films.head": {"init": "preset"}}, "tasks.films.head.init: got preset, expected seed"),
            ({"tasks.films.data": {}}, "tasks.films.data.dataset: got nothing"),
            ({"data.dataset": "smoke_films"}, "data: got data beside tasks"),
            ({"tasks": {"films": {"data": {"dataset": "smoke_films"}}}}, "tasks: got films alone"),
            ({"tasks": {}, "task": "joint"}, "tasks: got nothing, expected two tasks"),
            ({"task": "classification"}, "task: got classification beside tasks"),
            ({"model.head": {"dropout": 0.2}}, "model.head.dropout: got 0.2, expected null"),
            ({"training.monitor": "films.r2"}, "training.monitor: got films.r2, expected one of mean, loss, films."),
            ({"training.packing": True, "sampling": {"type": "equal"}}, "training.packing: got true beside sampling"),
            ({"expected": {"source": "x", "accuracy": 0.5}}, "expected.accuracy: got 0.5, expected null"),
            (
                {"expected": {"source": "x", "tasks": {"stars": {"f1": 0.5}}}},
                "expected.tasks.stars.f1: got 0.5, expected null",
            ),
        ],
    )
    def test_refused(self, changes: dict[str, Any], fault: str) -> None:
        with pytest.raises(RecipeError) as error:
            recipe(changes)
        assert any(fault in each for each in error.value.faults), error.value.faults

    def test_sampling_without_tasks_is_refused(self) -> None:
        plain = {key: value for key, value in PLAIN.items() if key != "tasks"} | {"data": {"dataset": "smoke_films"}}
        with pytest.raises(RecipeError, match="sampling: got equal, expected null without `tasks`"):
            recipe_from(plain | {"sampling": {"type": "equal"}})

    def test_pairs_beside_single_texts_are_refused(self) -> None:
        mixed = recipe({"tasks.films.data": {"files": {"train": "a.csv", "text": ["a", "b"]}}})
        assert [clash.keys[0] for clash in disagreements(recipe())] == []
        assert [clash.keys[0] for clash in disagreements(mixed)] == ["tasks"]
        other = recipe({"tasks.stars.data.dataset": "smoke_films"})
        assert [clash.keys[0] for clash in disagreements(other)] == ["tasks.stars.head.type"]


class TestRows:
    def test_rows_of_all_tasks_one_after_another(self, joint: Joint) -> None:
        whole = load_dataset(recipe())
        for name, own in recipe().of_tasks().items():
            alone = load_dataset(own)
            for split in ("train", "validation", "test"):
                rows, found = getattr(whole, split), getattr(alone, split)
                chosen = joint.own_rows(rows.labels)[name]
                assert [rows.ids[row] for row in chosen] == [f"{name}/{key}" for key in found.ids]
                assert [rows.texts[row] for row in chosen] == found.texts
                np.testing.assert_array_equal(joint.own_targets(name, rows.labels[chosen]), found.labels)
            assert joint.tasks[name] == alone.task
        assert whole.rows == {
            split: sum(load_dataset(own).rows[split] for own in recipe().of_tasks().values()) for split in whole.rows
        }
        assert whole.sample()[0].id.split("/")[0] in joint.tasks

    def test_the_faults_of_all_tasks_are_told_at_once(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("text,label\nx,\ny,1\n", encoding="utf-8")
        files = {"files": {"train": str(tmp_path / "a.csv")}}
        with pytest.raises(DataError) as error:
            load_dataset(recipe({"tasks.films.data": files, "tasks.stars.data": files}))
        assert {fault.split(":")[0] for fault in error.value.faults} == {"films", "stars"}


class TestSampling:
    COUNTS = np.array([900, 90, 10])

    @pytest.mark.parametrize(
        ("sampling", "expected"),
        [
            (Proportional(), [900, 90, 10]),
            (Temperature(temperature=1.0), [900, 90, 10]),
            # Square roots of 900, 90 and 10 are 30, 9.49 and 3.16.
            (Temperature(temperature=2.0), [703, 222, 75]),
            (Equal(), [334, 333, 333]),
        ],
    )
    def test_shares(self, sampling: Any, expected: list[int]) -> None:
        np.testing.assert_allclose(rows_by_task(self.COUNTS, sampling), expected, atol=1)
        assert rows_by_task(self.COUNTS, sampling).sum() == 1000

    def test_all_rows_of_a_task_come_before_one_comes_again(self) -> None:
        groups = np.repeat([0, 1, 2], self.COUNTS)
        epochs = [rows_of_epoch(groups, Equal(), seed=3, epoch=epoch) for epoch in range(4)]
        seen = np.bincount(np.concatenate(epochs), minlength=1000)
        for task, wanted in enumerate(rows_by_task(self.COUNTS, Equal())):
            own = seen[groups == task]
            assert own.sum() == 4 * wanted
            assert own.max() - own.min() <= 1
        np.testing.assert_array_equal(epochs[2], rows_of_epoch(groups, Equal(), seed=3, epoch=2))
        assert (epochs[2] != rows_of_epoch(groups, Equal(), seed=4, epoch=2)).any()


class TestFigures:
    def test_they_are_those_of_each_task(
        self, joint: Joint, tested: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        targets, values = tested
        assert "feelings: the threshold of" in str(joint.untuned(targets))
        monkeypatch.setattr("zoo.tasks.thresholds.FEWEST", 1)
        tuned = joint.tuned(values, targets)
        assert tuned.tasks["feelings"].threshold != joint.tasks["feelings"].threshold
        found = tuned.figures(values, targets)
        losses, merits = [], []
        for name, rows in joint.own_rows(targets).items():
            own = tuned.tasks[name].figures(
                joint.own_values(name, values[rows]), joint.own_targets(name, targets[rows])
            )
            assert {key: found[f"{name}.{key}"] for key in own} == own
            losses.append((own["loss"], joint.weights[name] * len(rows)))
            merits.append(own[{"films": "accuracy", "stars": "r2", "feelings": "f1"}[name]])
        assert found["mean"] == pytest.approx(np.mean(merits))
        assert found["loss"] == pytest.approx(sum(a * b for a, b in losses) / sum(b for _, b in losses))
        assert set(joint.drawn) | set(joint.headline) <= set(joint.titles)
        assert {"mean", "films.accuracy"} <= joint.shares
        assert {"loss", "stars.mean_absolute_error"} <= joint.falling

    def test_rows_are_read_back(self, joint: Joint, tested: tuple[np.ndarray, np.ndarray]) -> None:
        targets, values = tested
        ids = load_dataset(recipe()).test.ids
        rows = [json.loads(json.dumps(row)) for row in joint.rows(ids, targets, values)]
        assert [row["id"] for row in rows] == ids
        truth, given = joint.of_rows(rows)
        np.testing.assert_array_equal(truth, targets)
        assert joint.figures(given, truth) == pytest.approx(joint.figures(values, targets), abs=1e-6)
        again = task_of_run({"task": json.loads(json.dumps(dump_task(joint)))})
        assert again == joint
        assert len(joint.tables(truth, given, most=12)) > 3
        assert {row[0] for row in joint.tables(truth, given, most=12)[0].rows} == set(joint.tasks)
        assert {mistake.label.split(":")[0] for mistake in joint.mistakes(truth, given, most=9).worst} == {*joint.tasks}
        first = [rows[place]["task"] for place in joint.showcase(given)[:3]]
        assert first == list(joint.tasks)
        assert set(joint.pictures(truth, given, [])) >= {"films_confusion_matrix", "stars_predicted"}

    def test_a_text_is_answered_by_all(self, joint: Joint, tested: tuple[np.ndarray, np.ndarray]) -> None:
        _, values = tested
        answer = joint.predictions(values[:1])[0]
        for name, task in joint.tasks.items():
            assert answer.fields()[name] == task.predictions(joint.own_values(name, values[:1]))[0].fields()
        assert [column for column, _ in answer.cells()][:2] == ["films_label", "films_negative"]
        assert answer.schema(joint.names)["films"]["properties"]["label"]["enum"] == ["negative", "positive"]
        assert "stars" in answer.told()[0]

    def test_training_is_told_by_task(self, joint: Joint, tested: tuple[np.ndarray, np.ndarray]) -> None:
        targets, _ = tested
        outputs = np.random.default_rng(1).normal(size=(len(targets), joint.units))
        rows = joint.own_rows(targets)["films"]
        ones = np.ones(len(targets))
        scaled = joint.scaled(targets)
        found = joint.means(joint.hits(outputs, scaled, ones), joint.counted(scaled, ones))
        right = outputs[rows, :2].argmax(axis=1) == targets[rows, 1]
        assert found["films.accuracy"] == pytest.approx(right.mean())
        assert joint.means(joint.hits(outputs[rows], scaled[rows], ones[rows]), 1.0).keys() == {"films.accuracy"}


class TestComparison:
    ROWS = (
        {"id": "films/test/0", "task": "films", "label": "good", "prediction": "good"},
        {"id": "films/test/1", "task": "films", "label": "bad", "prediction": "good"},
        {"id": "feelings/test/0", "task": "feelings", "label": ["joy"], "prediction": ["joy"]},
    )

    def test_rows_of_a_task_are_those_of_a_run_of_it_alone(self) -> None:
        alone = [
            {"id": f"test/{row}", "label": label, "prediction": "bad"} for row, label in enumerate(("good", "bad"))
        ]
        own = pairing.by_task(self.ROWS)
        assert [row["id"] for row in own["films"]] == ["test/0", "test/1"]
        found = pairing.compare_rows(own["films"], pairing.by_task(alone)[""])
        assert (found["rows"], found["only_first"], found["only_second"]) == (2, 1, 1)
        assert pairing.by_task([]) == {"": []}
