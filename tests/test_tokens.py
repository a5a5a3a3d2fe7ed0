"""Token ids against the original tokenizers of transformers, truncation by hand, and the cache."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.data import tokens
from zoo.data.catalog import backbone_card, vocabulary_folder
from zoo.data.dataset import Dataset, Split
from zoo.data.sources import cache_folder, locate_first
from zoo.data.tokens import Tokenizer, TokenTable, doubts, encode_cached, encode_splits, load_tokenizer
from zoo.errors import DataError, EnvironmentFault
from zoo.recipe.types import Tokens

HARD = [
    "",
    " ",
    "A truly GREAT film.",
    "Café naïve, crème brûlée, Ångström, İstanbul",
    "Cafe\u0301 nai\u0308ve with combining accents",
    "👍🏽 emoji 👩‍👩‍👧‍👦 and flags 🇪🇺",
    "电影 is 很好, 日本語のテキスト and 한국어",
    "no\u00a0break\u2009thin\u3000ideographic spaces",
    "zero\u200bwidth\u200djoiner\ufeffmark\u2060word",
    "soft\u00adhyphen and bell\x07 and \ufffd",
    "Straße, ẞ, ß",
    "ﬁne oﬃce ligatures",
    "tabs\tand\nnew\r\nlines   and   runs",
    "don't can't we'll I'm they'd you've it's",
    "10,000.50$ 3/4 1e-5 @user #tag http://a.b/c?d=e&f",
    "…—\u2013“quotes”\u2018single\u2019«guillemets»",
    "ελληνικά Ελληνικός русский עברית العربية हिन्दी ไทย",
    "<br />HTML<br />",
    "x" * 10_000,
    "é" * 10_000,
    "great " * 3_000,
]
# Shorter than the texts: transformers keeps what it cuts off, each part of the first with each of the second.
PAIRS = [(a[:600], b[:600]) for a in HARD[:4] + HARD[-3:] for b in (HARD[0], HARD[2], HARD[3], HARD[-1])]


@pytest.fixture(scope="module")
def original() -> Callable[[str, Path], Any]:
    """A tokenizer of transformers by class name and folder."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports, which is not ours
        import transformers
    return lambda name, folder: getattr(transformers, name).from_pretrained(folder)


def rows(table: TokenTable) -> list[list[int]]:
    return [table.ids[a:b].tolist() for a, b in zip(table.offsets[:-1], table.offsets[1:], strict=True)]


def segments(table: TokenTable) -> list[list[int]]:
    return [
        [int(position >= start) for position in range(length)]
        for length, start in zip(table.lengths, table.second, strict=True)
    ]


def assert_equal_to(theirs: Any, ours: Tokenizer, max_length: int) -> None:
    config = Tokens(max_length=max_length)
    how = {"truncation": "longest_first", "max_length": max_length}
    for text, found in zip(HARD, rows(ours.encode(HARD, None, config)), strict=True):
        assert found == theirs(text, **how)["input_ids"], text[:60]
    first, second = zip(*PAIRS, strict=True)
    table = ours.encode(first, second, config)
    for pair, found, kinds in zip(PAIRS, rows(table), segments(table), strict=True):
        # In lists: transformers takes a second text that is empty for none.
        expected = theirs([pair[0]], [pair[1]], return_token_type_ids=True, **how)
        assert found == expected["input_ids"][0], [text[:60] for text in pair]
        # RoBERTa has no segments, and its tokenizer says 0 throughout.
        assert len(ours.specials.between) == 2 or kinds == expected["token_type_ids"][0]


