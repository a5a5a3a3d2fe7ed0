"""`zoo.predict --shard`: parts of a file by several processes, killed and resumed; with a run that needs no backend."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pyarrow.parquet
import pytest
from test_predict import StandIn, write

from zoo import predict
from zoo.data import streams
from zoo.data.tables import read_pieces
from zoo.errors import DataError, RecipeError
from zoo.runs import shards
from zoo.runs.shards import Shard

ROOT = Path(__file__).resolve().parents[1]
ROWS = [{"id": n, "text": f'a film, "{n % 7}"\n{n % 10}', "label": ["x", "y"][n % 2]} for n in range(20)]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    """Parts are of four rows, which are read two at a time."""
    found = StandIn()
    found.path = tmp_path / "run"
    (found.path / "model").mkdir(parents=True)
    (found.path / "model" / "weights").write_text("1")
    found.precision, found.own_task = "float32", None
    monkeypatch.setattr(predict, "load_run", lambda path, **_: found)
    monkeypatch.setattr(predict, "text_columns", lambda run, asked: asked[0] if asked else "text")
    monkeypatch.setattr(streams, "ROWS", 2)
    monkeypatch.setattr(shards, "ROWS", 4)
    return found


def call(run: StandIn, file: Path, out: Path, shard: str | None, *more: str) -> int:
    given = [] if shard is None else ["--shard", shard]
    return predict.main([str(run.path), "--file", str(file), "--out", str(out), *given, *more])


def names(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir())


def whole(out: Path) -> pyarrow.Table:
    """All parts, in the order of their names, as anybody reads a folder."""
    return pyarrow.dataset.dataset(out).to_table()


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_all_shards_are_one_file(run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    file, out, one = write(tmp_path, ending, ROWS[:18]), tmp_path / "parts", tmp_path / "one.parquet"
    assert call(run, file, one, None) == 0
    batches, run.asked = run.asked, []
    capsys.readouterr()
    assert call(run, file, out, "2/2") == 0
    assert names(out) == ["_parts.json", "part-000001.parquet", "part-000003.parquet"]
    told = capsys.readouterr()
    assert told.out == f"{out}\n"
    for line in (
        "the prediction's is predicted_label",
        "shard 2/2: 0 of 2 were there",
        "8 rows in",
        "of all shards 3 are not there yet",
    ):
        assert line in told.err
    assert call(run, file, out, "1/2") == 0
    assert "those of all shards are there" in capsys.readouterr().err
    assert names(out)[1:] == [f"part-00000{part}.parquet" for part in range(5)]
    assert whole(out).equals(pyarrow.parquet.read_table(one))
    assert sorted(run.asked) == sorted(batches)  # the batches are those of a whole file


def test_what_is_there_is_not_predicted_again(run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of as many shards as one likes; a part that is damaged is, and a file elsewhere of the same content is the
    same."""
    file, out = write(tmp_path, ".csv", ROWS), tmp_path / "parts"
    assert call(run, file, out, "1/2") == 0
    before = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    run.asked = []
    moved = file.rename(tmp_path / "moved.csv")
    assert call(run, moved, out, "1/1") == 0
    assert "shard 1/1: 3 of 5 were there" in capsys.readouterr().err
    assert sum(run.asked) == 8
    assert {path: path.stat().st_mtime_ns for path in before} == before
    expected = whole(out)
    assert expected["id"].to_pylist() == [str(row["id"]) for row in ROWS]
    part = out / "part-000002.parquet"
    part.write_bytes(part.read_bytes()[:-20])
    run.asked = []
    assert call(run, moved, out, "3/5") == 0
    assert f"{part}: not a whole parquet file" in capsys.readouterr().err
    assert sum(run.asked) == 4
    assert whole(out).equals(expected)
    run.__class__ = type("Unloaded", (StandIn,), {"model": property(lambda self: pytest.fail("it was loaded"))})
    assert call(run, moved, out, "3/5") == 0
    assert "rows in" not in capsys.readouterr().err


