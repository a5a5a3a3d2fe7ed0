"""`python -m zoo.predict`: rows in, rows out, in their order and in any number; with a run that needs no backend."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from zoo import predict
from zoo.data import streams
from zoo.errors import DataError
from zoo.runs.screen import Screen
from zoo.tasks import Prediction
from zoo.tasks.answers import Candidate, Given
from zoo.tasks.classification import Classification
from zoo.tasks.span import Span

TASK = Classification(names=("bad", "good"))


class StandIn:
    """Its probability of `good` is a digit of the text, in tenths; it notes what it was asked."""

    def __init__(self) -> None:
        self.task, self.trial, self.model = TASK, None, None
        self.card = SimpleNamespace(tokens=SimpleNamespace(max_length=64))
        self.asked: list[int] = []
        self.takes_pairs = False
        self.path = Path("runs/none")

    def finished(self) -> StandIn:
        return self

    def values(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, place: Any, **_: Any) -> np.ndarray:
        self.asked.append(len(texts))
        if any("fails" in text for text in texts):
            raise DataError(f"{place(0)}: it fails")
        assert all(text.strip() for text in (*texts, *(pairs or ())))
        good = np.array([int(text[-1]) / 10 for text in texts])
        return np.stack([1 - good, good], axis=1)

    def named(self, values: np.ndarray) -> list[Prediction]:
        return self.task.predictions(values)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Parts are of three rows, and the recipe has its text in `text`."""
    found = StandIn()
    monkeypatch.setattr(predict, "load_run", lambda path, **_: found)
    monkeypatch.setattr(predict, "text_columns", lambda run, asked: asked[0] if asked else "text")
    monkeypatch.setattr(streams, "ROWS", 3)
    return found


ROWS = [{"id": n, "text": f'a film, "{n % 7}"\n{n % 10}', "label": ["x", "y"][n % 2]} for n in range(8)]


