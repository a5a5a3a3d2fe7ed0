"""Rows: what is accepted, what is refused, and how splits are drawn; bad-inputs, line by line."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from zoo.data.catalog import dataset_card
from zoo.data.dataset import Dataset, load_dataset, missing_data, read_labelled, text_column
from zoo.errors import DataError, EnvironmentFault, RecipeError
from zoo.recipe import Recipe, dump_recipe, load_recipe, recipe_from
from zoo.tasks.classification import Classification

BACKBONE = {
    "family": "bert",
    "num_layers": 1,
    "num_heads": 1,
    "hidden_dim": 8,
    "intermediate_dim": 8,
    "vocabulary": "nano_uncased",
}
WORDS = ["good", "bad", "odd"]


def recipe(data: dict[str, Any], *, head: str = "classifier", seed: int = 0, batch_size: int = 2) -> Recipe:
    return recipe_from(
        {
            "name": "own",
            "data": data,
            "model": {"backbone": BACKBONE, "head": {"type": head}},
            "training": {"batch_size": batch_size},
            "seed": seed,
        }
    )


def write(folder: Path, labels: list[Any], name: str = "train.csv", texts: list[str] | None = None) -> str:
    """A csv with the given labels, and texts of its own where none are given."""
    texts = texts or [f"text {number} of {name}" for number in range(len(labels))]
    path = folder / name
    lines = "".join(f'"{text}",{label}\n' for text, label in zip(texts, labels, strict=True))
    path.write_text(f"text,label\n{lines}")
    return str(path)


def load(data: dict[str, Any], **keys: Any) -> Dataset:
    return load_dataset(recipe(data, **keys))


def refused(data: dict[str, Any], **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        load(data, **keys)
    assert caught.value.exit_code == 3
    return str(caught.value)


# Own files


def test_own_csv_with_three_labels_and_other_columns(tmp_path: Path) -> None:
    """The whole way: split made and names found; the recipe stays as it is and gives the same rows again."""
    (tmp_path / "my.csv").write_text("review,mood,id\n" + "".join(f"text {i},{WORDS[i % 3]},{i}\n" for i in range(90)))
    (tmp_path / "my.yaml").write_text(
        "name: my\ndata: {files: {train: my.csv, text: review, label: mood}}\n"
        "model: {backbone: {family: bert, num_layers: 1, num_heads: 1, hidden_dim: 8, intermediate_dim: 8, "
        "vocabulary: nano_uncased}}\ntraining: {batch_size: 4}\n"
    )
    own = load_recipe(tmp_path / "my.yaml")
    data = load_dataset(own)
    assert data.task.names == ("bad", "good", "odd")
    assert [len(data.train), len(data.validation), len(data.test)] == [73, 8, 9]
    assert np.bincount(data.test.labels).tolist() == [3, 3, 3]
    for split in (data.train, data.validation, data.test):
        for text, label, name in zip(split.texts, split.labels, split.ids, strict=True):
            assert name == f"train/{text.split()[1]}"
            assert data.task.names[label] == WORDS[int(text.split()[1]) % 3]
    everything = [*data.train.ids, *data.validation.ids, *data.test.ids]
    assert len(set(everything)) == 90
    text = dump_recipe(own)
    assert "fraction: 0.1" in text
    (tmp_path / "again.yaml").write_text(text)
    again = load_dataset(load_recipe(tmp_path / "again.yaml"))
    assert (again.sha256, again.task.names) == (data.sha256, data.task.names)


def test_three_files_keep_their_rows_and_their_order(tmp_path: Path) -> None:
    files = {split: write(tmp_path, [0, 1] * 10, f"{split}.csv") for split in ("train", "validation", "test")}
    data = load({"files": files})
    assert data.test.ids == [f"test/{row}" for row in range(20)]
    assert data.validation.texts == [f"text {row} of validation.csv" for row in range(20)]
    assert sorted(data.train.ids, key=lambda name: int(name[6:])) == [f"train/{row}" for row in range(20)]
    assert data.train.ids != [f"train/{row}" for row in range(20)], "train is shuffled"
    assert data.train.labels.dtype == np.int32
    assert data.notes == ()


def test_pairs(tmp_path: Path) -> None:
    rows = [{"a": f"one {i}", "b": f"two {i}", "label": i % 2} for i in range(20)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "p.parquet")
    data = load({"files": {"train": str(tmp_path / "p.parquet"), "text": ["a", "b"]}})
    assert data.train.pairs is not None
    assert all(a.split()[1] == b.split()[1] for a, b in zip(data.train.texts, data.train.pairs, strict=True))


@pytest.mark.parametrize("ending", ["tsv", "jsonl", "parquet"])
def test_all_formats_give_the_same_rows(tmp_path: Path, ending: str) -> None:
    rows = [{"text": f"text {i}", "label": i % 2} for i in range(20)]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f"{r['text']},{r['label']}\n" for r in rows))
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(f"{r['text']}\t{r['label']}\n" for r in rows))
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "{r["text"]}", "label": {r["label"]}}}\n' for r in rows))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    digests = [load({"files": {"train": str(tmp_path / f"a.{each}")}}).sha256 for each in ("csv", ending)]
    assert digests[0] == digests[1]


def test_faults_of_all_files_come_together(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("txt,label\na,1\n")
    message = refused({"files": {"train": str(tmp_path / "bad.csv"), "test": str(tmp_path / "gone.csv")}})
    assert "(did you mean 'txt'?): name yours by --text-column" in message
    assert "gone.csv: no such file" in message


def test_faults_of_rows_and_labels_come_together_with_their_lines(tmp_path: Path) -> None:
    """Of rows that are left out none is counted: lines are those of the file."""
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(12)]
    rows += [{"text": "half \ud800", "label": "a"}, {"text": " ", "label": "b"}, {"text": "c", "label": "0.5"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "b.csv").write_text('text,label\n"two\nlines",a\nd,c\n')
    files = {"train": str(tmp_path / "a.jsonl"), "test": str(tmp_path / "b.csv")}
    faults = refused({"files": files}).splitlines()
    assert [fault.split(" (")[0].removeprefix(f"{tmp_path}/").split(", expected")[0] for fault in faults] == [
        "a.jsonl: train: line 13 holds half of a character",
        "a.jsonl: train: 1 row without text",
        "a.jsonl: train: line 15: got the label 0.5",
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:12]))
    assert "b.csv: test: line 4: got the label c, expected a label that" in refused({"files": files})
    (tmp_path / "b.csv").write_text('text,label\n"two\nlines",a\n,b\nd,b\n')
    test = load({"files": files, "on_missing": "drop"}).test
    assert [test.place(row) for row in range(2)] == [f"{tmp_path}/b.csv: line 2", f"{tmp_path}/b.csv: line 5"]


# Missing values


def test_empty_texts_and_labels_are_counted_or_dropped(tmp_path: Path) -> None:
    path = write(tmp_path, [0, 1, "", 1] * 5, texts=[f"t{i}" if i % 5 else "  " for i in range(20)])
    message = refused({"files": {"train": path}})
    assert "4 rows without text (lines 2, 7, 12, 17)" in message
    assert "5 rows without label (lines 4, 8, 12, 16, 20)" in message
    assert "data.on_missing=drop" in message
    data = load({"files": {"train": path}, "on_missing": "drop"})
    assert data.notes == ("train: 8 rows without text or label were left out",)
    assert len(data.train) + len(data.validation) + len(data.test) == 12


def test_none_and_na_are_texts_and_labels(tmp_path: Path) -> None:
    path = write(tmp_path, ["NA", "None"] * 10, texts=["None", "NA"] * 10)
    data = load({"files": {"train": path, "test": write(tmp_path, ["NA", "None"], "test.csv")}, "deduplicate": False})
    assert data.task.names == ("NA", "None")
    assert set(data.train.texts) == {"None", "NA"}


def test_nulls_of_parquet_and_jsonl(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": null, "label": 1}\n{"text": "a", "label": null}\n{"text": 3, "label": 0}\n'
    )
    message = refused({"files": {"train": str(tmp_path / "a.jsonl")}})
    assert "line 3 has the text '3' (int), expected a string" in message
    table = pyarrow.table({"text": ["a", None, "c"], "label": [0.0, 1.0, float("nan")]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    message = refused({"files": {"train": str(tmp_path / "a.parquet")}})
    assert "1 row without text (row 1, counted from 0)" in message
    assert "1 row without label (row 2, counted from 0)" in message


def test_nothing_left(tmp_path: Path) -> None:
    path = write(tmp_path, [0, 1], texts=[" ", " "])
    assert "no row has both text and label" in refused({"files": {"train": path}, "on_missing": "drop"})


# Labels


def test_a_binary_head_is_for_two_classes(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"the data has 3 classes, not 2 \(bad, good, odd\)"):
        load({"files": {"train": write(tmp_path, WORDS * 10)}}, head="binary")


# Duplicates and overlap


def test_exact_duplicates_are_dropped_before_splitting(tmp_path: Path) -> None:
    texts = [f"text {number % 40}" for number in range(80)]
    path = write(tmp_path, [number % 2 for number in range(80)], texts=texts)
    data = load({"files": {"train": path}})
    everything = [*data.train.texts, *data.validation.texts, *data.test.texts]
    assert len(everything) == len(set(everything)) == 40
    assert data.notes == ("train: 40 exact duplicates were dropped",)
    kept = load({"files": {"train": path}, "deduplicate": False})
    assert len(kept.train) + len(kept.validation) + len(kept.test) == 80


def test_contradicting_duplicates_are_counted_and_refused_when_strict(tmp_path: Path) -> None:
    path = write(
        tmp_path, [0, 1, 1, 1] * 10, texts=["same", "same", "same", "other"] * 1 + [f"t{i}" for i in range(36)]
    )
    files = {"train": path, "test": write(tmp_path, [0, 1], "test.csv")}
    data = load({"files": files})
    assert "train: 1 texts stand there with two different labels" in data.notes[1]
    assert data.notes[0] == "train: 1 exact duplicates were dropped", "the third row repeats the second"
    assert "two different labels" in refused({"files": files, "strict": True})


def test_overlap_is_counted_and_refused_when_strict(tmp_path: Path) -> None:
    train = write(tmp_path, [0, 1] * 10)
    test = write(tmp_path, [0, 1, 0], "test.csv", texts=["text 3 of train.csv", "new", "text 4 of train.csv"])
    files = {"train": train, "test": test}
    assert "test: 2 of 3 rows also stand in train or validation" in load({"files": files}).notes[0]
    assert "2 of 3 rows" in refused({"files": files, "strict": True})


# Splits


def test_too_few_rows_a_class(tmp_path: Path) -> None:
    path = write(tmp_path, ["a"] * 20 + ["b"] * 2)
    message = refused({"files": {"train": path}})
    assert "in train and in test and validation: b (2), expected at least 3 of each" in message
    given = {"train": path, "test": write(tmp_path, ["a", "b"], "test.csv")}
    assert "b" in load({"files": given}).task.names, "two rows are enough for train and validation"
    loose = {"fraction": 0.1, "stratify": False}
    assert len(load({"files": {"train": path}, "validation": loose, "test": loose}).test) == 2


def test_too_few_rows_at_all(tmp_path: Path) -> None:
    loose = {"fraction": 0.4, "stratify": False}
    path = write(tmp_path, [0, 1])
    assert "too few to carve validation from" in refused({"files": {"train": path}, "validation": loose, "test": loose})
    assert "train has 16 rows, fewer than the batch of 32" in refused(
        {"files": {"train": write(tmp_path, [0, 1] * 10)}}, batch_size=32
    )


def test_limits_keep_the_shares_of_the_classes(tmp_path: Path) -> None:
    path = write(tmp_path, ["a"] * 300 + ["b"] * 100)
    test = write(tmp_path, ["a"] * 30 + ["b"] * 10, "test.csv")
    data = load({"files": {"train": path, "test": test}, "limit": {"train": 200, "validation": 8, "test": 4}})
    assert len(data.train) == 180, "the limit counts train and validation together, before the carving"
    assert np.bincount(data.train.labels).tolist() == [135, 45]
    assert np.bincount(data.validation.labels).tolist() == [6, 2]
    assert np.bincount(data.test.labels).tolist() == [3, 1]
    assert data.test.ids == sorted(data.test.ids, key=lambda name: int(name[5:]))


def test_a_test_split_is_carved_before_the_limit_and_stays_the_same(tmp_path: Path) -> None:
    files = {"train": write(tmp_path, [0, 1] * 200)}
    whole, small = load({"files": files}), load({"files": files, "limit": {"train": 50}})
    assert whole.test.ids == small.test.ids
    assert len(small.train) == 45


def test_another_seed_draws_other_rows(tmp_path: Path) -> None:
    files = {"train": write(tmp_path, [0, 1] * 50)}
    one, same, other = (load({"files": files}, seed=seed) for seed in (1, 1, 2))
    assert one.sha256 == same.sha256 != other.sha256
    assert one.test.ids == same.test.ids != other.test.ids
    kept = load({"files": files, "seed": 1}, seed=2)  # the rows of one seed, in the order of another
    assert (kept.test.ids, kept.validation.ids, {*kept.train.ids}) == (
        one.test.ids,
        one.validation.ids,
        {*one.train.ids},
    )
    assert kept.train.ids != one.train.ids


# The catalog


def test_a_dataset_that_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    asked = recipe({"dataset": "imdb"})
    (need,) = missing_data(asked)
    assert need.uri.startswith("hf://datasets/stanfordnlp/imdb@")
    assert need.cache_path.is_relative_to(tmp_path)
    with pytest.raises(EnvironmentFault, match=r"would be cached in .*zoo\.fetch"):
        load_dataset(asked)
    assert missing_data(recipe({"dataset": "smoke_stars"})) == []
    assert missing_data(recipe({"files": {"train": "gone.csv"}})) == [], "own files are the user's to bring"


@pytest.mark.parametrize("name", ["smoke_films", "smoke_reviews", "smoke_stars", "smoke_questions"])
def test_samples_load(name: str) -> None:
    data = load_dataset(recipe({"dataset": name}))
    card = dataset_card(name)
    assert data.task.names == card.label_names
    assert data.notes == ()
    assert len(data.test) == card.rows["test"]
    assert len(data.train) + len(data.validation) == card.rows["train"]
    shares_of_class = np.bincount(data.train.labels) / len(data.train)
    assert shares_of_class.min() > (0.15 if name == "smoke_questions" else 0.9 / len(card.label_names))


def test_real_reviews(real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(real_cache))
    data = load({"dataset": "rotten_tomatoes_train"})
    assert [len(data.train), len(data.validation), len(data.test)] == [6909, 768, 853]
    assert np.bincount(data.train.labels).tolist() == [3454, 3455]
    assert data.task.names == ("negative", "positive")
    imdb = load({"dataset": "imdb_train_25k", "limit": {"train": 1000, "test": 200}})
    assert [len(imdb.train), len(imdb.validation), len(imdb.test)] == [900, 100, 200]
    assert imdb.notes == ("train: 96 exact duplicates were dropped",)
    assert abs(imdb.train.labels[:200].mean() - 0.5) < 0.15, "sorted by label in the file, shuffled here"


def test_cards_and_files_tell_their_columns() -> None:
    assert text_column(recipe({"dataset": "quora_insincere"})) == "question_text"
    assert text_column(recipe({"files": {"train": "a.csv", "text": ["a", "b"], "label": "y"}})) == ("a", "b")


# Other files: predict and evaluate


def test_labelled_rows_for_evaluation(tmp_path: Path) -> None:
    path = write(tmp_path, ["good", "good", 0])
    own, task = recipe({"files": {"train": "a.csv"}}), Classification(names=("bad", "good", "odd"))
    rows, _ = read_labelled(path, own, task)
    assert rows.labels.tolist() == [1, 1, 0]
    assert rows.ids == ["rows/0", "rows/1", "rows/2"]
    stars = write(tmp_path, [1, 5], "stars.csv")
    task = Classification(names=dataset_card("smoke_stars").label_names)
    rows, _ = read_labelled(stars, recipe({"dataset": "smoke_stars"}), task, text="text", label=["label"])
    assert rows.labels.tolist() == [0, 4]
    with pytest.raises(DataError, match=r"b\.csv: rows: line 2: got the label great, expected"):
        read_labelled(write(tmp_path, ["great"], "b.csv"), own, task)
    gaps = write(tmp_path, ["good", "", "bad"], "gaps.csv", texts=["one", "two", " "])
    task = Classification(names=("bad", "good", "odd"))
    with pytest.raises(DataError, match=r"without text \(line 4\).*--on-missing drop") as caught:
        read_labelled(gaps, own, task)
    assert len(caught.value.faults) == 2
    rows, notes = read_labelled(gaps, own, task, on_missing="drop")
    assert (rows.texts, rows.ids, len(notes)) == (["one"], ["rows/0"], 1)


def test_many_rows_are_held_lightly(tmp_path: Path) -> None:
    """What stays per row is its strings: no dictionaries, tuples or objects (1.3 M rows have to fit a laptop)."""
    count = 20_000
    path = tmp_path / "many.csv"
    path.write_text("text,label\n" + "".join(f"question number {i} of many,{i % 2}\n" for i in range(count)))
    tracemalloc.start()
    data = load({"files": {"train": str(path)}})
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(data.train) == 16_200
    assert held / count < 250
    assert peak / count < 700
