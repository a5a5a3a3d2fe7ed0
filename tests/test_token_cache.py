"""The cache of tokens: what hits, what misses, and what is made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoo.data.catalog import vocabulary_folder
from zoo.data.dataset import Dataset, Split
from zoo.data.sources import cache_folder
from zoo.data.token_cache import encode_cached, encode_splits
from zoo.data.tokens import Tokenizer, load_tokenizer
from zoo.errors import DataError, OutputError
from zoo.recipe.types import Tokens
from zoo.tasks.classification import Classification


def nano() -> Tokenizer:
    return load_tokenizer(vocabulary_folder("nano_uncased"))


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

    @pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped", "other rows", "other type"])
    def test_a_damaged_file_is_made_anew_with_a_word(self, damage: str) -> None:
        fresh = encode_cached(nano(), self.texts, None, Tokens())
        (path,) = (cache_folder() / "tokens").iterdir()
        content = bytearray(path.read_bytes())
        arrays = dict(np.load(path))
        if damage == "other rows":
            np.savez(path, **arrays | {"offsets": arrays["offsets"][:-1]})
        elif damage == "other type":
            np.savez(path, **arrays | {"ids": arrays["ids"].astype(np.int64)})
        else:
            content[content.index(fresh.ids.tobytes())] ^= 1
            changed = {"cut": content[:-30], "empty": b"", "text": b"no zip", "flipped": content}
            path.write_bytes(changed[damage])
        told: list[str] = []
        again = encode_cached(nano(), self.texts, None, Tokens(), tell=told.append)
        np.testing.assert_array_equal(again.ids, fresh.ids)
        (line,) = told
        assert str(path) in line
        assert "made anew" in line
        encode_cached(nano(), self.texts, None, Tokens(), tell=pytest.fail)

    def test_a_cache_that_cannot_be_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "file"))
        with pytest.raises(OutputError, match="set ZOO_CACHE"):
            encode_cached(nano(), self.texts, None, Tokens())

    @pytest.mark.parametrize(
        ("texts", "pairs", "config"),
        [
            (texts, None, Tokens(max_length=5)),
            (texts, None, Tokens(max_length=4, truncation="tail")),
            (texts, None, Tokens(max_length=4, truncation="head_tail", head=1)),
            (texts, None, Tokens(max_length=4, pair_truncation="only_first")),
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
        split, other = split_of(["a", "b c"]), split_of(["d"])
        data = Dataset(
            train=split, validation=other, test=other, task=Classification(names=("x", "y")), sha256="", notes=()
        )
        tables = encode_splits(nano(), data, Tokens())
        assert {name: len(table) for name, table in tables.items()} == {"train": 2, "validation": 1, "test": 1}

    def test_refused_rows_are_called_by_their_places_in_the_file(self) -> None:
        split = split_of(["a", "b", "c"], ["c", "d e", "f g"])
        data = Dataset(
            train=split, validation=split, test=split, task=Classification(names=("x", "y")), sha256="", notes=()
        )
        with pytest.raises(DataError, match=r"a\.csv: line 7: its texts have 1 and 2 tokens[^\n]*\na\.csv: line 10: "):
            encode_splits(nano(), data, Tokens(max_length=5, pair_truncation="only_first"))


def split_of(texts: list[str], pairs: list[str] | None = None) -> Split:
    """Rows that begin in every third line of a.csv, from its fourth."""
    count = len(texts)
    return Split(
        texts=texts,
        pairs=pairs,
        labels=np.zeros(count, np.int32),
        ids=[f"train/{number}" for number in range(count)],
        path=Path("a.csv"),
        lines=np.arange(4, 4 + 3 * count, 3),
    )
