r"""Labels and texts cannot steer a terminal: every verb shows them escaped, and programs get them as they are."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

import zoo.check
import zoo.report
from zoo import evaluate, predict, tokenize
from zoo.recipe.showing import listed, shown
from zoo.results import metrics
from zoo.results.run import Prediction
from zoo.results.run_folder import create_run
from zoo.results.screen import Downloads, Screen

STEERING = "bad\x1b]0;title\x07\x9b31m\u202eexe"
RECIPE = """
name: mine
data: {files: {train: rows.csv}}
model: {backbone: {family: bert, preset: minilm_l6_en_uncased}}
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
    bars = Downloads()
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


def test_predict_and_its_formats() -> None:
    found = [Prediction(label=STEERING, probabilities={STEERING: 0.75, "good": 0.25})]
    printed = {}
    for name, write in predict.WRITERS.items():
        stream = io.StringIO()
        write(stream, [f"a {STEERING} text"], found)
        printed[name] = stream.getvalue()
    harmless(printed["text"])
    assert json.loads(printed["json"])[0]["label"] == json.loads(printed["jsonl"])["label"] == STEERING
    assert STEERING in printed["csv"]


@pytest.mark.parametrize("classes", [2, 50])
def test_evaluate_is_escaped_and_bounded(classes: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = [STEERING, *(f"name{number}" for number in range(1, classes))]
    labels, guess = np.arange(2 * classes) % classes, np.zeros(2 * classes, int)
    table = metrics.classification_table(labels, guess, names)
    evaluate._show(evaluate.Judged(metrics={"rows": 4}, classes=table, labels=labels, predicted=guess))
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
        with create_run(tmp_path / name, RECIPE.replace("mine", json.dumps(name + STEERING))) as folder:
            folder.update_run({"device": name + STEERING})
    assert zoo.report.main([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / STEERING)]) == 0
    told = capsys.readouterr()
    harmless(told.out)
    assert not any(character in told.err for character in "\x1b\x07\x9b\u202e")
