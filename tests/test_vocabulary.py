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
    assert ids(load_tokenizer(path)) == [2, 1, 3]  # one of its two words has a capital, so it is cased


@pytest.mark.parametrize(
    ("entries", "uncased"),
    [
        (
            (*map("{}word".format, "abcdefgh"), "\u211d", "##\u211d", "I", "[X]"),
            True,
        ),  # capitals, none of them a word's
        ((*map("{}word".format, map(chr, range(0x250, 0x2A0))), *"ABC"), True),
        ((*(f"{a}{b}word" for a in "abcdefghij" for b in "abcdefghij"), "The", "A"), True),  # one of 101
        (("the", "The", "of", "and"), False),
        (("电", "影"), True),  # no word at all: as transformers does
    ],
)
def test_whole_words_decide_and_the_choice_is_told(entries: tuple[str, ...], uncased: bool, tmp_path: Path) -> None:
    path = write(tmp_path / "vocab.txt", (*WORD_PIECE[:5], *entries))
    found = load_tokenizer(path)
    assert found.note is not None
    assert f"read as {'uncased' if uncased else 'cased'}" in found.note
    assert str(path) in found.note
    assert json.loads(found.to_json())["normalizer"]["lowercase"] is uncased
    assert load_tokenizer(path, uncased=False).note is None
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": not uncased}))
    told = load_tokenizer(tmp_path)
    assert told.note is None
    assert json.loads(told.to_json())["normalizer"]["lowercase"] is not uncased


def test_minilms_own_vocabulary_alone_is_read_as_transformers_reads_it(real_cache: Path, tmp_path: Path) -> None:
    shutil.copy(next(real_cache.glob("sources/*minilm*/vocab.txt")), tmp_path / "vocab.txt")  # it has the letter ℝ
    theirs = original("BertTokenizer", tmp_path)(list(HARD))["input_ids"]
    assert rows(load_tokenizer(tmp_path).encode(HARD, None, Tokens(max_length=8192))) == [
        row[:8191] + row[-1:] if len(row) > 8192 else row for row in theirs
    ]


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


def roberta(folder: Path, entries: dict[str, int], merges: str) -> dict[str, Path]:
    """A vocabulary in every layout that a preset can have: its name, and the folder or file to read it from."""
    made: dict[str, Path] = {}
    for name in ("hub", "hub_configured", "hub_whole", "hub_json", "keras"):
        made[name] = folder / name
        inside = made[name] / "assets" / "tokenizer" if name == "keras" else made[name]
        inside.mkdir(parents=True)
        (inside / ("vocabulary.json" if name == "keras" else "vocab.json")).write_text(json.dumps(entries))
        (inside / "merges.txt").write_text(merges)
    (made["keras"] / "tokenizer.json").write_text('{"class_name": "RobertaTokenizer", "config": {"dtype": "int32"}}')
    (made["hub_configured"] / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')
    theirs = original("RobertaTokenizer", made["hub"])
    for name in ("hub_whole", "hub_json"):
        theirs.save_pretrained(made[name])
        assert (made[name] / "tokenizer.json").is_file()
    (made["hub_json"] / "vocab.json").unlink()
    return made | {"file": made["hub"] / "vocab.json", "whole_file": made["hub_json"] / "tokenizer.json"}


def unlike_transformers(made: dict[str, Path]) -> list[str]:
    """The layouts that are read otherwise than transformers reads the first, or with a guess.

    Texts with <mask> are left out: Keras's presets let it take the space before it.
    """
    texts = ["the model of a model", "model", *(text for text in HARD if "<mask>" not in text and len(text) < 5000)]
    theirs = original("RobertaTokenizer", made["hub"])(texts, max_length=512, truncation=True)["input_ids"]
    ours = {name: load_tokenizer(path) for name, path in made.items()}
    return [
        name
        for name, found in ours.items()
        if rows(found.encode(texts, None, Tokens(max_length=512))) != theirs or found.note is not None
    ]


def test_model_is_a_word_like_any_other(tmp_path: Path) -> None:
    """GPT-2's vocabulary has it, and so RoBERTa's; it is no sign of a tokenizer.json."""
    source = vocabulary_folder("nano_bpe")
    entries = json.loads((source / "vocab.json").read_text(encoding="utf-8"))
    merges = (source / "merges.txt").read_text(encoding="utf-8")
    for pair in (("m", "o"), ("mo", "d"), ("mod", "e"), ("mode", "l"), ("Ġ", "model")):
        if f"{pair[0]} {pair[1]}\n" not in merges:
            merges += f"{pair[0]} {pair[1]}\n"
        entries.setdefault("".join(pair), len(entries))
    assert unlike_transformers(roberta(tmp_path, entries, merges)) == []


@pytest.mark.slow
def test_gpt2s_real_vocabulary_in_every_layout(gpt2: Path, tmp_path: Path) -> None:
    entries = json.loads((gpt2 / "encoder.json").read_text(encoding="utf-8"))
    assert {"model", "Ġmodel"} <= set(entries)
    del entries["<|endoftext|>"]
    words = ["<s>", "<pad>", "</s>", "<unk>", *entries, "madeupword0000", "madeupword0001", "madeupword0002", "<mask>"]
    assert len(words) > 50_000
    numbered = {word: number for number, word in enumerate(words)}
    made = roberta(tmp_path, numbered, (gpt2 / "vocab.bpe").read_text(encoding="utf-8"))
    assert unlike_transformers(made) == []


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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vocab.json", '{"a": '),
        ("vocab.json", "[" * 100_000),
        ("vocab.json", '{"a": ' * 100_000 + "}" * 100_000),
        ("vocab.json", '{"a": ' + "9" * 5000 + "}"),
        ("vocab.json", '{"<s>": "0", "</s>": [], "<pad>": 1.5, "<unk>": null}'),
        ("vocab.json", '{"<s>": -1, "</s>": 99999999999999999999, "<pad>": 1, "<unk>": 2}'),
        ("tokenizer.json", '{"model": {}}'),
        ("tokenizer.json", '{"model": ' + "[" * 100_000 + "}"),
        ("tokenizer.json", '{"model": {"type": "WordPiece", "vocab": {"[UNK]": "\\ud800"}}}'),
        ("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n\udcff\n"),
    ],
    ids=lambda text: text[:30],
)
def test_damaged_files(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    with pytest.raises(EnvironmentFault, match=name):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "settings",
    ["[]", "{", '{"do_lower_case": "maybe"}', '{"strip_accents": [1]}', '{"added_tokens_decoder": [1]}', "[" * 100_000],
    ids=lambda text: text[:30],
)
def test_settings_of_wrong_types(settings: str, tmp_path: Path) -> None:
    write(tmp_path / "vocab.txt")
    (tmp_path / "tokenizer_config.json").write_text(settings)
    with pytest.raises(EnvironmentFault, match="tokenizer_config"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_of_another_kind(tmp_path: Path) -> None:
    value = json.loads(nano().to_json())
    value["added_tokens"] = []
    value["model"]["vocab"] = {"[UNK]": 0, "a": 1}
    (tmp_path / "tokenizer.json").write_text(json.dumps(value))
    with pytest.raises(EnvironmentFault, match=r"neither \[CLS\]"):
        load_tokenizer(tmp_path)
