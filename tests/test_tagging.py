"""Tags to spans and back, under every scheme."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.score.tagging import SCHEMES, Scheme, Span, broken, retagged, scheme_of, spans, tags_of

TAGS = ["O", *(f"{letter}-{kind}" for letter in "BIESLU" for kind in ("PER", "LOC"))]


@pytest.mark.parametrize(
    ("texts", "scheme"),
    [
        ([["NOUN", "VERB", "O"]], "plain"),
        ([["O", "O"]], "plain"),
        ([["B-PER", "I-PER", "O"]], "iob2"),
        ([["I-PER", "I-PER", "O", "I-LOC"], ["I-PER", "B-PER"]], "iob1"),
        ([["O", "I-PER"], ["O", "B-PER"]], "iob2"),
        ([["B-PER", "E-PER", "S-LOC"]], "bioes"),
        ([["B-PER", "L-PER", "U-LOC"]], "bioes"),
    ],
)
def test_the_scheme_is_told_by_the_tags(texts: list[list[str]], scheme: Scheme) -> None:
    assert scheme_of(texts) == scheme
    assert not any(broken(tags, scheme) for tags in texts) or texts == [["O", "I-PER"], ["O", "B-PER"]]


def test_what_has_no_place_is_counted_and_read_as_conlleval_reads_it() -> None:
    assert broken(["O", "I-PER", "I-LOC", "B-LOC"], "iob2") == [1, 2]
    assert retagged(["O", "I-PER", "I-LOC", "B-LOC"], "iob2") == ["O", "B-PER", "B-LOC", "B-LOC"]
    assert broken(["B-PER", "O", "E-LOC", "S-LOC"], "bioes") == [0, 2]
    assert retagged(["B-PER", "O", "E-LOC", "S-LOC"], "bioes") == ["S-PER", "O", "S-LOC", "S-LOC"]
    assert retagged(["I-PER", "B-PER", "I-LOC"], "iob1") == ["B-PER", "B-PER", "B-LOC"]


@given(st.lists(st.sampled_from(TAGS)))
def test_spans_cover_the_words_that_are_not_outside_and_come_back_from_every_scheme(tags: list[str]) -> None:
    found = spans(tags)
    inside = [place for span in found for place in range(span.start, span.end)]
    assert inside == [place for place, tag in enumerate(tags) if tag != "O"]
    assert all(tags[place].endswith(f"-{span.type}") for span in found for place in range(span.start, span.end))
    for scheme in SCHEMES[1:]:
        made = tags_of(found, len(tags), scheme)
        assert spans(made) == found
        assert not broken(made, scheme)


def test_no_words_have_no_spans() -> None:
    assert spans([]) == tags_of([], 0, "iob2") == []
    assert spans(["NOUN", "VERB"]) == []
    assert spans(["B-A-B", "I-A-B"]) == [Span(0, 2, "A-B")]
