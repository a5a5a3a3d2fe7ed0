"""Answers to questions: how they are read, placed in windows, given and told, and what a recipe may say."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.catalog import vocabulary_folder
from zoo.data.dataset import load_dataset, read_labelled
from zoo.data.tokens import Tokenizer, load_tokenizer
from zoo.errors import DataError, RecipeError
from zoo.recipe import Recipe, recipe_from
from zoo.recipe.types import Tokens
from zoo.tasks import dump_task, task_of, task_of_run
from zoo.tasks.answers import Answers, Right, Rights, misplaced, read_answers
from zoo.tasks.material import Stated
from zoo.tasks.refused import by_number
from zoo.tasks.span import Span

MILL = "Ada built the mill in 1902."
STATED = Stated(columns=("answers",))


def recipe(head: dict[str, Any] | None = None, task: str = "span", **files: Any) -> Recipe:
    backbone = {"family": "bert", "num_layers": 1, "num_heads": 1, "hidden_dim": 8, "intermediate_dim": 8}
    own = {"train": "rows.jsonl", "text": ["question", "context"], "label": "answers", **files}
    return recipe_from(
        {
            "name": "own",
            "task": task,
            "data": {"files": own},
            "model": {"backbone": {**backbone, "vocabulary": "nano_uncased"}, **({"head": head} if head else {})},
            "training": {"batch_size": 4},
        }
    )


def answers(*rows: list[Right]) -> Answers:
    return Answers(rows=tuple(map(Rights, rows)))


def table(*rows: list[tuple[int, int]], owners: list[int]) -> Any:
    """Windows of tokens, each with [CLS] and [SEP]."""
    flat = [[(-1, -1), *row, (-1, -1)] for row in rows]
    offsets = np.cumsum([0, *map(len, flat)])
    spans = np.array([span for row in flat for span in row], np.int32)
    return SimpleNamespace(
        offsets=offsets, owners=np.array(owners, np.int32), spans=spans, ids=np.zeros(len(spans), np.int32)
    )


ADA, BUILT, THE, MILLS = (0, 3), (4, 9), (10, 13), (14, 18)
TABLE = table([ADA, BUILT], [BUILT, THE, MILLS], [ADA, BUILT], owners=[0, 0, 1])


def logits(**placed: float) -> np.ndarray:
    """Of TABLE, 0 but where said: start or end, and the number of the token."""
    found = np.zeros((len(TABLE.ids), 2), np.float32)
    for name, value in placed.items():
        kind, _, token = name.partition("_")
        found[int(token), int(kind == "end")] = value
    return found


ROWS = SimpleNamespace(pairs=[MILL, MILL], labels=answers([Right("the mill", 10), Right("mill", 14)], []))


def test_cells_of_squad_and_of_hugging_face_are_answers() -> None:
    theirs = {"text": ["Ada", "Ada built"], "answer_start": [0, 0]}
    cells = [[{"text": "Ada", "answer_start": 0, "more": 1}], theirs, [], {"text": [], "answer_start": []}]
    found = read_answers("train", cells, by_number)
    assert found.texts == [["Ada"], ["Ada", "Ada built"], [], []]
    assert found.there.tolist() == [True, True, False, False]
    assert found.spans.tolist() == [[0, 3], [0, 3], [-1, -1], [-1, -1]]
    assert len(found[np.array([3, 0])]) == 2
    assert found[found.there].texts == found[np.array([0, 1])].texts == [["Ada"], ["Ada", "Ada built"]]
    assert found[0] == (Right("Ada", 0),)
    assert found.tobytes() == found[np.arange(4)].tobytes() != found[np.array([1, 0, 2, 3])].tobytes()
    (spaced,) = read_answers("train", [[{"text": " mill ", "answer_start": 13}]], by_number).spans.tolist()
    assert spaced == [14, 18]


@pytest.mark.parametrize(
    "cell",
    [
        *("Ada", 1, [1], [{"text": "Ada"}], [{"text": " ", "answer_start": 0}], [{"text": "Ada", "answer_start": -1}]),
        *({"text": ["Ada"], "answer_start": []}, {"text": "Ada", "answer_start": 0}),
        [{"text": "x", "answer_start": True}],
    ],
)
def test_other_cells_are_refused(cell: Any) -> None:
    with pytest.raises(DataError, match=r"train: rows 1, counted from 0: got .*text, answer_start"):
        read_answers("train", [[], cell], by_number)


def test_an_answer_has_to_stand_where_it_is_said_to() -> None:
    assert list(misplaced(ROWS.labels, ROWS.pairs)) == []
    ((row, told),) = misplaced(answers([], [Right("mill", 13)]), ROWS.pairs)
    assert row == 1
    assert told.startswith("has the answer 'mill', but at 13 its context has ' mil'")


def test_the_target_is_in_the_windows_that_have_it_whole_and_at_their_first_token_elsewhere() -> None:
    task = Span()
    assert task.placed(ROWS.labels, TABLE, ROWS).tolist() == [3, 0, 0, 0, 0, 0, 1, 2, 0, 3, 0, 0, 0]
    assert task.units == 2


def test_answers_over_windows_and_the_threshold_above_which_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, tuned = Span().fitted(ROWS.labels), Span(asked=1.5).fitted(ROWS.labels)
    assert (fitted.unanswerable, fitted.threshold, tuned.threshold) == (True, 0.0, 1.5)
    # Both windows score "built"; the second one has "the mill"; its [CLS] scores lowest.
    found = fitted.gathered(
        logits(start_2=3, end_2=3, start_6=4, end_7=4, start_0=9, end_0=9, start_4=1, start_9=2, end_9=3, start_11=3),
        TABLE,
        ROWS,
    )
    assert [tuple(each) for each in found.candidates[0][:2]] == [("the mill", 10, 18, 8.0), ("built", 4, 9, 6.0)]
    assert found.none.tolist() == [1.0, 5.0]
    assert found.preferences.tolist() == [-7.0, 2.0]
    assert fitted.decided(found) == ["the mill", ""]
    assert tuned.decided(found) == ["the mill", ""]
    assert Span().decided(found) == ["the mill", "built"]
    assert fitted.figures(found, ROWS.labels) == {
        "rows": 2,
        "exact_match_low": pytest.approx(0.34, abs=0.01),
        "exact_match_high": 1.0,
        "exact_match": 1.0,
        "f1": 1.0,
        **{f"{kind}_{name}": 1.0 for kind in ("has_answer", "no_answer") for name in ("exact_match", "f1")},
        "loss": pytest.approx(float(found.losses.mean())),
    }
    few = fitted.tuned(found, ROWS.labels)
    assert (few.threshold, few.asked) == (0.0, 0.0)
    assert "the threshold of no answer stays at 0" in str(fitted.untuned(ROWS.labels))
    monkeypatch.setattr("zoo.tasks.thresholds.FEWEST", 1)
    assert fitted.tuned(found, ROWS.labels).threshold == -7.0
    assert fitted.untuned(ROWS.labels) is None
    assert tuned.tuned(found, ROWS.labels) is tuned


def test_what_is_answered() -> None:
    task = Span(count=2).fitted(ROWS.labels)
    found = task.gathered(logits(start_6=4, end_7=4, start_9=9), TABLE, ROWS)
    given, none = task.predictions(found)
    assert given.told() == ("the mill", " 98%")
    assert dict(given.cells()) == {"answer": "the mill", "start": 10, "end": 18, "probability": given.probability}
    assert [each["text"] for each in given.fields()["answers"]] == ["the mill", "built the mill"]
    assert sum(each["probability"] for each in given.fields()["answers"]) + given.no_answer == pytest.approx(1.0)
    assert none.told() == ("no answer", "100%")
    assert dict(none.cells()) | {"probability": 1} == {"answer": "", "start": None, "end": None, "probability": 1}
    assert "<script" not in given._repr_html_()
    assert {type(value) for _, value in task.predictions(task.blank)[0].cells()} == {str, int, float}


def test_rows_of_predictions_are_read_back() -> None:
    task = Span().fitted(ROWS.labels)
    found = task.gathered(logits(start_6=4.25, end_7=4, start_9=9), TABLE, ROWS)
    rows = json.loads(json.dumps(list(task.rows(["a", "b"], ROWS.labels, found))))
    assert (rows[0]["label"], rows[0]["starts"]) == (["the mill", "mill"], [10, 14])
    assert [row["prediction"] for row in rows] == ["the mill", ""]
    targets, values = task.of_rows(rows)
    assert targets == ROWS.labels
    assert values.candidates == found.candidates
    assert task.figures(values, targets) == {
        name: value for name, value in task.figures(found, ROWS.labels).items() if name != "loss"
    }
    assert task_of_run({"task": dump_task(task)}) == task


def test_what_is_shown() -> None:
    task = Span().fitted(ROWS.labels)
    found = task.gathered(logits(start_1=4, end_1=4, start_9=4), TABLE, ROWS)
    assert [row[:2] for row in task.tables(ROWS.labels, found, most=9)[0].rows] == [
        ("all", 2),
        ("answer of one word", 1),
        ("no answer", 1),
    ]
    mistakes = task.mistakes(ROWS.labels, found, most=9)
    assert mistakes.wrong == 1
    assert (mistakes.worst[0].label, mistakes.worst[0].prediction) == ("the mill / mill", "Ada")
    assert task.showcase(found) == [0, 1]
    assert task.account({"train": ROWS.labels})["label_counts"] == {"train": [1, 1]}


def test_heads_and_files_that_do_not_fit() -> None:
    task = task_of(recipe().model.head)
    assert isinstance(task, Span)
    assert task == Span()
    assert task_of(recipe({"threshold": 2.0, "n_best": 3, "max_answer_length": 5}).model.head) == Span(
        asked=2.0, count=3, longest=5
    )
    for head, files, place in (
        (None, {"text": "question"}, "data.files.text: got question"),
        (None, {"label": ["a", "b"]}, "data.files.label: got 2 columns"),
        (None, {"label_names": ["a", "b"]}, "data.files.label_names: got a, b"),
        ({"max_answer_length": 0}, {}, "model.head.max_answer_length"),
        ({"threshold": "tuned"}, {}, "model.head.threshold"),
        ({"type": "classifier"}, {}, "model.head.type"),
    ):
        with pytest.raises(RecipeError, match=place.replace(".", r"\.")):
            recipe(head, **files)
    assert "expected a head for classes" in str(task.misfit(Stated(columns=("label",), names=("a", "b"))))
    with pytest.raises(DataError, match="nothing to learn"):
        Span().fitted(answers([], []))
    assert Span().fitted(answers([Right("Ada", 0)])).threshold is None


@cache
def tokenizer(vocabulary: str) -> Tokenizer:
    return load_tokenizer(vocabulary_folder(vocabulary))


WORDS = ["the", "mill", "Ada", "café", "漢字", "🙂", "1902,", "(unbelievable)", "isn't", "\u00a0x"]


@settings(deadline=None)
@given(
    st.sampled_from(["nano_uncased", "nano_bpe"]),
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from([" ", "  ", "\n", ". "])), min_size=1, max_size=40),
    st.integers(1, 4),
    st.data(),
)
def test_every_character_is_in_a_window_and_every_answer_is_found(
    vocabulary: str, parts: list[tuple[str, str]], words: int, data: st.DataObject
) -> None:
    """White space apart, of which tokens have none. A model that is sure of the answer, wherever a window has it whole,
    gives it back to the letter; windows overlap by as many tokens as it has."""
    context, places = "", []
    for word, gap in parts:
        places.append((len(context), len(context + word)))
        context += word + gap
    first = data.draw(st.integers(0, len(places) - 1))
    last = min(first + words, len(places)) - 1
    start, end = places[first][0], places[last][1]
    right = answers([Right(context[start:end], start)])
    whole = tokenizer(vocabulary).encode(["Who?"], [context], Tokens(max_length=4096), spans=True)
    longest = int(((whole.spans[:, 0] < end) & (whole.spans[:, 1] > start) & (whole.spans[:, 0] >= 0)).sum())
    width = max(8, longest) + data.draw(st.integers(0, 8))
    stride = data.draw(st.integers(1, width - longest + 1))
    room = int((whole.spans[:, 0] < 0).sum())  # the question and what frames the row
    config = Tokens(max_length=width + room, long="window", stride=stride)
    table = tokenizer(vocabulary).encode(["Who?"], [context], config, spans=True)
    seen = np.zeros(len(context), bool)
    for begin, finish in table.spans:
        seen[max(begin, 0) : max(finish, 0)] = True
    assert all(seen[place] or context[place].isspace() for place in range(len(context)))
    rows, task = SimpleNamespace(pairs=[context], labels=right), Span(longest=4096)
    targets = task.placed(right, table, rows)
    sure = 20.0 * np.stack([targets & 1, targets // 2], axis=1) * (targets != 3)[:, None]
    single = np.flatnonzero((targets == 3) & (table.spans[:, 0] >= 0))
    sure[single] = 20.0
    found = task.gathered(sure, table, rows)
    assert found.best == [context[start:end].strip()]
    assert found.candidates[0][0].score == 40.0


def test_rows_of_files_in_every_layout(tmp_path: Path) -> None:
    """SQuAD's json, lists in jsonl, and columns of Hugging Face's in parquet are the same rows; what is wrong with an
    answer is told with its question."""
    asked = [
        {
            "question": f"Who, {n}?",
            "context": f"{n} " + MILL,
            "answers": [{"text": "Ada", "answer_start": len(f"{n} ")}],
        }
        for n in range(24)
    ]
    for row in asked[::3]:
        row["answers"] = []
    squad = {"data": [{"paragraphs": [{"context": row["context"], "qas": [row | {"id": "x"}]} for row in asked]}]}
    (tmp_path / "a.json").write_text(json.dumps(squad))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    theirs = [
        row | {"answers": {key: [each[key] for each in row["answers"]] for key in ("text", "answer_start")}}
        for row in asked
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(theirs), tmp_path / "a.parquet")
    found = [load_dataset(recipe(train=str(tmp_path / f"a.{ending}"))) for ending in ("json", "jsonl", "parquet")]
    assert len({dataset.sha256 for dataset in found}) == 1
    first = found[0]
    assert isinstance(first.task, Span)
    assert first.task.unanswerable
    assert first.rows == {"train": 20, "validation": 2, "test": 2}
    assert first.label_counts["train"] == {"an answer": 14, "no answer": 6}
    assert {row.label[0] for row in first.sample(count=20) if row.label} == {"Ada"}
    asked[1]["answers"] = [{"text": "Ada", "answer_start": 0}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    with pytest.raises(DataError, match=r"a\.jsonl: line 2 has the answer 'Ada', but at 0"):
        load_dataset(recipe(train=str(tmp_path / "a.jsonl")))
    with pytest.raises(DataError, match=r"a\.jsonl: line 2 has the answer 'Ada', but at 0"):
        read_labelled(tmp_path / "a.jsonl", recipe(), first.task)
