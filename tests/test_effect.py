"""benchmarks/effect.py: questions that can be asked, commands that say what they should, and the table of answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import recipes
from benchmarks import effect

NAMES = sorted(path.stem for path in effect.QUESTIONS.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_way_is_a_recipe(name: str) -> None:
    for question in effect.questions(name).values():
        for way in question.ways.values():
            wanted = effect.settings(question, way, 3)
            given = dict(wanted["set"])
            if question.rows is not None:
                given |= {"data.dataset": None, "data.files": {"train": "rows.csv"}}
            recipe = recipes.load(wanted["recipe"], profile=wanted["profile"], overrides=given)
            assert recipe.seed == 3
            assert all(stage.seed == 3 for stage in recipe.staged())


def test_a_command_is_what_zoo_run_takes() -> None:
    question = next(iter(effect.questions("tasks").values()))
    words = effect.command(effect.settings(question, next(iter(question.ways.values())), 1), Path("out"), Path("r.csv"))
    assert words[2:7] == ["zoo.run", "recipes/imdb_bert.yaml", "--out", "out", "--profile"]
    assert 'data.files={"train": "r.csv"}' in words
    assert words[-1] == 'data.files={"train": "r.csv"}'
    assert "seed=1" in words


def test_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Means, differences from the first way of the same seed, what was run under other settings left out, and a way
    that another question has run too. Where runs are missing the table says so."""
    plain = effect.Way()
    ways = {"plain": plain, "with_it": effect.Way(set={"training.epochs": 2}, figures={"f1": "own.f1"})}
    asked = effect.Question(asks="Does it help?", recipe="imdb_bert", figures=("f1",), seeds=3, ways=ways)
    other = asked.model_copy(
        update={"asks": "Does that?", "ways": {"plain": plain, "with_that": effect.Way(set={"training.epochs": 3})}}
    )
    monkeypatch.setattr(effect, "questions", lambda name: {"it": asked, "that": other})
    monkeypatch.setattr(effect, "RESULTS", tmp_path)
    rows: list[dict[str, Any]] = []

    def add(question: str, kind: str, values: list[float]) -> None:
        for seed, value in enumerate(values):
            row = {"question": question, "way": kind, "seed": seed, "test": {"f1": value, "own.f1": value}}
            of = {"it": asked, "that": other}[question]
            rows.append(row | {"settings": effect.settings(of, of.ways[kind], seed)})
        (tmp_path / "any.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    add("it", "plain", [0.5, 0.6, 0.7])
    rows.append({**rows[0], "settings": {}, "test": {"f1": 9.0}})
    add("it", "with_it", [0.6, 0.7, 0.8])
    told = effect.table("any")
    assert "| plain | f1 | 3 | 0.6000 | 0.1000 |  |" in told
    assert "| with it | f1 | 3 | 0.7000 | 0.1000 | +0.1000 (+0.1000 to +0.1000), better |" in told
    assert "Does that?" not in told
    assert "Not measured" not in told
    add("that", "with_that", [0.8])
    told = effect.table("any").partition("Does that?")[2]
    assert "Not measured to its end: of 3 runs a way there are of with that 1." in told
    assert "| plain | f1 | 3 | 0.6000 | 0.1000 |  |" in told
    assert "| with that | f1 | 1 | 0.8000 |  | too few runs |" in told


def test_another_precision_is_not_compared() -> None:
    rows = [{"question": "it", "precision": "bfloat16"}, {"question": "other", "precision": "float32"}]
    effect.refuse_mixture("it", "bfloat16", rows)
    effect.refuse_mixture("new", "float32", rows)
    with pytest.raises(SystemExit, match="it: got a run in float32, expected bfloat16"):
        effect.refuse_mixture("it", "float32", rows)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([0.1], "too few runs"),
        ([0.1, -0.1], "+0.0000 (-1.2706 to +1.2706), within noise"),
        ([-0.1, -0.1, -0.1], "-0.1000 (-0.1000 to -0.1000), worse"),
    ],
)
def test_a_difference_in_words(values: list[float], told: str) -> None:
    """Student's t with one degree of freedom is 12.706 at 97.5%: 12.706 times 0.1414 by the root of two is 1.2706."""
    assert effect.difference(values) == told
    other = {"better": "worse", "worse": "better"}
    *number, word = told.rpartition(", ")
    assert effect.difference(values, falling=True) == "".join([*number, other.get(word, word)])
    assert {"loss", "perplexity"} < effect.FALLING
    assert "accuracy" not in effect.FALLING
