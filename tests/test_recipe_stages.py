"""Recipes with stages: each stage is a whole recipe, checked on reading and told with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo import check
from zoo.data.against_catalog import dimensions, disagreements
from zoo.errors import OutputError, RecipeError
from zoo.recipe import dump_recipe, load_recipe
from zoo.runs.opening import open_run

NANO = "{family: bert, num_layers: 3, num_heads: 2, hidden_dim: 32, intermediate_dim: 64, vocabulary: nano_films}"
MINI = "minilm_l6_en_uncased"
GOOD = f"""\
name: mine
data: {{dataset: smoke_films}}
tokens: {{max_length: 32}}
model:
  backbone: {NANO}
training: {{epochs: 3, batch_size: 16}}
expected: {{accuracy: 0.9, source: us}}
stages:
  - name: adapt
    task: regression
    data: {{files: {{train: rows.csv}}}}
    training.epochs: 1
  - name: classify
    model.head.dropout: 0.3
    model.backbone.dropout: 0.2
profiles:
  quick: {{training.batch_size: 8}}
  one:
    stages:
      - {{name: only, seed: 5}}
"""


def written(folder: Path, text: str = GOOD) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(folder: Path, old: str, new: str) -> list[str]:
    assert old in GOOD
    with pytest.raises(RecipeError) as caught:
        load_recipe(written(folder, GOOD.replace(old, new)))
    return [fault.replace(f"{folder}/mine.yaml:", "") for fault in caught.value.faults]


def test_stages_are_whole_recipes(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path), profile="quick")
    adapt, classify = recipe.staged()
    assert (adapt.name, adapt.task, adapt.training.epochs, adapt.training.batch_size) == (
        "mine-adapt",
        "regression",
        1,
        8,
    )
    assert adapt.data.files is not None
    assert adapt.data.files.train == str(tmp_path / "rows.csv")
    assert adapt.model.head.type == "regression"
    assert (classify.task, classify.training.epochs, classify.model.head.dropout) == ("classification", 3, 0.3)
    # The sizes of what the stage before ends with.
    assert classify.model.backbone == adapt.model.backbone.model_copy(update={"dropout": 0.2})
    assert (recipe.profile, classify.profile) == ("quick", "quick")
    assert [stage.name for stage in load_recipe(tmp_path / "mine.yaml", profile="one").staged()] == ["mine-only"]
    alone = recipe.override({"stages": []})
    assert alone.staged() == (alone,)
    with pytest.raises(RecipeError, match=r"mine has adapt, classify, expected one recipe: take one of recipe\.staged"):
        zoo.load_data(recipe)


def test_expected_is_that_of_the_last(tmp_path: Path) -> None:
    adapt, classify = load_recipe(written(tmp_path)).staged()
    assert adapt.expected is None
    assert classify.expected is not None


def test_a_stage_finds_the_one_before(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path))
    _, classify = recipe.staged(tmp_path / "out")
    before = tmp_path / "out" / "1-adapt"
    assert (classify.model.backbone.preset, classify.model.backbone.dropout) == (str(before), 0.2)
    assert classify.model.backbone.num_layers is None
    # In a run's folder the run beside it is named from there.
    folder = tmp_path / "out" / "2-classify"
    folder.mkdir(parents=True)
    text = dump_recipe(classify, folder)
    assert "preset: ../1-adapt" in text
    (folder / "recipe.yaml").write_text(text)
    assert load_recipe(folder / "recipe.yaml") == classify


def test_written_out_they_are_the_same(tmp_path: Path) -> None:
    """Though the defaults that are then written would be those of the recipe's own task."""
    recipe = load_recipe(written(tmp_path))
    (tmp_path / "again.yaml").write_text(dump_recipe(recipe))
    again = load_recipe(tmp_path / "again.yaml")
    assert again == recipe
    assert again.staged() == recipe.staged()
    assert again.staged(tmp_path) == recipe.staged(tmp_path)


