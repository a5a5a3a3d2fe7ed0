"""Vocabularies from disk: every layout, its settings as the original tokenizers take them, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tools.comparisons.tokenization import HARD, original
from zoo.data.catalog import vocabulary_folder
from zoo.data.tokens import Tokenizer, TokenTable, load_tokenizer
from zoo.errors import EnvironmentFault
from zoo.recipe.types import Tokens

STRIPPING = {"content": "<mask>", "single_word": False, "lstrip": True, "rstrip": False, "normalized": False}
"""How Hugging Face's folders describe a <mask> that takes the space before it."""


def rows(table: TokenTable) -> list[list[int]]:
    return [table.ids[a:b].tolist() for a, b in zip(table.offsets[:-1], table.offsets[1:], strict=True)]


def nano() -> Tokenizer:
    return load_tokenizer(vocabulary_folder("nano_uncased"))


WORD_PIECE = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cafe", "Cafe")


def write(path: Path, entries: tuple[str, ...] = WORD_PIECE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(entries) + "\n", encoding="utf-8")
    return path


def ids(tokenizer: Tokenizer) -> list[int]:
    return rows(tokenizer.encode(["Café"], None, Tokens()))[0]


def test_a_file_and_what_is_said_of_it(tmp_path: Path) -> None:
    path = write(tmp_path / "vocab.txt")
    assert ids(load_tokenizer(path, uncased=True)) == [2, 5, 3]
    assert ids(load_tokenizer(path, uncased=False)) == [2, 1, 3]
    assert ids(load_tokenizer(path)) == [2, 1, 3]  # it has a capital, so it is cased


def test_lower_case_is_seen_from_the_vocabulary(tmp_path: Path) -> None:
    assert ids(load_tokenizer(write(tmp_path / "vocab.txt", WORD_PIECE[:-1]))) == [2, 5, 3]


def test_lines_end_where_the_original_ends_them(tmp_path: Path) -> None:
    """U+2028 and form feeds are entries of some vocabularies; Python's splitlines would number the rest anew."""
    entries = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\u2028\nfoo\n\x85\n\x0c\n\nbar\r\nbaz "
    (tmp_path / "vocab.txt").write_bytes(entries.encode())
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    expected = original("BertTokenizer", tmp_path)("foo bar baz")["input_ids"]
    assert expected == [2, 6, 10, 11, 3]
    assert rows(load_tokenizer(tmp_path).encode(["foo bar baz"], None, Tokens())) == [expected]


@pytest.mark.parametrize("settings", [{"strip_accents": False}, {"tokenize_chinese_chars": False}])
def test_settings_of_word_piece(settings: dict[str, bool], tmp_path: Path) -> None:
    write(tmp_path / "vocab.txt", (*WORD_PIECE, "café", "电", "影", "##影"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, **settings}))
    texts = ["Café 电影"]
    theirs = original("BertTokenizer", tmp_path)(texts)["input_ids"]
    assert rows(load_tokenizer(tmp_path).encode(texts, None, Tokens())) == theirs
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert rows(load_tokenizer(tmp_path).encode(texts, None, Tokens())) != theirs


@pytest.mark.parametrize(
    ("files", "first"),
    [
        ({}, ["one", "Ġ", "<mask>"]),
        ({"tokenizer_config.json": {"mask_token": "<mask>"}}, ["one", "Ġ", "<mask>"]),
        ({"tokenizer_config.json": {"add_prefix_space": True}}, ["Ġone", "Ġ", "<mask>"]),
        ({"tokenizer_config.json": {"mask_token": {"__type": "AddedToken"} | STRIPPING}}, ["one", "<mask>"]),
        ({"special_tokens_map.json": {"mask_token": STRIPPING}}, ["one", "<mask>"]),
        ({"tokenizer_config.json": {"added_tokens_decoder": {"660": STRIPPING}}}, ["one", "<mask>"]),
    ],
)
def test_settings_of_byte_level_bpe(files: dict[str, Any], first: list[str], tmp_path: Path) -> None:
    source = vocabulary_folder("nano_bpe")
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(source / name, tmp_path / name)
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    texts = ["one <mask> two", " <mask>", "a b", " a"]
    theirs = original("RobertaTokenizer", tmp_path)(texts)["input_ids"]
    ours = load_tokenizer(tmp_path)
    assert rows(ours.encode(texts, None, Tokens())) == theirs
    assert ours.pieces(theirs[0])[1 : len(first) + 1] == first