def test_rows_without_a_text(run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first part has none at all."""
    rows = [row | {"text": " "} if n in (0, 1, 2, 3, 9) else row for n, row in enumerate(ROWS)]
    file = write(tmp_path, ".csv", rows)
    assert call(run, file, tmp_path / "error", "2/3") == 3
    assert "5 rows without text in 'text'" in capsys.readouterr().err
    assert not (tmp_path / "error").exists()
    for on_missing, count in (("keep", 20), ("drop", 15)):
        one, out = tmp_path / f"{on_missing}.parquet", tmp_path / on_missing
        assert call(run, file, one, None, "--on-missing", on_missing) == 0
        assert all(call(run, file, out, f"{n}/3", "--on-missing", on_missing) == 0 for n in (1, 2, 3))
        assert whole(out).equals(pyarrow.parquet.read_table(one))
        assert len(whole(out)) == count


def test_an_error_leaves_what_is_done(run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row | {"text": "fails 1"} if n == 10 else row for n, row in enumerate(ROWS)]
    file, out = write(tmp_path, ".csv", rows), tmp_path / "parts"
    assert call(run, file, out, "1/1") == 3
    assert "line 22: it fails" in capsys.readouterr().err
    assert names(out) == ["_parts.json", "part-000000.parquet", "part-000001.parquet"]


def test_parts_of_something_else_are_refused(
    run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = write(tmp_path, ".csv", ROWS), tmp_path / "parts"
    assert call(run, file, out, "1/2") == 0
    written = {path: path.read_bytes() for path in out.iterdir()}

    def refused(told: str, file: Path = file, *more: str) -> None:
        capsys.readouterr()
        assert call(run, file, out, "2/2", *more) == 6
        said = capsys.readouterr().err
        assert told in said
        assert str(out) in said
        assert {path: path.read_bytes() for path in out.iterdir()} == written

    refused("expected ['text', 'id']", file, "--keep", "text", "--keep", "id")
    refused("on_missing error, expected keep", file, "--on-missing", "keep")
    other = tmp_path / "other.csv"
    other.write_text(file.read_text() + "20,a 1,x\n")
    refused("its _parts.json says file_sha256", other)
    (run.path / "model" / "weights").write_text("2")
    refused("its _parts.json says model_sha256")
    (run.path / "model" / "weights").write_text("1")
    run.precision = "bfloat16"
    refused("precision float32, expected bfloat16")
    run.precision = "float32"
    monkeypatch.setattr(shards, "ROWS", 8)
    refused("rows_of_a_part 4, expected 8")
    monkeypatch.undo()
    about = out / "_parts.json"
    for damaged in (b"{", b"[]", b"{}"):
        written[about] = damaged
        about.write_bytes(damaged)
        monkeypatch.setattr(predict, "load_run", lambda path, **_: run)
        monkeypatch.setattr(predict, "text_columns", lambda run, asked: "text")
        refused("_parts.json is damaged")
    about.unlink()
    del written[about]
    refused("is not empty (it holds part-000000.parquet")


def test_a_shard_is_one_process_and_all_have_as_many(
    run: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = write(tmp_path, ".csv", ROWS), tmp_path / "parts"
    assert call(run, file, out, "1/2") == 0
    left = out / ".part-000001.parquet.abc.partial"
    left.write_bytes(b"of a process that was killed")
    lock = Shard.of("2/2").lock(out)
    assert lock.take()
    try:
        assert call(run, file, out, "2/2") == 6
        assert f"process {os.getpid()} on " in (said := capsys.readouterr().err)
        assert "is at 2/2 of" in said
        assert call(run, file, out, "1/1") == 6
        assert "expected as many shards" in capsys.readouterr().err
        assert call(run, file, out, "1/2") == 0
        assert left.exists()
    finally:
        lock.release()
    assert call(run, file, out, "1/1") == 0
    assert names(out) == ["_parts.json", *(f"part-00000{part}.parquet" for part in range(5))]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--shard", "0/2", "--file", "in.csv", "--out", "o"], "--shard: got 0/2, expected I/N"),
        (["--shard", "3/2", "--file", "in.csv", "--out", "o"], "where I is from 1 to N"),
        (["--shard", "a", "--file", "in.csv", "--out", "o"], "--shard: got a,"),
        (["--shard", "1/2", "--out", "o"], "--shard: got 1/2, expected --file too"),
        (["--shard", "1/2", "--file", "in.csv"], "got 1/2 and no --out, expected --out with a folder"),
        (["--shard", "1/2", "--file", "in.csv", "--out", "o.csv"], "got 1/2 and --out o.csv"),
        (["--shard", "1/2", "--file", "in.csv", "--out", "o", "--format", "csv"], "--format: got csv beside --shard"),
        (["--shard", "1/2", "--file", "in.csv", "--out", "o", "--text", "a"], "--text and --file: got both"),
    ],
)
def test_what_is_refused(
    run: StandIn,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: Sequence[str],
    match: str,
) -> None:
    write(tmp_path, ".csv", ROWS)
    monkeypatch.chdir(tmp_path)
    assert predict.main([str(run.path), *arguments]) == RecipeError.exit_code
    assert match in capsys.readouterr().err
    assert names(tmp_path) == ["in.csv", "run"]


def test_row_groups_of_other_shards_are_not_read(tmp_path: Path) -> None:
    """A group that is damaged costs the parts that lie in it, and no other."""
    path = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=5, compression="none")
    for wanted in ({0}, {1, 3}, {4}, set(range(5))):
        found = list(read_pieces(path, ["id", "text"], 4, wanted.__contains__))
        assert [(part, number) for part, (number, _) in found] == [(n // 4, n) for n in range(20) if n // 4 in wanted]
        assert [[*row] for _, (number, row) in found] == [
            [ROWS[number]["id"], ROWS[number]["text"]] for _, (number, _) in found
        ]
    column = pyarrow.parquet.read_metadata(path).row_group(2).column(1)
    content = bytearray(path.read_bytes())
    begin = column.dictionary_page_offset or column.data_page_offset
    content[begin : begin + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    assert len(list(read_pieces(path, ["text"], 4, {0, 1, 4}.__contains__))) == 12
    with pytest.raises(DataError, match="not a whole parquet file"):
        list(read_pieces(path, ["text"], 4, {3}.__contains__))


def test_memory_does_not_grow_with_the_rows(run: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ROWS", 250)
    monkeypatch.setattr(shards, "ROWS", 500)
    peaks = []
    for count in (1_000, 4_000):
        file = write(tmp_path, ".csv", [{"id": n, "text": f"a film of {count} {n % 10}"} for n in range(count)])
        tracemalloc.start()
        assert call(run, file, tmp_path / f"{count}", "1/1") == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


SLOWLY = """
import sys, time
sys.path[:0] = [{tests!r}]
from pathlib import Path
from test_predict import StandIn
from zoo import predict
from zoo.runs import shards

class Slow(StandIn):
    precision, own_task = "float32", None

    def values(self, *given, **options):
        time.sleep(0.1)
        return super().values(*given, **options)

run = Slow()
run.path = Path({run!r})
predict.load_run = lambda path, **_: run
predict.text_columns = lambda run, asked: "text"
shards.ROWS = 4
raise SystemExit(predict.main(sys.argv[1:]))
"""


@pytest.fixture
def begun(run: StandIn) -> Iterator[Any]:
    """Starts a process that takes a tenth of a second a part."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> subprocess.Popen[str]:
        script = SLOWLY.format(tests=str(Path(__file__).parent), run=str(run.path))
        command = [sys.executable, "-c", script, str(run.path), *words]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def parts_of(out: Path, shard: Shard) -> list[int]:
    """The parts of a shard that are there."""
    found = [int(path.stem.removeprefix("part-")) for path in out.glob("part-*")]
    return [part for part in found if part % shard.count == shard.number - 1]


def wait_for_parts(process: subprocess.Popen[str], out: Path, shard: Shard) -> None:
    """Until a process has two of its shard."""
    end = time.monotonic() + 120
    while len(parts_of(out, shard)) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_processes_one_of_which_is_killed(run: StandIn, begun: Any, tmp_path: Path) -> None:
    rows = [{"id": n, "text": f"a film {n % 10}"} for n in range(120)]
    file, out, one = write(tmp_path, ".parquet", rows), tmp_path / "parts", tmp_path / "one.parquet"
    assert call(run, file, one, None) == 0
    words = ("--file", str(file), "--out", str(out), "--shard")
    killed, other = begun(*words, "1/2"), begun(*words, "2/2")
    wait_for_parts(killed, out, Shard.of("1/2"))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    there = len(parts_of(out, Shard.of("1/2")))
    assert 2 <= there < 15
    again = begun(*words, "1/2")
    for process in (again, other):
        _, said = process.communicate()
        assert process.returncode == 0, said
        if process is again:
            assert f"shard 1/2: {there} of 15 were there" in said
    assert names(out) == ["_parts.json", *(f"part-{part:06}.parquet" for part in range(30))]
    assert whole(out).equals(pyarrow.parquet.read_table(one))
    assert json.loads((out / "_parts.json").read_text())["rows"] == 120


@pytest.mark.slow
def test_a_real_run_is_killed_twice() -> None:
    call = [sys.executable, str(ROOT / "tools" / "shard_test.py"), "--rows", "60000"]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["kills"], found["mismatches"]) == (2, [])


def test_a_stopped_process_leaves_what_is_done(run: StandIn, begun: Any, tmp_path: Path) -> None:
    rows = [{"id": n, "text": f"a film {n % 10}"} for n in range(400)]
    out = tmp_path / "parts"
    process = begun("--file", str(write(tmp_path, ".jsonl", rows)), "--out", str(out), "--shard", "1/1")
    wait_for_parts(process, out, Shard.of("1/1"))
    process.terminate()
    process.communicate()
    assert process.returncode == 143
    found = sorted(parts_of(out, Shard.of("1/1")))
    assert found == list(range(len(found)))
    assert len(found) < 100
    assert whole(out)["id"].to_pylist() == list(range(4 * len(found)))
