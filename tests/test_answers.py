"""Answers to questions: figures against SQuAD's official script, the best spans against all of them, and windows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.score import answers, spans

GOLDEN = json.loads((Path(__file__).parent / "golden" / "squad-figures.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", GOLDEN)
def test_figures_and_thresholds_are_those_of_the_official_script(name: str) -> None:
    """On random answers and on those of a trained model; see tools/squad_figures.py."""
    case = GOLDEN[name]
    rows, official = case["rows"], case["figures"]
    predicted = [row["predicted"] for row in rows]
    right = [row["right"] for row in rows]
    preferences = np.array([row["preference"] for row in rows])
    answerable, answered = np.array(list(map(bool, right))), np.array(list(map(bool, predicted)))
    by_text = answers.matches(predicted, right)
    given_none = preferences > case["threshold"]
    exact, f1 = (np.where(given_none, ~answerable, each) for each in by_text)
    ours = answers.evaluate(exact, f1, answerable)
    keys = {"exact": "exact_match", "f1": "f1"}
    if len(set(answerable)) == 2:
        keys |= {"HasAns_exact": "has_answer_exact_match", "HasAns_f1": "has_answer_f1"}
        keys |= {"NoAns_exact": "no_answer_exact_match", "NoAns_f1": "no_answer_f1"}
    assert {key: ours[name] * 100 for key, name in keys.items()} == pytest.approx(
        {key: official[key] for key in keys}, abs=1e-12
    )
    for kind, scores in zip(("exact", "f1"), by_text, strict=True):
        best, threshold = answers.best_threshold(scores, preferences, answerable, answered)
        assert best * 100 == pytest.approx(official[f"best_{kind}"], abs=1e-12)
        if name == "unanswerable":  # it is best to answer nothing, which the official 0 does not do
            assert official[f"best_{kind}_thresh"] == 0.0
            assert preferences.min() > threshold
        else:
            assert threshold == official[f"best_{kind}_thresh"] != 0.0


def test_a_figure_is_not_equal_by_chance() -> None:
    """Another article, or another normaliser, is seen."""
    assert answers.matches(["un mill"], [["mill"]])[0] == [0.0]
    assert answers.matches(["the  Mill!"], [["a mill"]])[0] == [1.0]
    assert answers.matches(["the"], [[]])[0] == [1.0]
    assert answers.matches(["old mill"], [["mill", "new old mill"]])[1] == [pytest.approx(0.8)]


def test_a_threshold_that_answers_nothing_is_below_all_preferences() -> None:
    preferences = np.array([-3.0, -1.0])
    best, threshold = answers.best_threshold([0.0, 0.0], preferences, [False, False], [True, True])
    assert best == 1.0
    assert (preferences > threshold).all()
    # Questions of one preference are answered together or not at all.
    best, threshold = answers.best_threshold([1.0, 0.0], [2.0, 2.0], [True, False], [True, True])
    assert (best, threshold) == (0.5, 0.0)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Windows over texts of a few tokens, two characters each with a gap between, behind a special token."""
    rows, owners, lengths = [], [], []
    for text in range(draw(st.integers(1, 3))):
        size, room = draw(st.integers(1, 9)), draw(st.integers(1, 9))
        stride = draw(st.integers(1, room))
        lengths.append(size)
        for begin in range(0, max(1, size - room + stride), stride):
            tokens = range(begin, min(begin + room, size))
            rows.append([(-1, -1), *((3 * token, 3 * token + 2) for token in tokens), (-1, -1)])
            owners.append(text)
    offsets = np.cumsum([0, *map(len, rows)])
    flat = np.array([span for row in rows for span in row], np.int32)
    logits = np.array(draw(st.lists(st.integers(-9, 9), min_size=2 * len(flat), max_size=2 * len(flat))), np.float32)
    return {
        "lengths": lengths,
        "table": (offsets, np.array(owners, np.int32), flat),
        "logits": logits.reshape(-1, 2),
    }


@settings(deadline=None)
@given(tables(), st.integers(1, 4), st.integers(1, 4))
def test_the_best_spans_are_those_of_all(case: dict[str, Any], count: int, longest: int) -> None:
    offsets, owners, flat = case["table"]
    found = list(spans.best_spans(case["logits"], offsets, owners, flat, count=count, longest=longest))
    assert len(found) == len(case["lengths"])
    for text, best in enumerate(found):
        every: dict[tuple[int, int], float] = {}
        nothing = []
        for window in np.flatnonzero(owners == text):
            rows = range(offsets[window], offsets[window + 1])
            nothing.append(case["logits"][rows[0]].sum())
            for i in rows:
                for j in range(i, min(i + longest, rows[-1])):
                    if flat[i, 0] >= 0:
                        key = (int(flat[i, 0]), int(flat[j, 1]))
                        score = float(case["logits"][i, 0] + case["logits"][j, 1])
                        every[key] = max(score, every.get(key, -np.inf))
        assert best.scores.tolist() == sorted(every.values(), reverse=True)[:count]
        assert all(every[tuple(span)] == score for span, score in zip(best.spans.tolist(), best.scores, strict=True))
        assert best.none == min(nothing)
        assert spans.probabilities(best.scores).sum() == pytest.approx(1.0)


@settings(deadline=None)
@given(tables(), st.data())
def test_a_span_is_placed_in_every_window_that_has_it_whole(case: dict[str, Any], data: st.DataObject) -> None:
    offsets, owners, flat = case["table"]
    wanted = []
    for size in case["lengths"]:
        first = data.draw(st.integers(0, size - 1))
        last = data.draw(st.integers(first, size - 1))
        # From within a token to within a token, as an answer may be a part of a word.
        wanted.append(data.draw(st.sampled_from([(-1, -1), (3 * first, 3 * last + 2), (3 * first + 1, 3 * last + 2)])))
    found = spans.places(np.array(wanted), offsets, owners, flat)
    for window, (begin, end) in enumerate(found):
        first, last = wanted[owners[window]]
        tokens = flat[offsets[window] : offsets[window + 1]]
        real = tokens[tokens[:, 0] >= 0]
        whole = first >= 0 and real[0, 0] <= first and real[-1, 1] >= last
        assert (begin >= 0) == (end >= 0) == whole
        if whole:
            assert offsets[window] < begin <= end < offsets[window + 1] - 1
            assert (flat[begin, 0], flat[end, 1]) == (first // 3 * 3, last)


def test_a_span_in_what_was_cut_out_is_nowhere() -> None:
    """With head_tail the middle of a text is gone, and its neighbours are not the answer."""
    flat = np.array([(-1, -1), (0, 2), (30, 32), (-1, -1)])
    offsets, owners = np.array([0, 4]), np.array([0])
    assert spans.places(np.array([(12, 14)]), offsets, owners, flat).tolist() == [[-1, -1]]
    assert spans.places(np.array([(30, 32)]), offsets, owners, flat).tolist() == [[2, 2]]
