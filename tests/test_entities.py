"""Figures of entities are those of seqeval, on tags drawn at random."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.score import entities
from zoo.score.tagging import Span, spans

GOLDEN = Path(__file__).parent / "golden" / "entities.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]
AVERAGES = ("micro avg", "macro avg", "weighted avg")


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_figures_are_those_of_seqeval(case: dict) -> None:
    """`tools/golden_entities.py` writes the file with seqeval itself."""
    truth, found = ([spans(tags) for tags in case[name]] for name in ("truth", "found"))
    rows = entities.by_type(truth, found)
    keys = ("precision", "recall", "f1", "rows")
    theirs = {kind: row for kind, row in case["figures"].items() if kind not in AVERAGES}
    assert {row["label"]: pytest.approx([row[key] for key in keys], abs=1e-12) for row in rows} == theirs
    together = entities.micro(rows)
    micro, macro = case["figures"]["micro avg"], case["figures"]["macro avg"]
    assert [together[key] for key in keys[:3]] == pytest.approx(micro[:3], abs=1e-12)
    assert together["macro_f1"] == pytest.approx(macro[2], abs=1e-12)


def test_another_boundary_or_type_is_wrong() -> None:
    truth = [[Span(0, 2, "PER"), Span(3, 4, "LOC")], [Span(0, 1, "PER")]]
    found = [[Span(0, 1, "PER"), Span(3, 4, "PER")], [Span(0, 1, "PER")]]
    together = entities.micro(entities.by_type(truth, found))
    assert together["precision"] == together["recall"] == pytest.approx(1 / 3)
    pairs = entities.confused(truth, found)
    assert sorted(pairs) == [("LOC", "PER"), ("PER", "PER"), ("PER", "none"), ("none", "PER")]


@given(st.lists(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B"]), max_size=8), max_size=4))
def test_what_is_equal_is_right(tags: list[list[str]]) -> None:
    own = [spans(row) for row in tags]
    together = entities.micro(entities.by_type(own, own))
    assert set(together.values()) == ({1.0} if any(own) else {0.0})