@pytest.mark.parametrize(("lowercase", "expected"), [(True, [2, 5, 3]), (False, [2, 1, 3])])
def test_keras_layout(tmp_path: Path, lowercase: bool, expected: list[int]) -> None:
    write(tmp_path / "assets" / "tokenizer" / "vocabulary.txt")
    settings = {"class_name": "BertTokenizer", "config": {"lowercase": lowercase}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    assert ids(load_tokenizer(tmp_path)) == expected


def test_keras_layout_of_roberta(tmp_path: Path) -> None:
    assets = tmp_path / "assets" / "tokenizer"
    assets.mkdir(parents=True)
    source = vocabulary_folder("nano_bpe")
    shutil.copy(source / "vocab.json", assets / "vocabulary.json")
    shutil.copy(source / "merges.txt", assets / "merges.txt")
    (tmp_path / "tokenizer.json").write_text('{"class_name": "RobertaTokenizer", "config": {}}')
    config = Tokens(max_length=64)
    texts = [text for text in HARD if "<mask>" not in text]
    expected = rows(load_tokenizer(source).encode(texts, None, config))
    ours = load_tokenizer(tmp_path)
    assert rows(ours.encode(texts, None, config)) == expected
    # As RoBERTa's own: it takes the space before it.
    assert ours.pieces(rows(ours.encode(["a <mask> b"], None, config))[0]) == ["<s>", "a", "<mask>", "Ġb", "</s>"]
    (tmp_path / "tokenizer.json").write_text('{"config": {"add_prefix_space": true}}')
    assert ours.pieces(rows(load_tokenizer(tmp_path).encode(["a"], None, config))[0]) == ["<s>", "Ġa", "</s>"]


def test_tokenizer_json(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(nano().to_json(), encoding="utf-8")
    config = Tokens(max_length=64)
    expected = rows(nano().encode(HARD, None, config))
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert rows(load_tokenizer(path).encode(HARD, None, config)) == expected


def test_json_round_trip() -> None:
    for name in ("nano_uncased", "nano_bpe"):
        tokenizer = load_tokenizer(vocabulary_folder(name))
        again = Tokenizer.from_json(tokenizer.to_json())
        config = Tokens(max_length=64)
        assert rows(again.encode(HARD, None, config)) == rows(tokenizer.encode(HARD, None, config))
        assert again.specials == tokenizer.specials


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"no vocabulary there, expected tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_special_tokens_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "vocab.txt", ("[PAD]", "[UNK]", "a"))
    with pytest.raises(EnvironmentFault, match=r"\[CLS\], \[SEP\] missing"):
        load_tokenizer(path)


def test_bpe_without_merges(tmp_path: Path) -> None:
    shutil.copy(vocabulary_folder("nano_bpe") / "vocab.json", tmp_path / "vocab.json")
    with pytest.raises(EnvironmentFault, match=r"merges.txt: missing, expected beside vocab.json"):
        load_tokenizer(tmp_path)


def test_bpe_without_special_tokens(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": 0, "<pad>": 1}')
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(EnvironmentFault, match="<s>, </s>, <unk> missing"):
        load_tokenizer(tmp_path)


def test_damaged_json(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"a": ')
    with pytest.raises(EnvironmentFault, match="not valid JSON"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_of_another_kind(tmp_path: Path) -> None:
    value = json.loads(nano().to_json())
    value["added_tokens"] = []
    value["model"]["vocab"] = {"[UNK]": 0, "a": 1}
    (tmp_path / "tokenizer.json").write_text(json.dumps(value))
    with pytest.raises(EnvironmentFault, match=r"neither \[CLS\]"):
        load_tokenizer(tmp_path)