def write(folder: Path, ending: str, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    path = folder / f"in{ending}"
    if ending == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    elif ending == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], dialect="excel-tab" if ending == ".tsv" else "excel")
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_model_is_loaded_before_a_rate_is_told(
    run: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    order: list[str] = []

    @contextlib.contextmanager
    def bar(self: Screen, *_: object) -> Iterator[Any]:
        order.append("bar")
        yield lambda count: None

    run.__class__ = type("Loading", (StandIn,), {"model": property(lambda self: order.append("model"))})
    monkeypatch.setattr(Screen, "bar", bar)
    assert (
        predict.main([str(run.path), "--file", str(write(tmp_path, ".csv")), "--out", str(tmp_path / "out.csv")]) == 0
    )
    assert order == ["model", "bar"]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("wanted", [".csv", ".jsonl", ".parquet"])
def test_rows_come_out_with_their_columns(
    run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str, wanted: str
) -> None:
    out = tmp_path / "new" / f"out{wanted}"
    assert predict.main([str(run.path), "--file", str(write(tmp_path, ending)), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}\n"
    assert "8 rows in" in told.err
    assert "predicted_label" in told.err
    assert run.asked == [3, 3, 2]
    found = read(out)
    assert [row["text"] for row in found] == [row["text"] for row in ROWS]
    typed = ending in (".jsonl", ".parquet") and wanted != ".csv"
    assert [row["id"] for row in found] == [row["id"] if typed else str(row["id"]) for row in ROWS]
    assert [row["label"] for row in found] == [row["label"] for row in ROWS]
    assert [row["predicted_label"] for row in found] == [TASK.names[n > 5] for n in range(8)]
    shares = [row["probabilities"]["good"] if wanted == ".jsonl" else float(row["good"]) for row in found]
    np.testing.assert_allclose(shares, np.arange(8) / 10)
    assert not list(out.parent.glob(".*"))


def test_only_the_columns_asked_for(run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = [str(run.path), "--file", str(write(tmp_path, ".csv")), "--keep", "id", "--format"]
    assert predict.main([*call, "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["id,label,bad,good", "0,bad,1.000000,0.000000"]
    assert predict.main([*call, "json"]) == 0
    assert json.loads(capsys.readouterr().out)[7] == {
        "id": "7",
        "label": "good",
        "probabilities": {"bad": 0.3, "good": 0.7},
    }
    assert predict.main([*call, "csv", "--keep", "none"]) == 3
    assert "no column 'none'" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", [".csv", ".jsonl", ".parquet"])
def test_rows_without_a_text(run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], wanted: str) -> None:
    rows = [row | {"text": " "} if n in (1, 3, 4, 5) else row for n, row in enumerate(ROWS)]
    path, out = write(tmp_path, ".csv", rows), tmp_path / f"out{wanted}"
    call = [str(run.path), "--file", str(path), "--out", str(out), "--keep", "id"]
    assert predict.main(call) == 3
    err = capsys.readouterr().err
    assert "4 rows without text in 'text' (lines 4, 7, 8, 9)" in err
    assert "--on-missing drop" in err
    assert (run.asked, out.exists()) == ([], False)
    assert predict.main([*call, "--on-missing", "keep"]) == 0
    kept = read(out)
    assert [row["id"] for row in kept] == [str(n) for n in range(8)]
    assert {kept[n]["label"] or None for n in (1, 3, 4, 5)} == {None}
    assert kept[7]["label"] == "good"
    assert predict.main([*call, "--on-missing", "drop"]) == 0
    assert read(out) == [row for n, row in enumerate(kept) if n not in (1, 3, 4, 5)]
    assert "4 rows without a text were left out" in capsys.readouterr().err


def test_what_is_wrong_with_the_last_row_is_told_first(
    run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, ".csv")
    path.write_text(path.read_text() + "9,short\n")
    assert predict.main([str(run.path), "--file", str(path), "--format", "csv"]) == 3
    told = capsys.readouterr()
    assert (told.out, run.asked) == ("", [])
    assert f"{path}:18: 2 fields" in told.err


def test_nothing_half_written_is_left(run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write(tmp_path, ".csv", [*ROWS, ROWS[0] | {"text": "fails"}]), tmp_path / "out.csv"
    out.write_text("before")
    assert predict.main([str(run.path), "--file", str(path), "--out", str(out)]) == 3
    assert f"{path}: line 14: it fails" in capsys.readouterr().err
    assert (out.read_text(), len(list(tmp_path.iterdir()))) == ("before", 2)


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (["--out", "a.xlsx"], 2, "--out: got a.xlsx, expected a name that ends in one of .csv, .jsonl, .parquet"),
        (["--out", "a.csv", "--format", "csv"], 2, "--format: got csv beside --out"),
        (["--out", "in.csv", "--file", "in.csv"], 6, "--out: in.csv is the file that is read"),
        (["--text", "a 1", "--file", "in.csv"], 2, "--text and --file: got both"),
        (["--text", "a 1", "--keep", "id"], 2, "--keep: got id, expected none without --file"),
        (["--text", "a 1", "--text", " \n"], 3, "--text is empty"),
    ],
)
def test_what_is_refused(
    run: StandIn,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    match: str,
) -> None:
    write(tmp_path, ".csv")
    monkeypatch.chdir(tmp_path)
    assert predict.main([str(run.path), *arguments]) == code
    assert match in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_pairs(
    run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of single texts refuses them, and one of pairs all else."""
    monkeypatch.undo()
    monkeypatch.setattr(predict, "load_run", lambda path, **_: run)
    (tmp_path / "a.csv").write_text("a,b\nx 1,y 2\n")
    pair, single = ["--pair", "a 1", "b"], ["--text", "a 1"]
    one = ["--file", str(tmp_path / "a.csv"), "--text-column", "a"]
    two = [*one, "--text-column", "b"]
    for takes_pairs, fits, others in ((False, (single, one), (pair, two)), (True, (pair, two), (single, one, []))):
        run.takes_pairs = takes_pairs
        for arguments in fits:
            assert predict.main([str(run.path), *arguments]) == 0
        for arguments in others:
            assert predict.main([str(run.path), *arguments]) == 2
            assert "run was trained on" in capsys.readouterr().err
    assert predict.main([str(run.path), *pair, *single]) == 2
    assert predict.main([str(run.path), *pair, "--format", "csv"]) == 0
    assert capsys.readouterr().out == "text,pair,label,bad,good\na 1,b,bad,0.900000,0.100000\n"


def test_two_columns_of_a_name(run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("text,x,x\na 1,2,3\n")
    call = [str(run.path), "--file", str(tmp_path / "a.csv"), "--format", "csv"]
    assert predict.main(call) == 3
    assert "column 'x' stands 2 times" in capsys.readouterr().err
    assert predict.main([*call, "--keep", "text"]) == 0


def test_types_that_parquet_cannot_mix(run: StandIn, tmp_path: Path) -> None:
    """Of jsonl a column has what holds all of its values, also where they differ in a later part."""
    rows = [
        {"text": "a 1", "n": 1, "mixed": 1, "deep": {"a": [1]}, "none": None},
        {"text": "b 2"},
        {"text": "c 3"},
        {"text": "d 4", "n": 2.5, "mixed": "two", "large": 1 << 70},
    ]
    out = tmp_path / "out.parquet"
    assert predict.main([str(run.path), "--file", str(write(tmp_path, ".jsonl", rows)), "--out", str(out)]) == 0
    table = pyarrow.parquet.read_table(out).to_pydict()
    assert table["n"] == [1.0, None, None, 2.5]
    assert table["mixed"] == ["1", None, None, "two"]
    assert table["deep"][0] == '{"a": [1]}'
    assert table["large"][3] == str(1 << 70)
    assert table["label"] == ["bad"] * 4


class TestStdin:
    @pytest.fixture
    def pipe(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
        """The end that is written to, and to be closed."""
        reading, writing = os.pipe()
        with io.TextIOWrapper(os.fdopen(reading, "rb"), "utf-8") as stream:
            monkeypatch.setattr("sys.stdin", stream)
            yield writing

    def test_an_empty_line_costs_that_line(self, run: StandIn, pipe: int, capsys: pytest.CaptureFixture[str]) -> None:
        os.write(pipe, "\ufeffone 1\r\n\r\n \nfour 4\nnaïve 5".encode())
        os.close(pipe)
        assert predict.main([str(run.path), "--format", "jsonl"]) == 0
        told = capsys.readouterr()
        found = [json.loads(line) for line in told.out.splitlines()]
        assert [row["text"] for row in found] == ["one 1", "", " ", "four 4", "naïve 5"]
        assert [row["label"] for row in found] == ["bad", None, None, "bad", "bad"]
        assert "2 rows without a text have an empty prediction (line 2, line 3)" in told.err

    def test_it_may_be_an_error(self, run: StandIn, pipe: int, capsys: pytest.CaptureFixture[str]) -> None:
        os.write(pipe, b"one 1\n\n")
        os.close(pipe)
        assert predict.main([str(run.path), "--on-missing", "error"]) == 3
        assert "stdin: line 2 has no text" in capsys.readouterr().err

    @pytest.mark.parametrize("content", [b"", b"\n \n"])
    def test_nothing(self, run: StandIn, pipe: int, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
        os.write(pipe, content)
        os.close(pipe)
        assert predict.main([str(run.path)]) == 3
        assert "stdin has no text" in capsys.readouterr().err

    def test_it_is_closed(
        self, run: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stdin", None)
        assert predict.main([str(run.path)]) == 3

    def test_another_encoding(self, run: StandIn, pipe: int, capsys: pytest.CaptureFixture[str]) -> None:
        os.write(pipe, b"one 1\nna\xefve 2\n")
        os.close(pipe)
        assert predict.main([str(run.path)]) == 3
        assert "stdin is not utf-8 (byte 8)" in capsys.readouterr().err

    def test_what_has_come_is_answered_before_the_end(self, run: StandIn, pipe: int) -> None:
        """Who writes line by line reads line by line."""
        parts = streams.of_stdin().parts
        with ThreadPoolExecutor(1) as reader:
            for line in ("one 1", "two 2"):
                os.write(pipe, f"{line}\n".encode())
                assert reader.submit(next, parts).result(10).texts == [line]
            os.write(pipe, b"thr")
            os.close(pipe)
            assert reader.submit(next, parts).result(10).texts == ["thr"]


def test_memory_does_not_grow_with_the_rows(run: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ROWS", 250)
    peaks = []
    for count in (1_000, 4_000):
        path = write(tmp_path, ".csv", [{"id": n, "text": f"a film of {count} {n % 10}"} for n in range(count)])
        tracemalloc.start()
        assert predict.main([str(run.path), "--file", str(path), "--out", str(tmp_path / "out.csv")]) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


class Answering(StandIn):
    """It answers with the first word of the context, and with none where the question says so."""

    def __init__(self) -> None:
        super().__init__()
        self.task, self.takes_pairs = Span(unanswerable=True, threshold=0.0), True

    def values(self, texts: Sequence[str], pairs: Sequence[str] | None = None, **_: Any) -> Any:
        firsts = [context.split()[0] for context in pairs or ()]
        return Given(
            candidates=tuple((Candidate(word, 0, len(word), 1.0),) for word in firsts),
            none=np.array([3.0 if "none" in text else 0.0 for text in texts]),
        )


def test_questions(
    monkeypatch: pytest.MonkeyPatch, run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several on one context, or of a file; a run that answers some takes nothing else, and others take none."""
    question, context = ["--question", "Who?", "--question", "none?"], ["--context", "Ada came."]
    assert predict.main([str(run.path), *question, *context]) == 2
    assert "expected --text, as the run does not answer questions" in capsys.readouterr().err
    monkeypatch.setattr(predict, "load_run", lambda path, **_: Answering())
    monkeypatch.setattr(predict, "text_columns", lambda run, asked: ("question", "context"))
    assert predict.main([str(run.path), *question, *context]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["Ada", "73%", "Who?"],
        ["no", "answer", "88%", "none?"],
    ]
    assert predict.main([str(run.path), *question, *context, "--format", "csv"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header == "question,context,answer,start,end,probability"
    assert first.startswith("Who?,Ada came.,Ada,0,3,0.731")
    assert second.startswith("none?,Ada came.,,,,0.88")
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "none?", "context": "Ada came.", "answers": []}) + "\n")
    for ending in (".jsonl", ".parquet"):
        out = tmp_path / f"out{ending}"
        assert predict.main([str(run.path), "--file", str(rows), "--out", str(out)]) == 0
        (found,) = read(out)
        assert (found["answer"], found["start"], found["answers"]) == ("", None, [] if ending == ".jsonl" else "[]")
    assert found["probability"] == pytest.approx(0.88, abs=0.01)
    capsys.readouterr()
    for given, told in (
        (question, "--question: got one, expected --context too"),
        (context, "--context: got one, expected --question too"),
        (["--text", "a"], "expected --question Q --context C or --file, as the run answers questions"),
        ([], "stdin: got single texts, expected --question"),
        ([*question, *context, "--pair", "a", "b"], "--pair and --question: got both"),
    ):
        assert predict.main([str(run.path), *given]) == 2
        assert told in capsys.readouterr().err
    assert predict.main([str(run.path), "--question", " ", *context]) == 3
