"""Texts as words with a tag each, from lists, text and spans of characters."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.worded import Worded, places_of, read_tags, read_texts
from zoo.errors import DataError
from zoo.score.tagging import Scheme, spans
from zoo.tasks import Stated

PATH = Path("rows.jsonl")
NAMES = ("O", "B-PER", "I-PER")


def read(
    texts: list[Any],
    labels: list[Any],
    *,
    names: tuple[str, ...] | None = None,
    scheme: Scheme | None = None,
    learned: Scheme | None = None,
    repair: bool = True,
) -> Worded:
    columns = read_texts("train", PATH, {"text": texts, "label": labels, "line": range(1, len(texts) + 1)})
    stated = Stated(columns=("tags",), names=names)
    return read_tags({"train": columns}, {"train": PATH}, stated, scheme=scheme, learned=learned, repair=repair)


def tagged(worded: Worded) -> list[list[tuple[str, str]]]:
    """Each text's words with their tags."""
    table = worded.columns["train"]
    return [
        [(text[start:end], tag) for (start, end), tag in zip(places, tags, strict=True)]
        for text, places, tags in zip(table["text"], table["words"], table["label"], strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (["Ann", "Lee", "is", "here."], ["B-PER", "I-PER", "O", "O"]),
        (["Ann", "Lee", "is", "here."], [1, 2, 0, 0]),
        ("Ann  Lee is here.", "B-PER I-PER O O"),
        ("Ann Lee is here.", '["B-PER", "I-PER", "O", "O"]'),
    ],
)
def test_tags_of_words(text: Any, label: Any) -> None:
    found = read([text], [label], names=NAMES)
    assert tagged(found) == [[("Ann", "B-PER"), ("Lee", "I-PER"), ("is", "O"), ("here.", "O")]]
    assert found.scheme == "iob2"
    assert not found.notes


def test_spans_of_characters_become_tags_and_are_widened_to_whole_words() -> None:
    label = [{"start": 10, "end": 14, "label": "LOC"}, {"start": 0, "end": 3, "label": "PER"}]
    found = read(["Ann's in  Oslo-Fo.", "none"], [label, []])
    assert tagged(found) == [
        [
            *zip(
                ["Ann", "'", "s", "in", "Oslo", "-", "Fo", "."],
                ["B-PER", "O", "O", "O", "B-LOC", "O", "O", "O"],
                strict=True,
            )
        ],
        [("none", "O")],
    ]
    cut = [{"start": 1, "end": 6, "label": "PER"}]
    mended = read(["Ann Lee."], [cut])
    assert tagged(mended) == [[("Ann", "B-PER"), ("Lee", "I-PER"), (".", "O")]]
    assert mended.notes == ("train: 1 spans that end within a word were widened to whole words",)
    with pytest.raises(DataError, match="line 1 has a span that ends within a word: 'nn Le' of 'Ann Lee'"):
        read(["Ann Lee."], [cut], repair=False)


def test_tags_out_of_place_are_mended_and_counted_or_refused_with_the_row() -> None:
    texts, labels = [["a", "b"], ["c", "d"]], [["B-PER", "I-PER"], ["O", "I-PER"]]
    found = read(texts, labels)
    assert found.columns["train"]["label"] == [["B-PER", "I-PER"], ["O", "B-PER"]]
    assert found.notes == ("train: 1 tags have no place under iob2 and were read as conlleval reads them",)
    with pytest.raises(DataError, match="line 2 has a tag out of place: I-PER of word 2"):
        read(texts, labels, repair=False)
    # Of IOB1, where all tags have their place, and as a model of BIOES knows them.
    first = read([["a", "b"]], [["I-PER", "B-PER"]], repair=False)
    assert (first.scheme, first.columns["train"]["label"]) == ("iob1", [["B-PER", "B-PER"]])
    assert read(texts, labels, learned="bioes").columns["train"]["label"] == [["B-PER", "E-PER"], ["O", "S-PER"]]
    assert read([["a"]], [["NOUN"]]).scheme == "plain"


@pytest.mark.parametrize(
    ("text", "label", "told"),
    [
        (["a", ""], ["O", "O"], "a word that is none: ''"),
        (["a", 3], ["O", "O"], "a word that is none: 3"),
        (["a", "b"], ["O"], "another number of tags than words: 1 of 2"),
        ("it's so", "O O O O O", "another number of tags than words: 5 of 4"),
        (["a"], [0], "class numbers: 0, expected names"),
        (["a"], [None], "a tag that is none: None"),
        ("a b", [{"start": 0, "end": 9, "label": "X"}], "a span outside its text: 0 to 9 of 3"),
        ("a  b", [{"start": 1, "end": 2, "label": "X"}], "a span without a word"),
        ("a b", [{"start": 0, "end": 3, "label": "X"}, {"start": 2, "end": 3, "label": "Y"}], "share a word: X and Y"),
        ("a b", [{"start": 0, "label": "X"}], "a span that is none"),
    ],
)
def test_what_is_refused(text: Any, label: Any, told: str) -> None:
    with pytest.raises(DataError) as caught:
        read([text], [label])
    assert told in str(caught.value)
    assert "rows.jsonl: train: line 1" in str(caught.value)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), min_size=1))
def test_words_of_a_list_stand_where_they_are_said_to(given_words: list[str]) -> None:
    found = read_texts("train", PATH, {"text": [given_words], "line": [1]})
    assert [found["text"][0][start:end] for start, end in found["words"][0]] == given_words


@given(st.text(st.sampled_from("aB' -\N{LATIN SMALL LETTER E WITH ACUTE}.我\n")), st.data())
def test_every_word_that_a_span_touches_is_its_own_and_no_other(text: str, data: st.DataObject) -> None:
    places = places_of(text)
    if not places:
        return
    first = data.draw(st.integers(0, len(places) - 1))
    last = data.draw(st.integers(first, len(places) - 1))
    label = [{"start": places[first][0], "end": places[last][1], "label": "X"}]
    found = read([text], [label], repair=False)
    assert [span[:2] for span in spans(found.columns["train"]["label"][0])] == [(first, last + 1)]
