"""The verb tokenize: the row that a model is given, as a table and as JSON, and what it refuses."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zoo import tokenize
from zoo.cli import find_recipe
from zoo.data import tokens
from zoo.data.backbones import find_vocabulary
from zoo.data.catalog import vocabulary_folder
from zoo.data.tokens import Tokenizer, load_tokenizer
from zoo.recipe import load_recipe
from zoo.recipe.types import Tokens


@pytest.fixture
def nano() -> Tokenizer:
    return load_tokenizer(vocabulary_folder("nano_uncased"))


def shown(capsys: pytest.CaptureFixture[str], *arguments: str, backbone: str = "nano_uncased") -> Any:
    assert tokenize.main([*arguments, "--backbone", backbone, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = tokenize.main(list(arguments))
    told = capsys.readouterr()
    assert told.out == ""
    assert "Traceback" not in told.err
    return code, told.err


def test_the_row_of_the_issue(
    real_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(real_cache))
    row = shown(capsys, "I like NLP", backbone="minilm_l6_en_uncased")
    assert row["tokens"] == ["[CLS]", "i", "like", "nl", "##p", "[SEP]", "[PAD]", "[PAD]"]
    assert row["token_ids"] == [101, 1045, 2066, 17953, 2361, 102, 0, 0]
    assert row["padding_mask"] == [1, 1, 1, 1, 1, 1, 0, 0]
    assert row["segment_ids"] == [0] * 8
    assert row["characters"] == [None, [0, 1], [2, 6], [7, 9], [9, 10], None, None, None]
    assert (row["cut"], row["unknown"]) == ({"text": 0}, 0)


def test_a_pair_has_two_segments(capsys: pytest.CaptureFixture[str]) -> None:
    row = shown(capsys, "a good film", "--pair", "good")
    assert row["of"] == [None, "text", "text", "text", None, "pair", None, None]
    assert row["segment_ids"] == [0, 0, 0, 0, 0, 1, 1, 0]
    assert row["padding_mask"] == [1] * 7 + [0]
    assert row["characters"][5] == [0, 4]


def test_roberta_has_no_segments(capsys: pytest.CaptureFixture[str]) -> None:
    row = shown(capsys, "a good film", "--pair", "good", backbone="nano_bpe")
    assert row["segment_ids"] is None
    assert row["tokens"][0] == "<s>"
    assert tokenize.main(["a good film", "--backbone", "nano_bpe"]) == 0
    told = capsys.readouterr().out
    assert "nano_bpe takes no segment ids" in told
    assert "segment " not in told.splitlines()[1]


def test_the_table_says_what_is_cut_and_unknown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = "good ☃ film [bold]good " * 3
    assert tokenize.main([text, "--backbone", "nano_uncased", "--max-length", "8"]) == 0
    told = capsys.readouterr().out
    for title in ("position", "piece", "id", "padding_mask", "segment", "characters", "text"):
        assert title in told.splitlines()[1]
    assert "[UNK]" in told
    assert "[SEP]" in told
    assert "1 [UNK]: the vocabulary has nothing for '☃'" in told
    whole = len(load_tokenizer(vocabulary_folder("nano_uncased")).rust.encode(text, add_special_tokens=False))
    assert f"cut at --max-length 8: tokens of the text that are left out: {whole - 6}, from character" in told
    assert "8 tokens, of which 2 frame the row\n" in told
    assert "padding," not in told


@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
@pytest.mark.parametrize("pair", [None, "and another one that is not so short, really not, by no means"])
@pytest.mark.parametrize("length", [8, 13, 128])
def test_places_are_those_of_the_ids(nano: Tokenizer, truncation: Any, pair: str | None, length: int) -> None:
    """Cut or not: what stands at a token's place is what that token is made from, and the ids are encode's."""
    text = "A truly GREAT film, naïve as it is: Café, 12 😀 times."
    config = Tokens(max_length=length, truncation=truncation)
    assert places_differ(nano, text, pair, config) == []


def test_a_wrong_place_is_noticed(nano: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    right = tokens.taken

    def shifted(values: Any, cut: Any) -> Any:
        kept = right(values, cut)
        return kept[1:] + kept[:1] if values and isinstance(values[0], tuple) else kept

    monkeypatch.setattr(tokens, "taken", shifted)
    assert places_differ(nano, "A truly great film", None, Tokens(max_length=8)) != []


def places_differ(tokenizer: Tokenizer, text: str, pair: str | None, config: Tokens) -> list[str]:
    row = tokenizer.row(text, pair, config)
    table = tokenizer.encode([text], None if pair is None else [pair], config)
    assert [piece.id for piece in row] == table.ids.tolist()
    assert [piece.segment for piece in row] == [int(i >= table.second[0]) for i in range(len(row))]
    wrong = []
    for piece in row:
        if piece.of is None:
            continue
        part = (text if piece.of == "text" else pair or "")[piece.start : piece.end]
        name = tokenizer.pieces([piece.id])[0].removeprefix("##")
        again = [tokenizer.pieces([number])[0] for number in tokenizer.rust.encode(part, add_special_tokens=False).ids]
        if "".join(again).replace("##", "") != name:
            wrong.append(f"{name!r} stands for {part!r}")
    return wrong


def test_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a good film\n"))
    assert shown(capsys, "-") == shown(capsys, "a good film")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    code, told = refused(capsys, "-", "--backbone", "nano_uncased")
    assert (code, "the text is empty" in told) == (3, True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8"))
    code, told = refused(capsys, "-", "--backbone", "nano_uncased")
    assert (code, "stdin is not utf-8 (byte 3)" in told) == (3, True)


def test_a_local_folder_and_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = vocabulary_folder("nano_uncased")
    expected = shown(capsys, "a good film")["token_ids"]
    assert shown(capsys, "a good film", backbone=str(folder))["token_ids"] == expected
    assert shown(capsys, "a good film", backbone=str(folder / "vocab.txt"))["token_ids"] == expected
    (tmp_path / "vocab.txt").write_bytes((folder / "vocab.txt").read_bytes())
    (tmp_path / "config.json").write_text('{"model_type": "distilbert"}')
    assert shown(capsys, "a good film", backbone=str(tmp_path))["segment_ids"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (["a film", "--backbone", "minilm_l6_en_uncasd"], 2, ["did you mean minilm_l6_en_uncased"]),
        (["a film", "--backbone", "./nowhere"], 2, ["there is no file or folder ./nowhere"]),
        (["a film", "--backbone", "ftp://a/b"], 2, ["unknown scheme 'ftp'"]),
        (["a film", "--backbone", "hf://justone"], 2, ["expected hf://org/name@revision"]),
        (["a film", "--backbone", "multilingual_e5_small"], 2, ["SentencePiece"]),
        (["a film", "--backbone", "minilm_l6_en_uncased", "--max-length", "513"], 2, ["expected at most 512"]),
        (["a film", "--backbone", "nano_uncased", "--max-length", "3"], 2, ["--max-length"]),
        (["a film"], 2, ["--backbone"]),
        ([" ", "--backbone", "nano_uncased"], 3, ["the text is empty"]),
        (["a film", "--pair", "", "--backbone", "nano_uncased"], 3, ["the pair is empty"]),
        (["a \ud800", "--backbone", "nano_uncased"], 3, ["half of a character"]),
        (["a film", "--backbone", "hf://org/name@abc"], 4, ["not on this machine", "zoo.list backbones"]),
    ],
)
def test_what_is_refused(
    arguments: list[str],
    code: int,
    parts: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    got, told = refused(capsys, *arguments)
    assert got == code
    assert [part for part in parts if part not in told] == [], told


@pytest.mark.parametrize("name", ["bert_base_en", "roberta_base_en", "minilm_l6_distilbert"])
def test_what_is_not_cached_tells_a_command_that_is_accepted(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    code, told = refused(capsys, "a film", "--backbone", name)
    assert code == 4
    change = told.partition("--set '")[2].partition("'")[0]
    assert "python -m zoo.fetch quickstart --profile smoke" in told
    recipe = load_recipe(find_recipe("quickstart"), profile="smoke", overrides=[change])
    assert recipe.model.backbone.preset == name


def test_the_family_of_a_catalog_backbone(real_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(real_cache))
    assert find_vocabulary("minilm_l6_distilbert").family == "distilbert"
    assert find_vocabulary("minilm_l6_en_uncased").family == "bert"


def test_neither_a_backend_nor_a_network() -> None:
    program = (
        "import sys, socket\n"
        "def refuse(*_, **__): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from zoo.tokenize import main\n"
        "code = main(['a film', '--backbone', 'nano_uncased'])\n"
        "heavy = {'keras', 'jax', 'tensorflow', 'torch', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
