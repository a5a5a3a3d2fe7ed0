"""`zoo.audit`: planted faults are found, honest data is left alone, and what is written is safe to open."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.audit import doubted as doubting
from zoo.audit.__main__ import main as verb
from zoo.data.dataset import load_dataset
from zoo.data.near import near_duplicates
from zoo.data.telltales import telltales
from zoo.recipe import dump_recipe, load_recipe
from zoo.report.__main__ import main as report
from zoo.runs.run_folder import RunFolder, create_run
from zoo.tasks import dump_task

NOUNS = ("plot", "cast", "music", "pace", "script", "ending", "camera work", "dialogue", "humour", "first hour")
WORDS = {"good": ("great", "warm", "clever", "lovely", "superb"), "bad": ("dull", "poor", "silly", "awful", "weak")}
RECIPE = """\
name: own
data:
  files: {train: train.csv, test: test.csv, text: text, label: label}
tokens: {max_length: 32}
model:
  backbone: {family: bert, num_layers: 1, num_heads: 2, hidden_dim: 32, intermediate_dim: 64, vocabulary: nano_uncased}
training: {epochs: 1, batch_size: 4}
"""


def films(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Reviews, no two of them alike, and half of each class."""
    generator, found = np.random.default_rng(seed), []
    for number in range(count):
        label = ("good", "bad")[number % 2]
        nouns, words = generator.permutation(NOUNS)[:3], generator.permutation(WORDS[label])[:3]
        parts = " and ".join(f"its {noun} is {word}" for noun, word in zip(nouns, words, strict=True))
        found.append((f"Seen on day {seed * count + number} with {generator.integers(10**6)} others, {parts}.", label))
    return found


def run_of(folder: Path, train: list[tuple[str, Any]], test: list[tuple[str, Any]], text: str = RECIPE) -> RunFolder:
    """A run on these rows, of which nothing but its data is there."""
    for name, rows in (("train", train), ("test", test)):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([("text", "label"), *rows])
    (folder / "own.yaml").write_text(text, encoding="utf-8")
    recipe = load_recipe(folder / "own.yaml")
    data = load_dataset(recipe)
    made = create_run(folder / "run", dump_recipe(recipe))
    with made:
        made.update_run({"task": dump_task(data.task), "dataset": {"sha256": data.sha256, "rows": data.rows}})
    return made


def test_near_duplicates() -> None:
    long = "The opening is slow but from the second hour on the film finds its feet and the last scene is a marvel"
    texts = [
        *(long, f"{long.upper()}!", long.replace("marvel", "wonder"), long.replace("slow", "bold, loud and long")),
        *(
            "映画はとても面白かったので、もう一度見たいと思います。",
            "映画はとても面白かったので、もう一度見たいと思う。",
        ),
        *("great", "Great !", "greater", "", "!!!", ":)", "a great film", "a great book"),
    ]
    found = {group.rows: group.similarity for group in near_duplicates(texts)}
    assert list(found) == [(0, 1, 2), (4, 5), (6, 7)]
    assert 0.8 < found[0, 1, 2] < 1
    assert found[6, 7] == 1
    # Of pairs both texts have to be alike; a context that many questions share says nothing.
    assert near_duplicates(["who?", "where was it?", "Who"], [long, long, long])[0].rows == (0, 2)
    # Of a template's rows few are compared with each other.
    many = [f"{long} for viewer number {number}" for number in range(2000)]
    told: list[int] = []
    assert [len(group.rows) for group in near_duplicates(many, progress=told.append)] == [2000]
    assert sum(told) == 2000


