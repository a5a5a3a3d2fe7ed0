"""The cache of tokens: what hits, what misses, and what is made anew."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from tools.storage_calls import failed_at, killed_at
from zoo.data import locking, token_cache, tokens
from zoo.data.appending import NOTE, Held, held
from zoo.data.catalog import vocabulary_folder
from zoo.data.dataset import Dataset, Split
from zoo.data.sources import cache_folder
from zoo.data.strings import Strings
from zoo.data.token_cache import encode_cached, encode_splits
from zoo.data.tokens import Tokenizer, TokenTable, load_tokenizer
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

    def tables(self) -> list[Path]:
        return [path for path in (cache_folder() / "tokens").iterdir() if path.is_dir()]

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
        assert len(self.tables()) == 1

    @pytest.mark.parametrize("damage", ["cut", "longer", "flipped", "gone", "no JSON", "other rows", "other file"])
    def test_a_damaged_table_is_made_anew_with_a_word(self, damage: str) -> None:
        fresh = nano().encode(self.texts, None, Tokens())
        encode_cached(nano(), self.texts, None, Tokens())
        (folder,) = self.tables()
        ids, note = folder / "ids.bin", folder / NOTE
        content, text = ids.read_bytes(), note.read_text()
        bytes_of = {"cut": content[:-4], "longer": content + bytes(4), "flipped": bytes([content[0] ^ 1]) + content[1:]}
        notes = {
            "no JSON": "{",
            "other rows": text.replace('"done":3', '"done":2'),
            "other file": text.replace("ids", "di"),
        }
        if damage in bytes_of:
            ids.write_bytes(bytes_of[damage])
        elif damage in notes:
            note.write_text(notes[damage])
        else:
            ids.unlink()
        told: list[str] = []
        again = encode_cached(nano(), self.texts, None, Tokens(), tell=told.append)
        np.testing.assert_array_equal(again.ids, fresh.ids)
        (line,) = told
        assert str(folder) in line
        assert "made anew" in line
        encode_cached(nano(), self.texts, None, Tokens(), tell=pytest.fail)

    @pytest.mark.parametrize("damaged", [False, True])
    def test_what_was_interrupted_goes_on_where_it_stood(self, damaged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "CHUNK", 3)
        monkeypatch.setattr(token_cache, "SAFE", 30)
        texts, windows = ["a b c", "d e", "", "f g h i"] * 10, Tokens(max_length=4, long="window")
        whole = nano().encode(texts, None, windows, spans=True)
        done, told = list[int](), list[str]()

        def until_killed(count: int) -> None:
            done.append(count)
            if len(done) == 7:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            encode_cached(nano(), texts, None, windows, spans=True, progress=until_killed)
        assert done == [3] * 7
        (partial,) = self.tables()
        note = held(partial)
        assert isinstance(note, Held)
        assert 0 < note.done < 21, "what is not safe is made again"
        if damaged:
            with (partial / "second.bin").open("r+b") as stream:
                stream.write(b"\xff")
        done.clear()
        found = encode_cached(nano(), texts, None, windows, spans=True, progress=done.append, tell=told.append)
        for field in fields(TokenTable):
            np.testing.assert_array_equal(getattr(found, field.name), getattr(whole, field.name), err_msg=field.name)
        begin = 0 if damaged else note.done
        assert (sum(done), done[0]) == (40, begin or 3)
        assert told == ([f"tokens: {begin} of 40 texts were cut before, and are not cut again"] if begin else [])
        assert [folder.suffix for folder in self.tables()] == [""]

    @pytest.mark.parametrize("way", ["kill", "once", "full"])
    def test_a_call_that_fails_costs_work_and_nothing_else(
        self, way: Literal["kill", "once", "full"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each storage call in turn, by `tools/storage_calls.py`: the next process has the same table."""
        monkeypatch.setattr(tokens, "CHUNK", 2)
        monkeypatch.setattr(token_cache, "SAFE", 8)
        for name, seconds in (("SILENCE", 0.3), ("RENEWED", 0.1), ("WRITTEN", 0.0)):
            monkeypatch.setattr(locking, name, seconds)  # so long an owner that could not write its name is waited for
        texts, tokenizer = ["a b c", "d e", "", "f g h i"], nano()
        whole = tokenizer.encode(texts, None, Tokens())
        for number in itertools.count(1):
            monkeypatch.setenv("ZOO_CACHE", str(tmp_path / str(number)))
            action = partial(encode_cached, tokenizer, texts, None, Tokens())
            if way == "kill":
                met = killed_at(number, tmp_path, action)
            else:
                code = failed_at(number, tmp_path, action, way)
                met = code is not None
                assert code in (None, 0, OutputError.exit_code), number
            if not met:
                break
            np.testing.assert_array_equal(action().ids, whole.ids, err_msg=str(number))
            np.testing.assert_array_equal(action().offsets, whole.offsets, err_msg=str(number))
        assert number > 15

    def test_a_table_that_another_process_makes_is_waited_for(self) -> None:
        begun, go_on, told = threading.Event(), threading.Event(), list[str]()

        def slowly(count: int) -> None:
            begun.set()
            assert go_on.wait(20.0)

        def tell(text: str) -> None:
            told.append(text)
            go_on.set()

        with ThreadPoolExecutor() as both:
            first = both.submit(encode_cached, nano(), self.texts, None, Tokens(), progress=slowly)
            assert begun.wait(20.0)
            second = both.submit(encode_cached, nano(), self.texts, None, Tokens(), tell=tell)
            np.testing.assert_array_equal(first.result(20.0).ids, second.result(20.0).ids)
        (line,) = told
        assert line.endswith("cuts the same texts into tokens, and is waited for")

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
        assert len(self.tables()) == 2

    def test_another_vocabulary_misses(self) -> None:
        encode_cached(nano(), self.texts, None, Tokens())
        encode_cached(load_tokenizer(vocabulary_folder("nano_bpe")), self.texts, None, Tokens())
        assert len(self.tables()) == 2

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
        texts=Strings.of(texts),
        pairs=None if pairs is None else Strings.of(pairs),
        labels=np.zeros(count, np.int32),
        ids=Strings.numbered("train/", np.arange(count)),
        path=Path("a.csv"),
        lines=np.arange(4, 4 + 3 * count, 3),
    )
