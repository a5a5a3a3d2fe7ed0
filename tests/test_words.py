"""Words as people read them, whatever the vocabulary makes of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.words import words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A well-known film, isn't it?!", ["A", "well-known", "film", ",", "isn't", "it", "?!"]),
        (
            "l\N{RIGHT SINGLE QUOTATION MARK}homme -- 'so'",
            ["l\N{RIGHT SINGLE QUOTATION MARK}homme", "--", "'", "so", "'"],
        ),
        ("我爱你 ok", ["我", "爱", "你", "ok"]),
        ("e\u0301te\u0301 हिन्दी", ["e\u0301te\u0301", "हिन्दी"]),
        ("5€ \U0001f600\nx\x1b[31m", ["5", "€", "\U0001f600", "x", "[", "31m"]),
        ("<script>", ["<", "script", ">"]),
        ("", []),
        (" \t\n", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in words(text)] == found


@given(st.text())
def test_words_hold_all_but_white_space(text: str) -> None:
    places = words(text)
    assert all(start < end for start, end in places)
    assert [place for pair in places for place in pair] == sorted(place for pair in places for place in pair)
    inside = {place for start, end in places for place in range(start, end)}
    outside = [character for place, character in enumerate(text) if place not in inside]
    assert all(character.isspace() or ord(character) < 32 or 127 <= ord(character) < 160 for character in outside)