@pytest.mark.parametrize("max_length", [8, 9, 33, 512])
class TestTheOriginals:
    @pytest.mark.parametrize("kind", ["BertTokenizer", "DistilBertTokenizer"])
    def test_nano_word_piece(self, original: Callable[[str, Path], Any], kind: str, max_length: int) -> None:
        folder = vocabulary_folder("nano_uncased")
        assert_equal_to(original(kind, folder), load_tokenizer(folder), max_length)

    def test_cased(self, original: Callable[[str, Path], Any], max_length: int, tmp_path: Path) -> None:
        entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Café", "Cafe", "cafe", "A", "GREAT", "film", "##film"]
        (tmp_path / "vocab.txt").write_text("\n".join(entries), encoding="utf-8")
        (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}')
        ours = load_tokenizer(tmp_path)
        assert_equal_to(original("BertTokenizer", tmp_path), ours, max_length)
        table = ours.encode(["Café Cafe cafe"], None, Tokens(max_length=max_length))
        assert rows(table) == [[2, 5, 6, 7, 3]]

    def test_nano_byte_level_bpe(self, original: Callable[[str, Path], Any], max_length: int) -> None:
        folder = vocabulary_folder("nano_bpe")
        assert_equal_to(original("RobertaTokenizer", folder), load_tokenizer(folder), max_length)

    def test_minilm(
        self,
        original: Callable[[str, Path], Any],
        max_length: int,
        real_cache: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("ZOO_CACHE", str(real_cache))
        located = locate_first(backbone_card("minilm_l6_en_uncased").origins)
        assert located is not None
        ours = load_tokenizer(located[1])
        assert ours.vocabulary_size == 30522
        assert_equal_to(original("BertTokenizer", located[1]), ours, max_length)


def test_the_comparison_can_fail(original: Callable[[str, Path], Any]) -> None:
    """What keras-hub does, no accents stripped, is seen to be another tokenizer."""
    folder = vocabulary_folder("nano_uncased")
    ours = load_tokenizer(folder)
    ours.rust.normalizer.strip_accents = False
    with pytest.raises(AssertionError, match="Café"):
        assert_equal_to(original("BertTokenizer", folder), ours, 512)


class TestTruncation:
    """Letters of nano_uncased: a single text of ten tokens, with room for six."""

    text = "a b c d e f g h i j"

    @pytest.mark.parametrize(
        ("config", "kept"),
        [
            ({"truncation": "head"}, "a b c d e f"),
            ({"truncation": "tail"}, "e f g h i j"),
            ({"truncation": "head_tail", "head": 2}, "a b g h i j"),
            ({"truncation": "head_tail", "head": 5}, "a b c d e j"),
            # a quarter of max_length
            ({"truncation": "head_tail"}, "a b g h i j"),
        ],
    )
    def test_what_is_kept(self, config: dict[str, Any], kept: str) -> None:
        tokenizer = nano()
        table = tokenizer.encode([self.text, "a b c d e f"], None, Tokens(max_length=8, **config))
        assert tokenizer.pieces(rows(table)[0]) == ["[CLS]", *kept.split(), "[SEP]"]
        assert tokenizer.pieces(rows(table)[1]) == ["[CLS]", *"abcdef", "[SEP]"]
        assert table.truncated == 1

    @pytest.mark.parametrize(("truncation", "kept"), [("head", "a b c"), ("tail", "h i j"), ("head_tail", "a b j")])
    def test_the_longer_of_a_pair_gives_way(self, truncation: str, kept: str) -> None:
        tokenizer = nano()
        config = Tokens(max_length=8, truncation=truncation)  # type: ignore[arg-type]
        (row,) = rows(tokenizer.encode([self.text], ["k l"], config))
        assert tokenizer.pieces(row) == ["[CLS]", *kept.split(), "[SEP]", "k", "l", "[SEP]"]

    @pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
    def test_no_row_is_longer_than_it_may_be(self, truncation: str) -> None:
        config = Tokens(max_length=4, truncation=truncation)  # type: ignore[arg-type]
        for name in ("nano_uncased", "nano_bpe"):
            tokenizer = load_tokenizer(vocabulary_folder(name))
            for pairs in (None, HARD):
                table = tokenizer.encode(HARD, pairs, config)
                assert table.lengths.max() == 4
                assert table.lengths.min() >= 2


def nano() -> Tokenizer:
    return load_tokenizer(vocabulary_folder("nano_uncased"))


class TestTable:
    def test_layout(self) -> None:
        table = nano().encode(["a b", "", "c"], None, Tokens(max_length=16))
        assert len(table) == 3
        assert table.offsets.tolist() == [0, 4, 6, 9]
        assert table.lengths.tolist() == [4, 2, 3]
        assert table.second.tolist() == [4, 2, 3]
        assert (table.ids.dtype, table.offsets.dtype, table.second.dtype) == (np.int32, np.int64, np.int32)
        assert (table.pad, table.truncated) == (0, 0)

    def test_what_the_rows_would_be_in_full(self) -> None:
        texts, pairs = ["a b c d", "a b", "a b c"], ["x", "y", "z z z z"]
        table = nano().encode(texts, pairs, Tokens(max_length=6))
        assert table.full.tolist() == [8, 6, 10]
        assert table.truncated == 2

    def test_second_segment_starts_after_the_first_separator(self) -> None:
        table = nano().encode(["a b", ""], ["c", "d e"], Tokens(max_length=16))
        assert segments(table) == [[0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1]]
        assert table.second.tolist() == [4, 2]

    def test_no_rows(self) -> None:
        table = nano().encode([], None, Tokens(max_length=16))
        assert (len(table), table.ids.tolist(), table.offsets.tolist()) == (0, [], [0])

    def test_progress_counts_all_rows_in_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "CHUNK", 2)
        done: list[int] = []
        table = nano().encode(list("abcde"), list("fghij"), Tokens(max_length=16), progress=done.append)
        assert done == [2, 2, 1]
        assert [row[3] for row in rows(table)] == [row[1] for row in rows(nano().encode("fghij", None, Tokens()))]

    def test_json_round_trip(self) -> None:
        for name in ("nano_uncased", "nano_bpe"):
            tokenizer = load_tokenizer(vocabulary_folder(name))
            again = Tokenizer.from_json(tokenizer.to_json())
            config = Tokens(max_length=64)
            assert rows(again.encode(HARD, None, config)) == rows(tokenizer.encode(HARD, None, config))
            assert again.specials == tokenizer.specials


