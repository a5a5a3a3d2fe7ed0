"""YAML 1.2 by its kinds: texts of our own, each with the value that the specification gives it, or refused."""

from __future__ import annotations

import pytest
import yaml

from zoo.errors import RecipeError
from zoo.recipe.yaml12 import read_yaml

VALUES: dict[str, object] = {
    # tabs between tokens (6.1, 6.2)
    "rate:\t1\n": {"rate": 1},
    "rate: 1\t# as in the paper\n": {"rate": 1},
    "a: 1\n\t\nb: 2\n": {"a": 1, "b": 2},
    "a:\n  b: 1\n \t# deep\n  c: 2\n": {"a": {"b": 1, "c": 2}},
    "-\tx\n-\t\ty\n": ["x", "y"],
    "a:\n \tx\n": {"a": "x"},
    "a: [\n \t1,\n\t\n  2\t]\n": {"a": [1, 2]},
    "---\ttext\n": "text",
    "a: | \t# text\n  x\n": {"a": "x\n"},
    "a: x\ty\n": {"a": "x\ty"},
    # plain text over lines (6.5, 7.3.3)
    "a: one\n  two\n\n  three\n": {"a": "one two\nthree"},
    "a: one\n  \t\n  two\n": {"a": "one\ntwo"},
    "- one\n \ttwo\n": ["one two"],
    # signs that begin or stand within plain text
    "a: [:x, ?y, -z, a?b, c ?]\n": {"a": [":x", "?y", "-z", "a?b", "c ?"]},
    "a: {x: :y, ?k: 1, k?: 2}\n": {"a": {"x": ":y", "?k": 1, "k?": 2}},
    "a: [::x, http://x.org/#y]\n": {"a": ["::x", "http://x.org/#y"]},
    "a: x#y\n": {"a": "x#y"},
    "- ::x\n- -1\n- ?x\n": ["::x", -1, "?x"],
    # keys within braces (7.4)
    'a: {"k"\n : 1}\n': {"a": {"k": 1}},
    'a: {"k" # why\n  :1, "l":2}\n': {"a": {"k": 1, "l": 2}},
    "a: {long\n  key: 1, k\n  : 2}\n": {"a": {"long key": 1, "k": 2}},
    'a: {"k"::x}\n': {"a": {"k": ":x"}},
    "a: {k, l: }\n": {"a": {"k": None, "l": None}},
    "a: [k: 1, 2]\n": {"a": [{"k": 1}, 2]},
    # blocks (8.1)
    "a: |\n  x\n   ": {"a": "x\n \n"},
    "a: |+\n  x\n\n": {"a": "x\n\n"},
    "a: |-\n  x": {"a": "x"},
    "a: |\n  x": {"a": "x\n"},
    "a: >\n  x\n  y\n\n  z\n": {"a": "x y\nz\n"},
    "- |+\n   ": ["\n"],
    "a: |1\n  x\n": {"a": " x\n"},
    "a: |\n\n  x\n": {"a": "\nx\n"},
    # quoted
    "a: 'it''s'\n": {"a": "it's"},
    'a: "x\\\n  y\\tz"\n': {"a": "xy\tz"},
    'a: "x\n\n  y"\n': {"a": "x\ny"},
    'a: "\\ud83d\\ude00"\n': {"a": "😀"},
    'a: "\\L\\P\\N"\n': {"a": "\u2028\u2029\x85"},
    # what JSON users write: the closing bracket under its key
    "a: {\n  k: [\n    1\n  ]\n}\n": {"a": {"k": [1]}},
}

REFUSED = {
    "a: [1]#x\n": "a # right after text",
    "a: [1,#x\n  2]\n": "a # right after text",
    'a: "x"# y\n': "a # right after text",
    "a: [1,\n2]\n": "not indented",
    "a: {k: 1,\nl: 2}\n": "not indented",
    'a: "x\ny"\n': "indented too little",
    "a: 'x\n\ty'\n": "indented too little",
    "a: [-, 1]\n": "cannot start any token",
    "a:\n\t- 1\n": "a tab as indent",
    "a:\n  b: 1\n\tc: 2\n": "a tab as indent",
    "-\t- 1\n": "a tab as indent",
    "-\tk: 1\n": "a tab as indent",
    "?\tk: 1\n": "a tab as indent",
    "a:\n\tx\n": "a tab as indent",
    "a: [\n\t1]\n": "a tab as indent",
    "a: |\n\t\nb: 1\n": "a tab as indent",
    "a: >\n   \n  x\n": "fewer spaces than an empty one",
    "a:\n|\n  x\n": "a text that is not indented",
    "|\nx\n": "a text that is not indented",
    "a: [k\n  : 1]\n": "expected ',' or ']'",
    "a: b: 1\n": "mapping values are not allowed",
    "a: 1\n---\nb: 2\n": "a second document",
    "a: x\u2028y\n": "YAML 1.1 took for a line break",
    "a: x\x85": "YAML 1.1 took for a line break",
}

BY_RULE = {
    "a: &x 1\n": "got the anchor &x",
    "a: !!str 1\n": "got the tag",
    "a: 1\na: 2\n": "a second time",
    "? [1]\n: 2\n": "got a list or a group as a key",
    'a: "\\ud83d"\n': "half a character",
    '"\\udc00": 1\n': "half a character",
}


@pytest.mark.parametrize("text", VALUES)
def test_value(text: str) -> None:
    document = read_yaml(text, "t")
    assert document.faults == []
    assert document.data == VALUES[text]


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read_yaml(text, "t")
    assert REFUSED[text] in str(caught.value)
    assert str(caught.value).startswith("t:")


@pytest.mark.parametrize("text", BY_RULE)
def test_refused_by_a_rule_of_recipes(text: str) -> None:
    assert [fault for fault in read_yaml(text, "t").faults if BY_RULE[text] in fault.message]


def test_places_hold_where_the_scanner_was_mended() -> None:
    document = read_yaml('a:\t{"k"\n   :\t1,\n  l: [x,\n\t\n   y]}\n', "t")
    assert str(document.values["a", "k"]) == "t:2:6"
    assert str(document.keys["a", "l"]) == "t:3:3"
    assert str(document.values["a", "l", 1]) == "t:5:4"


def test_stock_pyyaml_reads_some_of_these_otherwise() -> None:
    """Why the scanner is mended: what would be another value, what refused, what taken."""

    def stock(text: str) -> object:
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return yaml.YAMLError

    assert sum(stock(text) is yaml.YAMLError for text in VALUES) >= 15
    assert sum(stock(text) not in (yaml.YAMLError, VALUES[text]) for text in VALUES) >= 4
    assert sum(stock(text) is not yaml.YAMLError for text in REFUSED) >= 8
