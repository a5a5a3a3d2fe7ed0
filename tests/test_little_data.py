"""Few rows a class, in several draws: which rows each training has, and what recipes say of it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import recipes
from zoo import check
from zoo.data.dataset import load_dataset
from zoo.data.splitting import few, folded
from zoo.errors import DataError, RecipeError
from zoo.recipe import Recipe, dump_recipe, recipe_from

FEW: dict[str, Any] = {"rows": 16, "draws": 3}


def films(changes: dict[str, Any]) -> Recipe:
    return recipes.load("quickstart", profile="smoke", overrides=changes)


def test_draws_have_other_rows_until_all_have_come() -> None:
    strata = np.array([0] * 10 + [1] * 4)
    draws = [few(strata, 3, number, 0, "few train") for number in range(4)]
    assert all(np.bincount(strata[draw]).tolist() == [3, 3] for draw in draws)
    assert np.logical_or.reduce(draws).all()
    assert not (draws[0] & draws[1] | draws[1] & draws[2] | draws[0] & draws[2])[:10].any()
    assert few(strata, 20, 1, 0, "few train").all()


def test_each_draw_learns_from_other_rows_and_is_judged_on_the_same() -> None:
    recipe = films({"data.few_shot": FEW})
    assert list(recipe.parts) == ["draw-1", "draw-2", "draw-3"]
    draws = [load_dataset(part) for part in recipe.parts.values()]
    whole = load_dataset(films({}))
    for draw in draws:
        assert np.bincount(draw.train.labels).tolist() == [16, 16]
        assert np.bincount(draw.validation.labels).tolist() == [16, 16]
        assert draw.test.ids == whole.test.ids
        assert {*draw.train.ids} <= {*whole.train.ids}
        assert {*draw.validation.ids} <= {*whole.validation.ids}
    assert all({*one.train.ids}.isdisjoint(two.train.ids) for one, two in pairwise(draws))
    # Who asks for the rows of all gets those of the first; a part is a recipe like any other.
    assert load_dataset(recipe).train.ids == draws[0].train.ids
    part = recipe.parts["draw-2"]
    assert part.parts == {}
    again = load_dataset(films({"data.few_shot": {**FEW, "draw": 2}}))
    assert again.sha256 == draws[1].sha256 != load_dataset(films({"data.few_shot": FEW, "seed": 1})).sha256
    assert "draw: 2" in dump_recipe(part)


def test_folds_deal_out_every_stratum_alike() -> None:
    strata = np.array([0] * 11 + [1] * 7 + [2])
    found = folded(strata, 3, 0)
    assert np.ptp(np.bincount(found)) <= 1
    assert all(np.ptp(np.bincount(found[strata == each], minlength=3)) <= 1 for each in range(3))
    assert not np.array_equal(found, folded(strata, 3, 1))


def test_every_row_of_train_is_held_out_once() -> None:
    recipe = films({"data.folds": 3, "data.limit": {"train": 100, "test": 5}})
    folds = [load_dataset(part) for part in recipe.parts.values()]
    plain = load_dataset(films({"data.limit": {"train": 100}}))
    rows = {*plain.train.ids, *plain.validation.ids}
    assert sorted(key for fold in folds for key in fold.test.ids) == sorted(rows)
    for fold in folds:
        assert {*fold.train.ids, *fold.validation.ids, *fold.test.ids} == rows
        assert len(fold.train) + len(fold.validation) + len(fold.test) == 100
        assert np.ptp(np.bincount(fold.test.labels)) <= 1
        assert any("80 rows are left aside" in note for note in fold.notes)
    alone = films({"data.folds": 3, "data.limit": {"train": 100}, "data.fold": 2})
    assert load_dataset(alone).sha256 == folds[1].sha256


def test_too_few_rows_to_draw() -> None:
    with pytest.raises(DataError, match=r"train has too few rows of negative \(180\), .* data\.few_shot\.rows=180"):
        load_dataset(films({"data.few_shot": {"rows": 1000}}))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data.few_shot": {"draw": 6}}, "got 6, expected at most 5, the draws"),
        ({"data.few_shot": {"draws": 1}}, "got 1, expected"),
        ({"data.folds": 3, "data.fold": 4}, "got 4, expected at most 3, the folds"),
        ({"data.fold": 1}, "got 1, expected null without folds"),
        ({"data.folds": 3, "data.few_shot": FEW}, "got 3 beside few_shot, expected one of the two"),
        ({"data.folds": 3, "model.head": {"type": "binary", "threshold": "tune"}}, "got tune beside data.folds"),
        (
            {"data": {"dataset": "smoke_stars", "few_shot": FEW}, "task": "regression", "model.head": {}},
            "got 16 rows a class, expected null with head regression",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        films(changes)


def test_of_several_tasks() -> None:
    several = recipes.load("multitask", profile="smoke").model_dump(exclude_unset=True)
    first, second, *_ = (each["data"] for each in several["tasks"].values())
    first["few_shot"], second["folds"] = FEW, 3
    with pytest.raises(RecipeError) as caught:
        recipe_from(several)
    assert [fault.partition("expected ")[2] for fault in caught.value.faults] == [
        "null: rows are drawn for one task alone",
        "null: rows are held out of one task alone",
    ]


def test_the_check_knows_how_often_it_trains() -> None:
    report = check.examine(
        recipes.path("quickstart"), profile="smoke", overrides=["data.few_shot={rows: 16, draws: 3}"]
    )
    assert report.faults == []
    assert report.estimate["trainings"] == 3
    assert report.estimate["steps"] == 8
