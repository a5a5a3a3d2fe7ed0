"""Few rows a class, folds and changed copies: which rows each training has, and what recipes say of it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import recipes
from zoo import check
from zoo.data.augmenting import augmented
from zoo.data.dataset import load_dataset
from zoo.data.splitting import few, folded
from zoo.data.strings import Strings
from zoo.errors import DataError, RecipeError
from zoo.recipe import Recipe, dump_recipe, recipe_from
from zoo.recipe.little_data import Augment

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


TEXT = "it was a film that  nobody had asked for and everybody went to see twice in a week"


def copies_of(text: str, **rates: float) -> list[list[str]]:
    """Words of 100 changed copies of a text."""
    asked, split = Augment(copies=100, **rates), load_dataset(films({})).train.take(np.array([0]))
    found = augmented(replace(split, texts=Strings.of([text])), asked, seed=0, family="bert")
    assert found.texts[0] == text
    assert len({*found.ids}) == 101
    assert set(found.labels.tolist()) == {int(split.labels[0])}
    assert all(copy != text for copy in found.texts[1:])
    return [copy.split() for copy in found.texts[1:]]


def slips(word: str) -> set[str]:
    """What a word becomes where two neighbours change places, one character is left out, or one stands twice."""
    ends = range(len(word))
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in ends[:-1]}
    dropped = {word[:i] + word[i + 1 :] for i in ends} if len(word) > 1 else set()
    return swapped | dropped | {word[:i] + word[i] + word[i:] for i in ends}


def test_each_rule_changes_words_as_it_says() -> None:
    words = TEXT.split()
    masked = copies_of(TEXT, mask=0.3)
    assert all(now in (word, "[MASK]") for copy in masked for word, now in zip(words, copy, strict=True))
    share = np.mean([now == "[MASK]" for copy in masked for now in copy])
    assert share == pytest.approx(0.3, abs=0.045)  # four deviations of 1,800 words

    typos = copies_of(TEXT, typo=0.3)
    changed = [(word, now) for copy in typos for word, now in zip(words, copy, strict=True) if word != now]
    assert all(now in slips(word) for word, now in changed)
    assert {len(now) - len(word) for word, now in changed} == {-1, 0, 1}

    dropped = copies_of(TEXT, drop=0.3)
    for copy in dropped:
        left = iter(words)
        assert all(word in left for word in copy)  # the same order
    assert np.mean([len(copy) for copy in dropped]) == pytest.approx(0.7 * len(words), abs=0.045 * len(words))
    assert min(map(len, copies_of("two words", drop=0.9))) == 1

    swapped = copies_of(TEXT, swap=0.02)  # hardly ever two
    assert all(sorted(copy) == sorted(words) for copy in swapped)
    pairs = [zip(words, copy, strict=True) for copy in swapped]
    places = [[place for place, (word, now) in enumerate(pair) if word != now] for pair in pairs]
    assert sum(len(at) == 2 and at[1] == at[0] + 1 for at in places) > 75
    assert len({at[0] for at in places}) > 12


def test_copies_are_of_training_rows_alone() -> None:
    asked = {"copies": 2, "share": 0.5, "swap": 0.1, "drop": 0.1, "mask": 0.1, "typo": 0.1}
    plain, data = load_dataset(films({})), load_dataset(films({"data.augment": asked}))
    rows = len(plain.train)
    assert data.train.texts[:rows] == plain.train.texts
    assert data.copies == len(data.train) - rows
    assert data.copies / 2 == pytest.approx(rows / 2, abs=3 * np.sqrt(rows / 4))
    assert (data.validation.texts, data.test.texts) == (plain.validation.texts, plain.test.texts)
    label = dict(zip(plain.train.ids, plain.train.labels, strict=True))
    assert all(label[key.partition("+")[0]] == own for key, own in zip(data.train.ids, data.train.labels, strict=True))
    # A row's copies do not depend on the other rows.
    fewer = load_dataset(films({"data.augment": asked, "data.limit": {"train": 100}})).train
    both = dict(zip(data.train.ids, data.train.texts, strict=True))
    same = [key for key in fewer.ids if "+" in key and key in both]
    assert len(same) > 30
    assert all(both[key] == text for key, text in zip(fewer.ids, fewer.texts, strict=True) if key in both)
    another = load_dataset(films({"data.augment": asked, "seed": 1}))
    assert another.sha256 != data.sha256 == load_dataset(films({"data.augment": asked})).sha256
    roberta = {"family": "roberta", "num_layers": 1, "num_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}
    roberta |= {"vocabulary": "nano_bpe"}
    other = load_dataset(films({"model.backbone": roberta, "data.augment": {"mask": 0.5}}))
    assert "<mask>" in other.train.texts[-1]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data.few_shot": {"draw": 6}}, "got 6, expected at most 5, the draws"),
        ({"data.few_shot": {"draws": 1}}, "got 1, expected"),
        ({"data.folds": 3, "data.fold": 4}, "got 4, expected at most 3, the folds"),
        ({"data.fold": 1}, "got 1, expected null without folds"),
        ({"data.folds": 3, "data.few_shot": FEW}, "got 3 beside few_shot, expected one of the two"),
        ({"data.augment": {}}, "got none of swap, drop, mask and typo, expected one at least"),
        ({"data.augment": {"swap": 0.6, "typo": 0.6}}, "got 1.2 with drop, mask and typo, expected at most 1"),
        (
            {"data": {"dataset": "smoke_names", "augment": {"swap": 0.1}}, "task": "tokens", "model.head": {}},
            "got 1 copies, expected null with head tokens: its labels are of words",
        ),
        (
            {"data.augment": {"swap": 0.1}, "task": "masked", "model.head": {"type": "masked", "dropout": None}},
            "expected null with head masked: it hides others of its tokens",
        ),
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