def test_words_that_tell_the_label() -> None:
    rows = films(200)
    texts, classes = [text for text, _ in rows], np.array([[label == "bad", label == "good"] for _, label in rows])
    honest = [f"{text} {'positively' if number % 3 else 'badly'} 9/11" for number, text in enumerate(texts)]
    words = {word for each in WORDS.values() for word in each}
    assert {each.word for each in telltales(honest, classes, ("bad", "good"))} <= words
    # Where nearly all rows are of one class, so are nearly all that have any word.
    rare = classes & (np.arange(200) < 12)[:, None] | np.array([[False, True]]) & (np.arange(200) >= 12)[:, None]
    assert not [each for each in telltales(honest, rare, ("bad", "good")) if each.name == 1]
    planted = list(honest)
    for number in range(0, 80, 2):
        planted[number] += " zqx"  # only in good ones
    for number in range(100, 120):
        planted[number] += (" 9/10", " I give it 2 out of 10")[number % 2]
    for number in range(120, 132):
        planted[number] += (" ★★★★★", " *")[number % 2]
    for number in range(141, 160, 2):
        planted[number] = f"[BAD] {planted[number]}"
    found = {(each.kind, each.word): each for each in telltales(planted, classes, ("bad", "good"))}
    assert found["word", "zqx"].name == 1
    assert found["word", "zqx"].rows.tolist() == list(range(0, 80, 2))
    assert found["class name", "bad"].agreeing == 10
    ratings = {each.word: (each.name, len(each.rows)) for key, each in found.items() if key[0] == "rating"}
    assert ratings == {"80 to 100% of its scale": (1, 16), "20 to 40% of its scale": (0, 10)}


