r"""Labels and texts cannot steer a terminal: every verb shows them escaped, and programs get them as they are."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from rich.console import Console

import zoo.check
from zoo import cli, evaluate, tokenize
from zoo.data.streams import Part
from zoo.errors import DataError, OutputError
from zoo.recipe.showing import listed, shown
from zoo.report.__main__ import main as report
from zoo.runs import answers
from zoo.runs.run_folder import create_run
from zoo.runs.screen import BarDownloads, Screen
from zoo.tasks.classification import Classification, ClassPrediction

BROKEN = b"\x80"
STEERING = "bad\x1b]0;title\x07\x9b31m\u202eexe"
RECIPE = """
name: mine
data: {files: {train: rows.csv}}
model: {backbone: {family: bert, preset: minilm_l6_en_uncased}, head: {type: classifier}}
"""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("naïve 日本 \u00a0 \U0001f468\u200d\U0001f469 [red] \\", None),  # as it is
        ("a\x1b[31mb\x07\x7f\x9b", r"a\x1b[31mb\x07\x7f\x9b"),
        ("a\r\nb\tc\u2028d", r"a\r\nb\tc\u2028d"),
        ("\udc80 \u202e \u2066", r"\udc80 \u202e \u2066"),
    ],
)
def test_what_is_escaped(text: str, wanted: str | None) -> None:
    assert shown(text) == (text if wanted is None else wanted)
    assert shown(shown(text)) == shown(text)
    shown(text).encode()


def test_lines_stay_lines_where_they_may() -> None:
    assert shown("a\n\tb\r", lines=True) == "a\n\tb\\r"


def test_a_list_is_short() -> None:
    assert listed(["a", "b\x1b"], 2) == r"a, b\x1b"
    assert listed([str(n) for n in range(5000)], 3) == "0, 1, 2 and 4,997 more"


def harmless(text: str) -> None:
    assert not any(character in text for character in "\x1b\x07\x9b\u202e"), repr(text)
    assert r"\x1b" in text


def test_the_screen(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().say("data", f"classes: {STEERING}")
    Screen().on_note(STEERING)
    harmless(capsys.readouterr().err)
    bars = BarDownloads(Console())
    bars.update(f"[red]{STEERING}", 1, 2)
    assert [task.description for task in bars._progress.tasks] == [rf"\[red]{shown(STEERING)}"]


def test_check_and_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"a text number {number},{STEERING if number % 2 else 'good'}" for number in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(RECIPE, encoding="utf-8")
    zoo.check.main([str(tmp_path / "mine.yaml")])
    harmless(capsys.readouterr().out)
    # A label that train has not, in a message.
    (tmp_path / "test.csv").write_text(f"text,label\nthis,{STEERING}x\n", encoding="utf-8")
    assert zoo.check.main([str(tmp_path / "mine.yaml"), "--set", "data.files.test=test.csv", "--debug"]) == 3
    harmless(capsys.readouterr().err)


def part(text: str) -> Part:
    return Part(texts=[text], pairs=None, given=[text], kept={}, places=["line 1"])


def test_predict_and_its_formats() -> None:
    found = [ClassPrediction(label=STEERING, probabilities={STEERING: 0.75, "good": 0.25})]
    printed = {}
    for name in get_args(answers.Form):
        stream = io.StringIO()
        writer = answers.to_stream(name, stream, (), found[0])
        writer.write(part(f"a {STEERING} text"), found)
        writer.close()
        printed[name] = stream.getvalue()
    harmless(printed["text"])
    assert json.loads(printed["json"])[0]["label"] == json.loads(printed["jsonl"])["label"] == STEERING
    assert STEERING in printed["csv"]


@pytest.mark.parametrize("classes", [2, 50])
def test_evaluate_is_escaped_and_bounded(classes: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = [STEERING, *(f"name{number}" for number in range(1, classes))]
    labels, guess = np.arange(2 * classes) % classes, np.zeros(2 * classes, int)
    task = Classification(names=tuple(names))
    evaluate.show(evaluate.Judged(task=task, targets=labels, values=np.eye(classes)[guess]))
    out = capsys.readouterr().out
    harmless(out)
    assert len(out.splitlines()) < 50


def test_tokenize(capsys: pytest.CaptureFixture[str]) -> None:
    assert tokenize.main([f"a film {STEERING}", "--backbone", "nano_uncased"]) == 0
    # BERT's vocabulary drops controls; a BPE has all bytes.
    assert "\x1b" not in capsys.readouterr().out
    assert tokenize.main([f"a film {STEERING}", "--backbone", "nano_bpe"]) == 0
    harmless(capsys.readouterr().out)
    assert tokenize.main([f"a film {STEERING}", "--backbone", "nano_uncased", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["backbone"] == "nano_uncased"


def test_a_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        with create_run(tmp_path / name, RECIPE) as folder:
            folder.update_run({"device": name + STEERING})
    assert report([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / STEERING)]) == 0
    told = capsys.readouterr()
    harmless(told.out)
    assert not any(character in told.err for character in "\x1b\x07\x9b\u202e")


# --- a stdout, a stdin and names of files that are not UTF-8


@contextlib.contextmanager
def ascii_stdout() -> Iterator[io.TextIOWrapper]:
    """Stdout as PYTHONIOENCODING=ascii or the C locale makes it."""
    with pytest.MonkeyPatch.context() as patch, io.TextIOWrapper(io.BytesIO(), "ascii", write_through=True) as stream:
        patch.setattr("sys.stdout", stream)
        yield stream


def written(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("ascii")


@pytest.mark.parametrize("output", ["text", "json"])
def test_verbs_on_an_ascii_stdout(output: str, tmp_path: Path) -> None:
    rows = [f"a text number {number},{'schön' if number % 2 else '日本'}" for number in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(RECIPE, encoding="utf-8")
    runs = [str(tmp_path / name) for name in ("schöna", "schönb")]
    for run in runs:
        create_run(run, RECIPE).finish("done")
    commands = (
        (zoo.check.main, [str(tmp_path / "mine.yaml")], 4),
        (tokenize.main, ["schön", "--backbone", "nano_bpe"], 0),
        (report, [*runs, "--out", str(tmp_path / "both")], 0),
    )
    for verb, arguments, code in commands:
        with ascii_stdout() as stdout:
            assert verb([*arguments, "--format", output]) in (0, code)
            told = written(stdout)
        assert "\\x" in told if output == "text" else json.loads(told)


def test_predictions_on_an_ascii_stdout() -> None:
    found = [ClassPrediction(label="schön", probabilities={"schön": 0.75, "日本": 0.25})]
    with ascii_stdout() as stdout:
        answers.to_stream("jsonl", stdout, (), found[0]).write(part("a text"), found)
        assert "schön" in json.loads(written(stdout))["probabilities"]
        with pytest.raises(OutputError, match="stdout is ascii"):
            answers.to_stream("csv", stdout, (), found[0])


@pytest.mark.parametrize("content", [b"good \xff\n", BROKEN])
def test_a_stdin_that_is_not_its_encoding(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8", errors="surrogateescape"))
    with pytest.raises(DataError, match=f"byte {0 if content == BROKEN else 5}"):
        cli.read_stdin()


def test_a_closed_stdin_is_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    assert cli.read_stdin() == ""


def test_a_folder_whose_name_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(tmp_path / os.fsdecode(b"run\xff")), str(tmp_path / "other")]
    for folder in folders:
        # What lies beside a recipe has the folder's name in its own, and that has to be text.
        with create_run(folder, RECIPE.replace("files: {train: rows.csv}", "dataset: smoke_films")) as run:
            run.write_predictions(Classification(names=("a", "b")).rows(["1", "2"], [0, 1], np.eye(2)[[1, 1]]))
            run.log(folder)
        assert report([folder]) == 0
    assert "run\\udcff" in capsys.readouterr().out
    both = str(tmp_path / os.fsdecode(b"both\xff"))
    for output in ("text", "json"):
        assert report([*folders, "--out", both, "--format", output]) == 0
    assert "run\udcff" in json.loads(capsys.readouterr().out.partition("compare.html\n")[2])["runs"][0]
    assert (Path(both) / "compare.html").is_file()