def test_a_teacher_and_some_of_its_layers(tmp_path: Path) -> None:
    text = GOOD.replace("    task: regression\n    data: {files: {train: rows.csv}}\n", "").replace(
        "    model.head.dropout: 0.3\n", "    training.distil: {teacher: adapt}\n    model.backbone.layers: [0, 2]\n"
    )
    third = "  - {name: smaller, model.backbone.layers: [1], training.distil.teacher: ./a}\n"
    text = text.replace("profiles:", third + "profiles:")
    recipe = load_recipe(written(tmp_path, text))
    found = [(s.model.backbone.num_layers, s.training.distil and s.training.distil.teacher) for s in recipe.staged()]
    assert found == [(3, None), (2, "stage://adapt"), (1, str(tmp_path / "a"))]
    _, student, smaller = recipe.staged(tmp_path)
    assert student.training.distil is not None
    assert (student.model.backbone.layers, smaller.model.backbone.layers) == ((0, 2), (1,))
    assert student.training.distil.teacher == str(tmp_path / "1-adapt")
    assert "teacher: ../1-adapt" in dump_recipe(student, tmp_path / "2-classify")
    # Of a preset, too, the layers are those of what the stages began with.
    asked = {"family": "bert", "preset": MINI}
    chosen = recipe.override({"model.backbone": {**asked, "layers": [1, 3, 5]}})
    assert [stage.model.backbone.layers for stage in chosen.staged()] == [(1, 3, 5), (1, 5), (5,)]
    assert [size and size.num_layers for size in (dimensions(each.model.backbone) for each in chosen.staged())] == [
        3,
        2,
        1,
    ]
    (clash,) = disagreements(recipe.override({"model.backbone": {**asked, "layers": [6]}, "stages": []}))
    assert clash == (
        ("model.backbone.layers", "model.backbone.preset"),
        "got 6, expected below 6, the layers of " + MINI,
    )


def test_a_stage_with_its_own_backbone(tmp_path: Path) -> None:
    text = GOOD.replace("    model.backbone.dropout: 0.2\n", "    model.backbone.num_layers: 1\n")
    _, classify = load_recipe(written(tmp_path, text)).staged(tmp_path)
    assert (classify.model.backbone.preset, classify.model.backbone.num_layers) == (None, 1)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("epochs: 1", "epochs: 0", "12:22  training.epochs: got 0, expected a whole number above 0"),
        ("name: adapt", "nam: adapt", "9:5  stages[0].name: got nothing, expected a name of"),
        ("name: adapt", "name: classify", "9:3  stages: got classify twice"),
        (
            "head.dropout: 0.3",
            "head.init: preset",
            "14:22  model.head.init: got preset, expected seed: the stage",
        ),
        ("model.head.dropout: 0.3", "backend: torch", "14:5  backend: got it in a profile, an override or a stage"),
        ("model.head.dropout: 0.3", "stages: []", "14:5  stages: got it in a profile, an override or a stage"),
        ("epochs: 3", "epoch: 3", "6:12  training.epoch: got an unknown key"),
        ("max_length: 32", "max_length: 700", "3:22  tokens.max_length: got 700, expected at most the backbone's"),
        (
            "model.head.dropout: 0.3",
            "model.backbone.layers: [0, 3]",
            "14:28  model.backbone.layers: got 3, expected below 3",
        ),
        (
            "model.head.dropout: 0.3",
            "training.distil.teacher: adap",
            "14:30  training.distil.teacher: got adap, expected o",
        ),
        (
            "model.head.dropout: 0.3",
            "training.distil.teacher: adapt",
            "14:30  training.distil.teacher: got adapt, which le",
        ),
    ],
)
def test_faults_of_stages(tmp_path: Path, old: str, new: str, found: str) -> None:
    (fault,) = faults_of(tmp_path, old, new)
    assert fault.startswith(found)
    assert fault.endswith(("(in stage adapt)", "(in stage classify)")) == (found[:2] in ("12", "14"))


def test_check_looks_at_each(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "".join(f"a film {n},{n}\n" for n in range(40)))
    report = check.examine(written(tmp_path))
    assert report.faults == []
    assert [text for topic, text in report.notes if topic == "stage"] == ["1 of 2: adapt", "2 of 2: classify"]
    assert report.estimate["adapt"]["steps"] == 2
    assert report.estimate["classify"]["steps"] == 69
    wrong = GOOD.replace("name: classify\n", "name: classify\n    data.dataset: smoke_star\n")
    (tmp_path / "rows.csv").write_text("text,label\na,b\n")
    (fault, of_rows) = check.examine(written(tmp_path, wrong)).faults
    assert "smoke_star" in str(fault)
    assert str(fault).endswith("(in stage classify)")
    assert "rows.csv" in str(of_rows)


def test_a_run_stands_for_its_last_stage(tmp_path: Path) -> None:
    stages: list[dict[str, Any]] = [
        {"name": "adapt", "folder": "1-adapt", "status": "running"},
        {"name": "classify", "folder": "2-classify", "status": "waiting"},
    ]
    (tmp_path / "run.json").write_text(json.dumps({"status": "running", "stages": stages}))
    with pytest.raises(OutputError, match=r"stands at adapt \(running\), expected it at classify, .* --resume"):
        open_run(tmp_path)
    (tmp_path / "2-classify").mkdir()
    (tmp_path / "2-classify" / "run.json").write_text("{}")
    assert open_run(tmp_path).path == tmp_path / "2-classify"
    stages[1]["folder"] = "../2-classify"
    (tmp_path / "run.json").write_text(json.dumps({"stages": stages}))
    with pytest.raises(OutputError, match=r"run\.json is damaged \(stages\.1\.folder"):
        open_run(tmp_path)
