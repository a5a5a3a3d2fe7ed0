"""Search files and their faults, and what is tried; without Keras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from searches import RATE, SIZE, SOUND, read

import recipes
from zoo import cli
from zoo.data.dataset import load_dataset
from zoo.errors import RecipeError
from zoo.recipe import dump_recipe
from zoo.sweep.outcome import Row
from zoo.sweep.plots import parallel
from zoo.sweep.reading import read_kept, read_plan, refuse_rows, texts_of
from zoo.sweep.space import Choice, Interval, combinations

REST: Any = {"epochs": 1, "seconds": 1.0, "attempts": 1, "worker": None, "error": None}
"""What a row of a trial has besides, whatever it is."""

# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted(Path(recipes.__file__).parent.glob("sweeps/*.yaml")), ids=lambda path: path.stem
)
def test_the_shipped_searches_are_sound(path: Path) -> None:
    plan = read_plan(path, cli.find_recipe)
    assert plan.search.name.startswith(path.stem)
    assert f"python -m zoo.sweep recipes/sweeps/{path.name}" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "where", "told"),
    [
        ("trails: 3", "9:1", "did you mean trials?"),
        ("pruner: medain", "9:9", "expected one of median, hyperband, none"),
        ("trials: '3'", "9:9", "expected a whole number above 0"),
        ("search: {}", "9:9", "expected keys of the recipe"),
        (f"search: {{{SIZE}: 8}}", "9:", "expected a list of two values or more, or a range"),
        (f"search: {{{SIZE}: [8, 8]}}", "9:", "got 8 twice"),
        (f"search: {{{SIZE}: {{low: 8}}}}", "9:", "high: got nothing"),
        (f"search: {{{SIZE}: {{low: 8, high: 8}}}}", "9:", "expected more than low"),
        (f"search: {{{RATE}: {{low: 0.0, high: 1.0e-3, log: true}}}}", "9:", "expected more than 0 with log"),
        (f"search: {{{RATE}: {{low: 1.0e-5, high: .nan}}}}", "9:", "expected a finite number"),
        ("search: {training.batch_sise: [8, 16]}", "9:10", "did you mean batch_size?"),
        (f"search: {{{SIZE}: [8, 16.5]}}", "9:35", "expected a whole number"),
        (f"search: {{{SIZE}: {{low: 8, high: 100000}}}}", "9:", "at most 65536"),
        ("search: {training.schedule.warmup: {low: 0.1, high: 500}}", "9:", "a share of all steps"),
        ("search: {training.accumulate: [1, 3]}", "9:", "expected a divisor"),
        ("search: {tokens.max_length: [16, 4096]}", "9:", "positions"),
        ("search: {data.limit: [{train: 100}, {}]}", "9:10", "expected the same rows in all trials"),
        ("search: {seed: [0, 1]}", "9:10", "further seeds of the best recipe"),
        ("search: {model.backbone.vocabulary: [nano_films, nano_flims]}", "9:", "nano_flims"),
        ("search: {backend: [jax, torch]}", "9:10", "one backend for all trials"),
        (
            "search: {training.schedule: [{}, {type: cosine}], training.schedule.warmup: [0.1, 0.2]}",
            "9:",
            "leave one out",
        ),
        ("search: {training.lora: [null, {rnak: 8}]}", "9:", "did you mean rank?"),
        (f"sampler: grid\nsearch: {{{RATE}: {{low: 1.0e-5, high: 1.0e-3}}}}", "10:", "a range without step"),
        ("overrides: {training.epoch: 3}", "9:13", "did you mean epochs?"),
    ],
)
def test_a_fault_has_its_place(tmp_path: Path, given: str, where: str, told: str) -> None:
    key = given.split("\n")[-1].partition(":")[0]
    kept = {"search": SOUND[: SOUND.index("search:")], "trials": SOUND.replace("trials: 6\n", "")}.get(key, SOUND)
    lines = kept.rstrip("\n").count("\n")
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, kept.rstrip("\n") + "\n" * (8 - lines) + given)
    assert any(f"tried.yaml:{where}" in fault and told in fault for fault in caught.value.faults), caught.value


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    text = (
        f"name: tried\nrecipe: quickstart\nsearch:\n  {SIZE}: [0, 16]\n  tokens.max_lenght: [16, 32]\n  seed: [1, -1]\n"
    )
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, text)
    assert len(caught.value.faults) == 3


def test_values_that_go_with_each_other_alone_are_no_fault(tmp_path: Path) -> None:
    read(
        tmp_path,
        f"name: a\nrecipe: quickstart\nprofile: smoke\nsearch: {{{SIZE}: [6, 12], training.accumulate: [1, 3]}}",
    )
    with pytest.raises(RecipeError, match="got 3 beside batch_size: 8"):
        read(
            tmp_path,
            f"name: a\nrecipe: quickstart\nprofile: smoke\nsearch: {{{SIZE}: [6, 8], training.accumulate: [1, 3]}}",
        )


def test_a_recipe_of_several_trainings_is_not_searched(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="expected a recipe of one"):
        read(tmp_path, f"name: a\nrecipe: imdb_adapted\nprofile: smoke\nsearch: {{{SIZE}: [8, 16]}}")


def test_rows_are_asked_before_a_trial_is(tmp_path: Path) -> None:
    films = load_dataset(recipes.load("quickstart", profile="smoke"))
    plan = read(tmp_path, SOUND.replace("[8, 16, 32]", "[8, 5000]") + "  # no more\n")
    with pytest.raises(RecipeError, match="got 5000, expected at most the"):
        refuse_rows(plan, films)
    long = SOUND.replace(f"{SIZE}: [8, 16, 32]", "training.schedule.warmup: [0.1, 5000]")
    with pytest.raises(RecipeError, match="5,000 steps, expected fewer"):
        refuse_rows(read(tmp_path, long), films)


def test_a_folder_keeps_the_search(tmp_path: Path) -> None:
    plan = read(tmp_path, SOUND + "overrides: {training.epochs: 2}\n")
    for name, text in texts_of(plan, dump_recipe(plan.recipe)).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    kept = read_kept(tmp_path)
    assert kept.recipe == plan.recipe
    assert kept.parameters == plan.parameters


# --- what is tried ------------------------------------------------------------------------------


def test_what_the_recipe_has_is_the_first_point(tmp_path: Path) -> None:
    assert read(tmp_path).own == {RATE: 1e-3, SIZE: 16}
    assert read(tmp_path, SOUND.replace("[8, 16, 32]", "[8, 32]")).own == {RATE: 1e-3}


def test_groups_and_nothing_can_be_chosen(tmp_path: Path) -> None:
    text = SOUND.replace(f"{SIZE}: [8, 16, 32]", "training.lora: [null, {rank: 4}]")
    plan = read(tmp_path, text)
    lora = next(each for each in plan.parameters if isinstance(each, Choice))
    assert lora.labels == (None, '{"rank": 4}')
    assert plan.recipe_with(plan.values({"training.lora": lora.labels[1]})).training.lora.rank == 4


@pytest.mark.parametrize(
    ("given", "whole"),
    [("low: 8, high: 32", True), ("low: 8, high: 32, step: 8", True), ("low: 8, high: 32, log: true", True)],
)
def test_whole_numbers_are_drawn_for_keys_that_take_them(tmp_path: Path, given: str, whole: bool) -> None:
    plan = read(tmp_path, SOUND.replace("[8, 16, 32]", f"{{{given}}}"))
    assert [each.whole for each in plan.parameters if isinstance(each, Interval)] == [False, whole]


def test_a_grid_has_each_point_once_and_the_recipe_first(tmp_path: Path) -> None:
    text = SOUND.replace("trials: 6", "sampler: grid").replace(
        "low: 1.0e-4, high: 1.0e-2, log: true", "low: 1.0e-3, high: 3.0e-3, step: 1.0e-3"
    )
    plan = read(tmp_path, text)
    points = [plan.own, *plan.grid]
    assert plan.trials == len(points) == 9
    assert len({json.dumps(point, sort_keys=True) for point in points}) == 9


def test_a_large_space_is_looked_at_by_pairs() -> None:
    choices = [Choice(key=f"k{number}", values=tuple(range(4))) for number in range(6)]
    assert len(list(combinations(choices[:2], 1000))) == 16
    seen = {
        (a, point[f"k{a}"], b, point[f"k{b}"])
        for point in combinations(choices, 1000)
        for a in range(6)
        for b in range(a)
    }
    assert len(seen) == 15 * 16


# --- charts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("falling", [False, True])
def test_the_better_trial_is_the_stronger_and_the_higher_line(falling: bool) -> None:
    """Each ends where the bar of colours says its figure."""
    choice = Choice(key=SIZE, values=(8, 16, 32))
    rows = [
        Row(number=number, status="complete", value=value, values={SIZE: 8 * 2**number}, **REST)
        for number, value in enumerate([0.5, 0.9, 0.8])
    ]
    figure = Figure()
    with mpl.rc_context({"image.cmap": "Blues"}):
        parallel(rows, [choice], named="accuracy", kind="share", falling=falling).paint(figure)
    axes, bar = figure.axes
    lines = [each for each in axes.collections if isinstance(each, LineCollection)]
    ends = {line.get_segments()[0][0][1]: line.get_segments()[0][-1][1] for line in lines}
    heights = [ends[place] for place in (0.0, 0.5, 1.0)]  # of 8, 16 and 32
    assert heights == pytest.approx([1.0, 0.0, 0.25] if falling else [0.0, 1.0, 0.75])
    brightness = {line.get_segments()[0][-1][1]: line.get_colors()[0][:3].sum() for line in lines}
    assert min(brightness, key=brightness.__getitem__) == 1.0
    for row, height in zip(rows, heights, strict=True):
        on_bar = bar.transAxes.inverted().transform(bar.transData.transform((0.5, row.value)))[1]
        beside = axes.transAxes.inverted().transform(axes.transData.transform((0.0, height)))[1]
        assert on_bar == pytest.approx(beside)
    assert lines[-1].get_segments()[0][-1][1] == 1.0  # the best is drawn over the others