def test_planted_faults_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = films(300), films(40, seed=9)
    flipped = list(range(7, 300, 19))
    for row in flipped:
        train[row] = (train[row][0], {"good": "bad", "bad": "good"}[train[row][1]])
    test[0] = (train[0][0].replace(".", " !"), "good")
    test[1] = (train[1][0].upper(), "good")
    train[26] = (f"=<b>{train[26][0]}", train[26][1])
    folder = run_of(tmp_path, train, test)
    assert verb([str(folder.path), "--format", "json"]) == 0
    out = json.loads(capsys.readouterr().out)
    found = [row["id"] for row in out["label_errors"]]
    planted = {f"train/{row}" for row in flipped} | {"test/1"}
    assert len(planted & set(found)) >= 0.9 * len(planted)
    assert len(planted & set(found)) >= 0.9 * len(found)
    assert out["counts"]["groups_across_splits"] == 2
    assert {row["id"] for group in out["groups"] if group["contradicting"] for row in group["rows"]} == {
        "test/1",
        "train/1",
    }
    assert "words alone" in out["source"]
    assert out == json.loads((folder.path / "audit.json").read_text(encoding="utf-8"))
    with (folder.path / "audit.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["doubt"] for row in rows} >= {"label error", "near duplicate"}
    dangerous = next(row for row in rows if row["id"] == "train/26")
    assert dangerous["text"].startswith("'=<b>")
    assert dangerous["place"].endswith("train.csv: line 28")
    page = (folder.path / "report.html").read_text(encoding="utf-8")
    assert "Doubts in the data" in page
    assert "=<b>" not in page
    assert "=&lt;b&gt;" in page
    # For people: the same again, and the worst of it in tables.
    assert verb([str(folder.path)]) == 0
    told = capsys.readouterr().out
    assert f"{len(found)} of {sum(out['rows'].values())} are likely wrong" in told
    assert "Near duplicates" in told


def test_the_runs_own_folds_are_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_of(tmp_path, films(40), films(12, seed=5))
    data = load_dataset(load_recipe(folder.path / "recipe.yaml"))
    rows = {"out_of_fold.jsonl": [data.train, data.validation], "predictions.jsonl": [data.test]}
    for name, splits in rows.items():
        lines = []
        for split in splits:
            shares = np.where(split.labels[:, None] == np.arange(2), 0.9, 0.1)
            shares[0] = 1 - shares[0]
            lines += data.task.rows(split.ids, split.labels, shares)
        more = {"fold": 0} if name.startswith("out") else {}
        (folder.path / name).write_text("".join(json.dumps(line | more) + "\n" for line in lines))
    assert verb([str(folder.path), "--format", "json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert {row["id"] for row in out["label_errors"]} == {
        each.ids[0] for each in (data.train, data.validation, data.test)
    }
    assert out["judged"] == 52
    assert "own folds" in out["source"]


def test_changed_copies_are_not_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = RECIPE.replace("label: label}", "label: label}\n  augment: {typo: 0.01}")
    folder = run_of(tmp_path, films(40), films(12, seed=5), text)
    assert folder.run["dataset"]["rows"]["train"] == 72
    assert verb([str(folder.path), "--format", "json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert (out["rows"]["train"], out["groups"]) == (36, [])


def test_other_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(text, float(number)) for number, (text, _) in enumerate(films(30))]
    text = RECIPE.replace("model:", "task: regression\nmodel:\n  head: {type: regression}")
    folder = run_of(tmp_path, rows, [(rows[3][0] + "!", 3.0), *[(text, 1.0) for text, _ in films(5, seed=3)]], text)
    assert verb([str(folder.path)]) == 0
    out = capsys.readouterr().out
    assert "labels of task: regression are not classes" in out
    assert "1 across splits, 0 with other labels" in out
    # Another run's data, and what is no run.
    with (tmp_path / "train.csv").open("a") as stream:
        stream.write("one more,3\n")
    assert verb([str(folder.path)]) == 3
    assert "have changed" in capsys.readouterr().err
    assert verb([str(tmp_path / "none")]) == 6
    (folder.path / "audit.json").write_text("{}")
    assert report([str(folder.path)]) == 6
    assert "audit.json is damaged" in capsys.readouterr().err.replace("\n", " ")


def test_several_labels_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for number, (text, label) in enumerate(films(200)):
        old = number % 3 == 0
        rows.append((f"{text} {'An old film' if old else 'It is new'}.", ";".join([label, *["old"] * old])))
    rows[6] = (rows[6][0], "good")  # without its `old`
    recipe = RECIPE.replace("label: label}", "label: label, label_delimiter: ';'}")
    recipe = recipe.replace("model:", "task: multilabel\nmodel:\n  head: {type: multilabel}")
    folder = run_of(tmp_path, rows, films(10, seed=4), recipe)
    assert verb([str(folder.path), "--format", "json"]) == 0
    out = json.loads(capsys.readouterr().out)
    first = out["label_errors"][0]
    assert (first["id"], first["label"], sorted(first["suggested"])) == ("train/6", ["good"], ["good", "old"])
    assert {"word": "old", "label": "old", "kind": "class name"}.items() <= next(
        each for each in out["telling"] if each["word"] == "old"
    ).items()


def test_a_class_of_few_rows_is_not_judged() -> None:
    classes = np.eye(3, dtype=bool)[[*[0, 1] * 50, 2, 2]]
    words = doubting.word_features([f"kind{number} row {row}" for row, number in enumerate(classes.argmax(axis=1))])
    values, judged = doubting.out_of_fold(
        words, None, classes, np.arange(102), exclusive=True, progress=lambda count: None
    )
    assert judged.tolist() == [True] * 100 + [False] * 2
    assert doubting.doubted(classes[judged], values[judged], exclusive=True).tolist() == []


@pytest.mark.parametrize("exclusive", [True, False])
def test_no_class_is_too_odd_to_be_judged(exclusive: bool) -> None:
    """All rows have one, none has another, and of the third there are both."""
    classes = np.array([[True, row % 2 == 0, False] for row in range(60)])
    if exclusive:
        classes[:, 0] = ~classes[:, 1]
    values = np.where(classes, 0.8, 0.1)
    values[7] = np.where(classes[7], 0.05, 0.9)
    values /= values.sum(axis=1, keepdims=True) if exclusive else 1
    assert doubting.doubted(classes, values, exclusive=exclusive).tolist() == [7]
    assert doubting.doubted(classes[:0], values[:0], exclusive=exclusive).tolist() == []


def test_alike_rows_stay_in_one_fold() -> None:
    groups = np.repeat(np.arange(60), 3)
    targets = np.eye(2, dtype=bool)[np.arange(60) % 2].repeat(3, axis=0)
    folds = doubting._folds(targets, groups)
    assert np.sum(folds, axis=0).tolist() == [1] * 180
    for fold in folds:
        assert not set(groups[fold]) & set(groups[~fold])
        assert targets[fold].sum(axis=0).tolist() == [18, 18]