class TestCache:
    texts = ("a b c", "d e", "f")

    @pytest.fixture(autouse=True)
    def _empty(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path))

    def files(self) -> set[str]:
        return {path.name for path in (cache_folder() / "tokens").iterdir()}

    @pytest.mark.parametrize("pairs", [None, ["x y", "z", ""]])
    def test_hit_equals_fresh(self, pairs: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
        config = Tokens(max_length=4)
        fresh = encode_cached(nano(), self.texts, pairs, config)
        tokenizer = nano()
        monkeypatch.setattr(tokenizer, "encode", None)  # a hit tokenizes nothing
        done: list[int] = []
        hit = encode_cached(tokenizer, self.texts, pairs, config, progress=done.append)
        for field in ("ids", "offsets", "second", "full"):
            ours, theirs = getattr(hit, field), getattr(fresh, field)
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
        assert (hit.truncated, hit.pad, done) == (fresh.truncated, fresh.pad, [3])
        assert len(self.files()) == 1

    @pytest.mark.parametrize(
        ("texts", "pairs", "config"),
        [
            (texts, None, Tokens(max_length=5)),
            (texts, None, Tokens(max_length=4, truncation="tail")),
            (texts, None, Tokens(max_length=4, truncation="head_tail", head=1)),
            (texts, ["", "", ""], Tokens(max_length=4)),
            (("a b cd", " e", "f"), None, Tokens(max_length=4)),
            (texts[:2], None, Tokens(max_length=4)),
        ],
    )
    def test_any_change_misses(self, texts: list[str], pairs: list[str] | None, config: Tokens) -> None:
        encode_cached(nano(), self.texts, None, Tokens(max_length=4))
        encode_cached(nano(), texts, pairs, config)
        assert len(self.files()) == 2

    def test_another_vocabulary_misses(self) -> None:
        encode_cached(nano(), self.texts, None, Tokens())
        encode_cached(load_tokenizer(vocabulary_folder("nano_bpe")), self.texts, None, Tokens())
        assert len(self.files()) == 2

    def test_splits(self) -> None:
        split = Split(texts=["a", "b c"], pairs=None, labels=np.zeros(2, np.int32), ids=["0", "1"])
        other = Split(texts=["d"], pairs=None, labels=np.zeros(1, np.int32), ids=["0"])
        data = Dataset(train=split, validation=other, test=other, label_names=("x", "y"), sha256="", notes=())
        tables = encode_splits(nano(), data, Tokens())
        assert {name: len(table) for name, table in tables.items()} == {"train": 2, "validation": 1, "test": 1}


def test_doubts() -> None:
    config = Tokens(max_length=4)
    tokenizer = nano()
    tables = {
        "train": tokenizer.encode(["a b", "c", "d", "e"], None, config),
        "validation": tokenizer.encode(["a b c"] + ["a"] * 3, None, config),
        "test": tokenizer.encode(["电 影"], None, config),
    }
    assert doubts(tokenizer, tables, config) == [
        "25% of the validation rows are cut at tokens.max_length: 4",
        "50% of the test tokens are unknown to the vocabulary: is it the right one?",
    ]


class TestVocabularyFromDisk:
    word_piece = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cafe", "Cafe")

    def write(self, path: Path, entries: tuple[str, ...] = word_piece) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(entries) + "\n", encoding="utf-8")
        return path

    def ids(self, tokenizer: Tokenizer) -> list[int]:
        return rows(tokenizer.encode(["Café"], None, Tokens()))[0]

    def test_a_file_and_what_is_said_of_it(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "vocab.txt")
        assert self.ids(load_tokenizer(path, uncased=True)) == [2, 5, 3]
        assert self.ids(load_tokenizer(path, uncased=False)) == [2, 1, 3]
        assert self.ids(load_tokenizer(path)) == [2, 1, 3]  # it has a capital, so it is cased

    def test_lower_case_is_seen_from_the_vocabulary(self, tmp_path: Path) -> None:
        assert self.ids(load_tokenizer(self.write(tmp_path / "vocab.txt", self.word_piece[:-1]))) == [2, 5, 3]

    @pytest.mark.parametrize(("lowercase", "expected"), [(True, [2, 5, 3]), (False, [2, 1, 3])])
    def test_keras_layout(self, tmp_path: Path, lowercase: bool, expected: list[int]) -> None:
        self.write(tmp_path / "assets" / "tokenizer" / "vocabulary.txt")
        settings = {"class_name": "BertTokenizer", "config": {"lowercase": lowercase}}
        (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
        assert self.ids(load_tokenizer(tmp_path)) == expected

    def test_keras_layout_of_roberta(self, tmp_path: Path) -> None:
        assets = tmp_path / "assets" / "tokenizer"
        assets.mkdir(parents=True)
        source = vocabulary_folder("nano_bpe")
        shutil.copy(source / "vocab.json", assets / "vocabulary.json")
        shutil.copy(source / "merges.txt", assets / "merges.txt")
        (tmp_path / "tokenizer.json").write_text('{"class_name": "RobertaTokenizer", "config": {}}')
        config = Tokens(max_length=64)
        expected = rows(load_tokenizer(source).encode(HARD, None, config))
        assert rows(load_tokenizer(tmp_path).encode(HARD, None, config)) == expected

    def test_tokenizer_json(self, tmp_path: Path) -> None:
        (tmp_path / "tokenizer.json").write_text(nano().to_json(), encoding="utf-8")
        config = Tokens(max_length=64)
        expected = rows(nano().encode(HARD, None, config))
        for path in (tmp_path, tmp_path / "tokenizer.json"):
            assert rows(load_tokenizer(path).encode(HARD, None, config)) == expected

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(EnvironmentFault, match=r"no vocabulary there, expected tokenizer\.json"):
            load_tokenizer(tmp_path)

    def test_special_tokens_missing(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "vocab.txt", ("[PAD]", "[UNK]", "a"))
        with pytest.raises(EnvironmentFault, match=r"\[CLS\], \[SEP\] missing"):
            load_tokenizer(path)

    def test_bpe_without_merges(self, tmp_path: Path) -> None:
        shutil.copy(vocabulary_folder("nano_bpe") / "vocab.json", tmp_path / "vocab.json")
        with pytest.raises(EnvironmentFault, match=r"merges.txt: missing, expected beside vocab.json"):
            load_tokenizer(tmp_path)

    def test_bpe_without_special_tokens(self, tmp_path: Path) -> None:
        (tmp_path / "vocab.json").write_text('{"a": 0, "<pad>": 1}')
        (tmp_path / "merges.txt").write_text("")
        with pytest.raises(EnvironmentFault, match="<s>, </s>, <unk> missing"):
            load_tokenizer(tmp_path)

    def test_damaged_json(self, tmp_path: Path) -> None:
        (tmp_path / "vocab.json").write_text('{"a": ')
        with pytest.raises(EnvironmentFault, match="not valid JSON"):
            load_tokenizer(tmp_path)

    def test_a_tokenizer_of_another_kind(self, tmp_path: Path) -> None:
        value = json.loads(nano().to_json())
        value["added_tokens"] = []
        value["model"]["vocab"] = {"[UNK]": 0, "a": 1}
        (tmp_path / "tokenizer.json").write_text(json.dumps(value))
        with pytest.raises(EnvironmentFault, match=r"neither \[CLS\]"):
            load_tokenizer(tmp_path)


def test_half_a_character_is_refused() -> None:
    tokenizer = load_tokenizer(vocabulary_folder("nano_uncased"))
    with pytest.raises(DataError, match="a lone surrogate"):
        tokenizer.encode(["fine", "broken \ud800"], None, Tokens())
