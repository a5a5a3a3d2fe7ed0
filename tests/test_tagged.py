"""A class a word: how rows are read, what is learned of a word, what is told and what is refused."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recipes
from zoo.data.catalog import vocabulary_folder
from zoo.data.dataset import load_dataset, read_labelled
from zoo.data.given import Texts
from zoo.data.tokens import Tokenizer, load_tokenizer
from zoo.errors import DataError, RecipeError
from zoo.explain.subject import Subject
from zoo.models import inference
from zoo.recipe import Recipe, notebook, recipe_from
from zoo.recipe.types import Tokens as Length
from zoo.score.ragged import Ragged
from zoo.tasks import dump_task, task_of_run
from zoo.tasks.tagged import Tagged
from zoo.tasks.tokens import Tokens

NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
TASK = Tokens(names=NAMES, scheme="iob2")
SENTENCES = [
    ("Ann Lee lives in New York.", [(0, 7, "PER"), (17, 25, "LOC")]),
    ("Nobody came.", []),
    ("Oslo is far, said Bo.", [(0, 4, "LOC"), (18, 20, "PER")]),
]


def recipe(files: dict[str, Any], head: dict[str, Any] | None = None, **more: Any) -> Recipe:
    backbone = {"family": "bert", "num_layers": 1, "num_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}
    return recipe_from(
        {
            "name": "own",
            "task": "tokens",
            "data": {"files": files, "deduplicate": False},
            "model": {"backbone": {**backbone, "vocabulary": "nano_uncased"}, **({"head": head} if head else {})},
            "training": {"batch_size": 4},
            **more,
        }
    )


def written(folder: Path, sentences: list[tuple[str, list[tuple[int, int, str]]]]) -> dict[str, Any]:
    path = folder / "rows.jsonl"
    rows = (
        {"text": text, "label": [{"start": a, "end": b, "label": kind} for a, b, kind in spans]}
        for text, spans in sentences
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"train": str(path)}


@cache
def tokenizer(vocabulary: str = "nano_uncased") -> Tokenizer:
    return load_tokenizer(vocabulary_folder(vocabulary))


def test_rows_of_spans_become_targets_of_words(tmp_path: Path) -> None:
    own = recipe(written(tmp_path, SENTENCES * 8))
    data = load_dataset(own)
    assert data.task == Tokens(names=("O", "B-LOC", "I-LOC", "B-PER", "I-PER"), scheme="iob2")
    split = data.train
    assert split.words is not None
    row = split.texts.index(SENTENCES[0][0])
    words = [split.texts[row][start:end] for start, end in split.words[row]]
    assert [*zip(words, data.task.label(split.labels[row]), strict=True)] == [
        *(("Ann", "B-PER"), ("Lee", "I-PER"), ("lives", "O"), ("in", "O")),
        *(("New", "B-LOC"), ("York", "I-LOC"), (".", "O")),
    ]
    assert data.rows == {"train": 20, "validation": 2, "test": 2}
    assert sum(data.label_counts["train"].values()) == sum((row > 0).sum() for row in split.labels)
    assert task_of_run({"task": json.loads(json.dumps(dump_task(data.task)))}) == data.task
    again, notes = read_labelled(own.data.files.train, own, data.task)  # type: ignore[union-attr]
    assert (len(again), notes) == (24, [])
    assert data.task.account({"all": again.labels})["label_counts"]["all"] == [88, 16, 8, 16, 8]
    path = tmp_path / "other.conll"
    path.write_text("Kim I-PER\nand O\nBo S-ORG\n")
    with pytest.raises(DataError, match="rows: line 1: got the tag B-ORG, expected one of O, B-LOC"):
        read_labelled(path, own, data.task, text="word", label=["tag"])
    path.write_text("Kim I-PER\nand O\nBo I-LOC\n")
    found, notes = read_labelled(path, own, data.task, text="word", label=["tag"])
    assert data.task.label(found.labels[0]) == ["B-PER", "O", "B-LOC"]
    assert not notes  # IOB1 has its own way to say it


def test_parts_of_speech_are_classes_without_entities(tmp_path: Path) -> None:
    path = tmp_path / "rows.conllu"
    path.write_text("1\tAnn\tAnn\tPROPN\n2\tsleeps\tsleep\tVERB\n\n" * 12)
    data = load_dataset(recipe({"train": str(path), "text": "form", "label": "upos"}))
    task = data.task
    assert (task.names, task.kinds, task.listed_names) == (("PROPN", "VERB"), (), "classes of words: PROPN, VERB")
    truth = data.train.labels
    values = tagged(task, truth.filled(np.where(np.arange(len(truth.flat)) == 0, 1 - truth.flat, truth.flat)))
    figures = task.figures(values, truth)
    assert figures["accuracy"] == 1 - 1 / len(truth.flat)
    assert figures["f1"] < 1
    assert [row["label"] for row in task.details(truth, values)["classes"]] == ["PROPN", "VERB"]
    prediction = task.predictions(values)[1]
    assert prediction.told()[0] == "Ann/PROPN sleeps/VERB"
    assert "entities" not in prediction.fields()


def tagged(task: Tokens, tags: Ragged) -> Tagged:
    """Values whose likeliest tags are these, of texts whose words are letters, or of the sentence above."""
    outputs = np.where(np.arange(len(task.names)) == tags.flat[:, None], 4.0, 0.0)
    places = [[(2 * place, 2 * place + 1) for place in range(length)] for length in tags.lengths]
    texts = ["Ann sleeps" if len(task.names) == 2 else "a " * length for length in tags.lengths]
    if len(task.names) == 2:
        places = [[(0, 3), (4, 10)]] * len(tags)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    return Tagged(
        probabilities=tags.filled(shares),
        seen=tags.filled(np.ones(len(tags.flat), bool)),
        words=Ragged.of(places, np.int32, item=(2,)),
        texts=texts,
    )


@given(
    texts=st.lists(st.text(st.sampled_from("ab film'-.我 "), min_size=1, max_size=40), min_size=1, max_size=4),
    room=st.integers(4, 12),
    windows=st.booleans(),
    pieces=st.sampled_from(["first", "all"]),
    vocabulary=st.sampled_from(["nano_uncased", "nano_bpe"]),
    data=st.data(),
)
def test_every_labelled_word_is_scored_once(
    texts: list[str], room: int, windows: bool, pieces: Any, vocabulary: str, data: st.DataObject
) -> None:
    """A model that gives every token its label gets every word right that has a token of its own."""
    task = Tokens(names=NAMES, scheme="iob2", pieces=pieces)
    rows = Texts.worded(texts)
    assert rows.words is not None
    count = len(rows.words.flat)
    drawn = data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count))
    targets = rows.words.filled(np.array(drawn, np.int32))
    config = Length(max_length=room, long="window" if windows else "cut")
    table = tokenizer(vocabulary).encode(texts, None, config, spans=True)
    placed = task.placed(targets, table, rows)
    assert placed.shape == table.ids.shape
    if pieces == "first":
        assert (placed >= 0).sum() <= count
    outputs = np.where(np.arange(5) == placed[:, None], 9.0, 0.0).astype(np.float32)
    values = task.values(inference.by_text(outputs, task, table, rows, pool="mean"))
    assert len(values) == len(texts)
    assert len(values.probabilities.flat) == count
    np.testing.assert_allclose(values.probabilities.flat.sum(axis=1), 1.0)
    decided, seen = task.decided(values).flat, values.seen.flat
    assert (decided[~seen] == 0).all()  # outside
    own = seen & (values.probabilities.flat.max(axis=1) > 0.9)
    assert (decided[own] == targets.flat[own]).all() or vocabulary == "nano_bpe"  # whose pieces two words may share
    if count:
        figures = task.figures(values, targets)
        assert figures["accuracy"] == pytest.approx((decided == targets.flat).mean())
        assert (figures["rows"], figures["words"]) == (len(texts), count)


def test_figures_rows_and_what_is_shown() -> None:
    truth = Ragged.of([[1, 2, 0, 3], [0, 0], [1, 0, 3]], np.int32)
    found = Ragged.of([[1, 2, 0, 1], [0, 0], [1, 0, 0]], np.int32)
    values = tagged(TASK, found)
    figures = TASK.figures(values, truth)
    assert (figures["precision"], figures["recall"]) == (pytest.approx(2 / 3), pytest.approx(0.5))
    assert figures["f1"] == pytest.approx(4 / 7)
    assert figures["accuracy"] == pytest.approx(7 / 9)
    assert TASK.details(truth, values)["confusion"] == [
        {"label": "PER", "prediction": "PER", "entities": 2},
        {"label": "LOC", "prediction": "PER", "entities": 1},
        {"label": "LOC", "prediction": "none", "entities": 1},
    ]
    assert TASK.never_predicted(truth, values) == ["LOC"]
    assert TASK.confusion(truth, values).sum() == 9
    rows = [json.loads(json.dumps(row)) for row in TASK.rows(["a", "b", "c"], truth, values)]
    assert (rows[0]["label"], rows[2]["prediction"]) == (["B-PER", "I-PER", "O", "B-LOC"], ["B-PER", "O", "O"])
    again = TASK.of_rows(rows)
    assert again[0].tobytes() == truth.tobytes()
    assert TASK.difference(again[1], values) < 1e-7
    assert TASK.same(again[1], tagged(TASK, truth)).tolist() == [False, True, False]
    mistakes = TASK.mistakes(truth, values, most=5)
    assert (mistakes.wrong, {mistake.row for mistake in mistakes.worst}) == (2, {0, 2})
    worst = next(mistake for mistake in mistakes.worst if mistake.row == 0)
    assert (worst.label, worst.prediction) == ("PER, LOC", "PER, PER")
    assert worst.marks is not None
    html = notebook.marked("<b> & a", worst.marks[1])
    assert html.startswith("<mark")
    assert "<b>" not in html
    assert TASK.showcase(values)[0] == 0
    first = TASK.predictions(values)[0]
    assert first.fields()["entities"][1] == {"start": 6, "end": 7, "text": "a", "label": "PER", "score": 0.931738}
    assert first.cells()[0] == ("entities", ["PER a a", "PER a"])
    assert first._repr_html_().count("<mark") == 2
    assert TASK.predictions(TASK.blank)[0].fields().keys() == first.fields().keys() == first.schema(NAMES).keys()


def test_a_word_that_the_model_saw_nothing_of_is_outside() -> None:
    rows = Texts.worded([["Ann", "is", "in", "Oslo"]])
    table = tokenizer().encode(rows.texts, None, Length(max_length=6), spans=True)
    values = TASK.gathered(np.tile([0.0, 9.0, 0.0, 0.0, 0.0], (len(table.ids), 1)), table, rows)
    seen = values.seen[0]
    assert not seen.all()
    assert TASK.decided(values)[0].tolist() == [1 if there else 0 for there in seen]
    row = next(iter(TASK.rows(["a"], Ragged.of([[1, 0, 0, 3]], np.int32), values)))
    assert [shares is None for shares in row["probabilities"]] == [not there for there in seen]
    targets, again = TASK.of_rows([row])
    assert TASK.figures(again, targets) == pytest.approx(TASK.figures(values, targets), abs=1e-5)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"text": ["a", "b"]}, "data.files.text: got 2 columns, expected one: the words of one text have tags"),
        ({"label": ["a", "b"]}, "data.files.label: got 2 columns, expected one, with a tag a word or spans"),
        ({"label_delimiter": ";"}, "data.files.label_delimiter: got ;, expected null"),
    ],
)
def test_what_a_recipe_may_not_say(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(told)):
        recipe({"train": "a.csv", **changes})
    with pytest.raises(RecipeError, match=r"training.packing: got true, expected false with head tokens"):
        recipes.load("ner_bert", profile="smoke", overrides={"training.packing": True})


def test_faults_of_all_files_are_told_with_their_rows(tmp_path: Path) -> None:
    files = written(tmp_path, [("Ann is in Oslo", [(0, 2, "PER")]), *SENTENCES])
    with pytest.raises(DataError, match=r"rows.jsonl: train: line 1 has a span that ends within a word: 'An' of 'Ann'"):
        load_dataset(recipe(files, {"on_broken": "error"}))
    own = recipe(written(tmp_path, [("Ann is in Oslo", [(0, 2, "PER")]), *SENTENCES * 4]))
    assert load_dataset(own).notes[0] == "train: 1 spans that end within a word were widened to whole words"
    with pytest.raises(DataError, match="train has no entity, every word is O"):
        load_dataset(recipe(written(tmp_path, [("none", [])] * 8), {"scheme": "iob2"}))


def test_explanations_are_refused_with_the_verb_that_tells() -> None:
    run: Any = SimpleNamespace(task=TASK)
    with pytest.raises(RecipeError, match=r"got a run of task: tokens.*zoo.predict") as caught:
        Subject(run, "a text", None, None)
    assert caught.value.exit_code == 2
