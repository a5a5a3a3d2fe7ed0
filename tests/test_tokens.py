"""Token ids against the original tokenizers of transformers, and truncation by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recipes
from tools.comparisons import tokenization
from tools.comparisons.tokenization import HARD, differences, original
from zoo.data import cutting, tokens
from zoo.data.catalog import backbone_card, vocabulary_folder
from zoo.data.dataset import load_dataset
from zoo.data.sources import locate_first
from zoo.data.tokens import Tokenizer, TokenTable, cut_told, doubts, load_tokenizer
from zoo.errors import DataError, EnvironmentFault
from zoo.recipe.types import Tokens

# Shorter than the texts: transformers keeps what it cuts off, each part of the first with each of the second.
PAIRS = [
    (a[:100], b[:100])
    for place, a in enumerate(HARD)
    for b in (HARD[place - 1], "", "A truly GREAT film.", "great " * 20)
]


def rows(table: TokenTable) -> list[list[int]]:
    return [table.ids[a:b].tolist() for a, b in zip(table.offsets[:-1], table.offsets[1:], strict=True)]


def segments(table: TokenTable) -> list[list[int]]:
    return [
        [int(position >= start) for position in range(length)]
        for length, start in zip(table.lengths, table.second, strict=True)
    ]


def assert_equal_to(
    theirs: Any, ours: Tokenizer, max_length: int, *, side: str = "right", strategy: str = "longest_first"
) -> None:
    """Ids and segments of the hard texts and of the hard pairs, and which pairs are refused."""
    truncation = {"right": "head", "left": "tail"}[side]
    config = Tokens(max_length=max_length, truncation=truncation, pair_truncation=strategy)  # type: ignore[arg-type]
    theirs.truncation_side = side
    how = {"truncation": strategy, "max_length": max_length, "return_token_type_ids": True}
    # transformers takes a single text with only_second for a mistake; to us it is a text like any other.
    single = how | {"truncation": "longest_first"}
    for text, found in zip(HARD, rows(ours.encode(HARD, None, config)), strict=True):
        expected = theirs(text, **single)
        assert found == expected["input_ids"], text[:60]
        assert expected["token_type_ids"] == [0] * len(found)
    for a, b in PAIRS:
        try:
            table = ours.encode([a], [b], config)
        except DataError:
            with pytest.raises(Exception, match="too short to respect the provided max_length"):
                theirs([a], [b], **how)
            continue
        # In lists: transformers takes a second text that is empty for none.
        expected = theirs([a], [b], **how)
        assert rows(table) == expected["input_ids"], (a, b)
        # RoBERTa has no segments, and its tokenizer says 0 throughout.
        assert len(ours.specials.between) == 2 or segments(table) == expected["token_type_ids"], (a, b)


@pytest.fixture(scope="module")
def cased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cased")
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Café", "Cafe", "cafe", "A", "GREAT", "film", "##film"]
    (folder / "vocab.txt").write_text("\n".join(entries), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenizer_class": "BertTokenizer"}')
    return folder


@pytest.fixture(scope="module")
def minilm(real_cache: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(real_cache))
        located = locate_first(backbone_card("minilm_l6_en_uncased").origins)
    assert located is not None
    return located[1]


@pytest.mark.parametrize("strategy", ["longest_first", "only_first", "only_second"])
@pytest.mark.parametrize("side", ["right", "left"])
class TestTheOriginals:
    """The least length has room for one token of a pair; odd and even ones share it out differently."""

    @pytest.mark.parametrize("name", ["BertTokenizer", "DistilBertTokenizer"])
    def test_nano_word_piece(self, name: str, side: str, strategy: str) -> None:
        folder = vocabulary_folder("nano_uncased")
        for max_length in (4, 8, 9, 33, 512):
            assert_equal_to(original(name, folder), load_tokenizer(folder), max_length, side=side, strategy=strategy)

    def test_cased(self, cased: Path, side: str, strategy: str) -> None:
        for max_length in (4, 8, 9, 33, 512):
            theirs = original("BertTokenizer", cased)
            assert_equal_to(theirs, load_tokenizer(cased), max_length, side=side, strategy=strategy)

    def test_nano_byte_level_bpe(self, side: str, strategy: str) -> None:
        folder = vocabulary_folder("nano_bpe")
        for max_length in (5, 8, 9, 33, 512):
            theirs = original("RobertaTokenizer", folder)
            assert_equal_to(theirs, load_tokenizer(folder), max_length, side=side, strategy=strategy)

    def test_minilm(self, minilm: Path, side: str, strategy: str) -> None:
        theirs, ours = original("BertTokenizer", minilm), load_tokenizer(minilm)
        assert ours.vocabulary_size == 30522
        for max_length in (9, 512):
            assert_equal_to(theirs, ours, max_length, side=side, strategy=strategy)


def test_the_comparison_can_fail() -> None:
    """What keras-hub does, no accents stripped, is seen to be another tokenizer."""
    folder = vocabulary_folder("nano_uncased")
    ours = load_tokenizer(folder)
    ours.rust.normalizer.strip_accents = False
    with pytest.raises(AssertionError, match="Café"):
        assert_equal_to(original("BertTokenizer", folder), ours, 512)


def test_cased_words_stay_apart(cased: Path) -> None:
    table = load_tokenizer(cased).encode(["Café Cafe cafe"], None, Tokens())
    assert rows(table) == [[2, 5, 6, 7, 3]]


class TestRealReviews:
    """tools/comparisons/tokenization.py, with which tools/parity.py measures."""

    @pytest.fixture
    def reviews(self, real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.setenv("ZOO_CACHE", str(real_cache))
        return load_dataset(recipes.load("quickstart")).train.texts

    @pytest.mark.parametrize("kind", tokenization.KINDS)
    def test_some(self, kind: str, reviews: list[str], tmp_path: Path) -> None:
        found = tokenization.compare(kind, reviews[:300], perturb=False, folder=tmp_path)
        assert (found.differing, found.example) == (0, None)
        assert found.compared > 6 * 300

    @pytest.mark.parametrize("kind", tokenization.KINDS)
    def test_a_damaged_vocabulary_is_seen(self, kind: str, reviews: list[str], tmp_path: Path) -> None:
        found = tokenization.compare(kind, reviews[:100], perturb=True, folder=tmp_path)
        assert 0 < found.differing < found.compared
        assert found.example is not None
        assert "expected" in found.example

    def test_a_wrong_truncation_is_seen(
        self, reviews: list[str], minilm: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        theirs, ours = original("BertTokenizer", minilm), load_tokenizer(minilm)
        monkeypatch.setattr(cutting, "_budgets", lambda a, b, room, _: (min(a, room), min(b, room - min(a, room))))
        wrong = [what for what, found, expected in differences(theirs, ours, reviews[:20]) if found != expected]
        assert any("longest_first" in what for what in wrong)
        assert any("only_first" in what for what in wrong)
        assert all(" with " in what for what in wrong)  # single texts are cut as before

    def test_without_the_real_vocabulary(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
        with pytest.raises(EnvironmentFault, match="minilm_l6_en_uncased: not in the cache"):
            tokenization.compare("distilbert", [], perturb=False, folder=tmp_path)

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", tokenization.KINDS)
    def test_all(self, kind: str, reviews: list[str], tmp_path: Path) -> None:
        found = tokenization.compare(kind, reviews[:5000], perturb=False, folder=tmp_path)
        assert (found.differing, found.example) == (0, None)
        assert found.compared > 6 * 5000


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

    @pytest.mark.parametrize(
        ("truncation", "pair_truncation", "expected"),
        [
            ("head", "longest_first", "a b | k l"),
            ("head", "only_first", "a | k l m"),
            ("head", "only_second", "a b c | k"),
            ("tail", "longest_first", "b c | l m"),
            ("tail", "only_first", "c | k l m"),
            ("tail", "only_second", "a b c | m"),
            ("head_tail", "longest_first", "a c | k m"),
            ("head_tail", "only_first", "a | k l m"),
            ("head_tail", "only_second", "a b c | k"),
        ],
    )
    def test_which_of_a_pair_gives_way(self, truncation: str, pair_truncation: str, expected: str) -> None:
        tokenizer = nano()
        how = {"truncation": truncation, "pair_truncation": pair_truncation}
        if truncation == "head_tail":
            how |= {"head": 1}  # type: ignore[dict-item]
        table = tokenizer.encode(["a b c"], ["k l m"], Tokens(max_length=7, **how))  # type: ignore[arg-type]
        first, second = expected.split(" | ")
        assert tokenizer.pieces(rows(table)[0]) == ["[CLS]", *first.split(), "[SEP]", *second.split(), "[SEP]"]
        assert table.second.tolist() == [len(first.split()) + 2]
        assert (table.full.tolist(), table.truncated) == ([9], 1)

    @pytest.mark.parametrize("pair_truncation", ["only_first", "only_second"])
    def test_a_single_text_is_cut_all_the_same(self, pair_truncation: str) -> None:
        config = Tokens(max_length=8, pair_truncation=pair_truncation)  # type: ignore[arg-type]
        assert rows(nano().encode([self.text], None, config)) == rows(
            nano().encode([self.text], None, Tokens(max_length=8))
        )

    @pytest.mark.parametrize(
        ("pair_truncation", "texts", "pairs", "message"),
        [
            (
                "only_first",
                ["a", "a b c"],
                ["k", "k l m n"],
                "a.csv: line 7: its texts have 3 and 4 tokens, and the second one alone leaves no room for the first "
                "one, which tokens.pair_truncation: only_first cuts; expected second texts of less than 4 tokens: set "
                "tokens.max_length to 8 or more, or tokens.pair_truncation=longest_first",
            ),
            (
                "only_second",
                ["a", "a b c d e"],
                ["k", ""],
                "a.csv: line 7: its texts have 5 and 0 tokens, and the first one alone leaves no room for the second "
                "one, which tokens.pair_truncation: only_second cuts; expected first texts of less than 4 tokens: set "
                "tokens.max_length to 9 or more, or tokens.pair_truncation=longest_first",
            ),
        ],
    )
    def test_nothing_would_be_left(
        self, pair_truncation: str, texts: list[str], pairs: list[str], message: str
    ) -> None:
        config = Tokens(max_length=7, pair_truncation=pair_truncation)  # type: ignore[arg-type]
        with pytest.raises(DataError) as caught:
            nano().encode(texts, pairs, config, place=lambda row: f"a.csv: line {3 + 4 * row}")
        assert str(caught.value) == message
        with pytest.raises(DataError, match=r"texts\[1\]: "):
            nano().encode(texts, pairs, config)
        # The repair that it names is one.
        repaired = int(message.split("max_length to ")[1].split()[0])
        nano().encode(texts, pairs, config.model_copy(update={"max_length": repaired}))
        nano().encode(texts, pairs, config.model_copy(update={"pair_truncation": "longest_first"}))

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


def test_doubts() -> None:
    config = Tokens(max_length=4)
    tokenizer = nano()
    tables = {
        "train": tokenizer.encode(["a b", "c", "d", "e"], None, config),
        "validation": tokenizer.encode(["a b c"] + ["a"] * 3, None, config),
        "test": tokenizer.encode(["电 影"], None, config),
    }
    assert doubts(tokenizer, tables) == [
        "50% of the test tokens are unknown to the vocabulary: is it the right one?",
    ]
    told = "0 of 4 train, 1 of 4 validation (25.0%), 0 of 1 test texts are cut at tokens.max_length: 4"
    assert cut_told(tables, config) == ("warning", told)
    assert cut_told({"train": tables["train"]}, config) == ("tokens", "no text is cut: none has more than 4")


@pytest.mark.parametrize(("words", "told"), [(96, False), (20, True)])
def test_two_in_a_hundred_unknown_tokens_are_told(words: int, told: bool) -> None:
    tokenizer, config = nano(), Tokens(max_length=128)
    tables = {"train": tokenizer.encode([" ".join(["a"] * words + ["电"])], None, config)}
    assert any("unknown to the vocabulary" in doubt for doubt in doubts(tokenizer, tables)) == told


def test_a_guess_about_the_vocabulary_is_told(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nword\n")
    tokenizer = load_tokenizer(tmp_path)
    assert doubts(tokenizer, {}) == [tokenizer.note]


def test_half_a_character_is_refused() -> None:
    tokenizer = load_tokenizer(vocabulary_folder("nano_uncased"))
    with pytest.raises(DataError, match=r"texts\[2001\] holds half of a character \(a lone surrogate\)"):
        tokenizer.encode(["fine"] * 2001 + ["broken \ud800"], None, Tokens())
