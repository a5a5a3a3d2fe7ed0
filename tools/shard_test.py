"""`python tools/shard_test.py --rows 1000000`: rows predicted in shards by two processes, one of which is killed.

The run is quickstart's `smoke`, the rows are short texts with an id. One process predicts them into one file; then two
take a shard each, and the first one is killed by a real SIGKILL, as often as is asked for and at random moments, and
begun again. In all parts every id has to stand once and in its order, and every column has to be that of the one file,
to the last bit. It prints what it took as JSON, and ends in 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pyarrow
import pyarrow.dataset
import pyarrow.parquet

from zoo.runs.shards import ROWS

WORDS = ("the", "a", "film", "plot", "acting", "is", "was", "truly", "never", "great", "dull", "slow", "good", "bad")
LENGTH = (3, 8)
"""Words of a text, at least and at most."""
GROUP = 50_000
"""Rows of a row group: no multiple of a part's."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--backend", choices=("jax", "tensorflow", "torch"), default="torch")
    parser.add_argument("--seed", type=int, default=0, help="of texts and moments")
    given = parser.parse_args(argv)
    os.environ |= {"KERAS_BACKEND": given.backend, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    drawn = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        run, file, one, parts = (folder / name for name in ("run", "rows.parquet", "one.parquet", "parts"))
        end(*begin("run", "quickstart", "--profile", "smoke", "--out", str(run)))
        write_rows(file, given.rows, drawn)
        call = ("predict", str(run), "--file", str(file), "--out")
        begun = time.monotonic()
        end(*begin(*call, str(one)))
        alone = time.monotonic() - begun

        begun = time.monotonic()
        shards = [(*call, str(parts), "--shard", f"{number}/2") for number in (1, 2)]
        first, second = (begin(*shard) for shard in shards)
        mine, there = -(-given.rows // ROWS // 2), list[int]()
        for number in range(given.kills):
            wait_for(first[0], parts, mine * (number + 1) // (given.kills + 1))
            time.sleep(drawn.random())
            first[0].send_signal(signal.SIGKILL)
            first[0].wait()
            there.append(done_of_first(parts))
            first = begin(*shards[0])
        told = end(*first)
        end(*second)
        shared = time.monotonic() - begun

        found, expected = pyarrow.dataset.dataset(parts).to_table(), pyarrow.parquet.read_table(one)
        faults = list[str]()
        if found["id"].to_pylist() != list(range(given.rows)):
            faults.append("not every id stands once and in its order")
        faults += [name for name in expected.column_names if not found[name].equals(expected[name])]
        summary = {
            "rows": given.rows,
            "backend": given.backend,
            "parts": -(-given.rows // ROWS),
            "kills": given.kills,
            "parts of the shard at each kill": there,
            "seconds of one process": round(alone, 1),
            "seconds of two, with the kills": round(shared, 1),
            "most MB of a process": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1000,
            "said last": [line.strip() for line in told[-2:]],
            "mismatches": faults,
        }
        print(json.dumps(summary))
        return 1 if faults else 0


def write_rows(file: Path, count: int, drawn: random.Random) -> None:
    """A parquet file of `id`, from 0, and `text`."""
    texts = (" ".join(drawn.choices(WORDS, k=drawn.randint(*LENGTH))) for _ in range(count))
    table = pyarrow.table({"id": pyarrow.array(range(count)), "text": pyarrow.array(texts)})
    pyarrow.parquet.write_table(table, file, row_group_size=GROUP)


def begin(verb: str, *words: str) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """A verb in a process of its own, and the file of what it says on stderr."""
    said = tempfile.TemporaryFile()  # noqa: SIM115 - `end` closes it
    command = [sys.executable, "-m", f"zoo.{verb}", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said), said


def end(process: subprocess.Popen[bytes], said: IO[bytes]) -> list[str]:
    """The lines of what a process said, once it is done; RuntimeError where it did not do what it was asked for."""
    process.wait()
    with said:
        said.seek(0)
        told = said.read().decode()
    if process.returncode:
        raise RuntimeError(f"a process ended in {process.returncode}\n{told}")
    return told.splitlines()


def done_of_first(parts: Path) -> int:
    """How many parts of the first of two shards are there."""
    return sum(int(path.stem.removeprefix("part-")) % 2 == 0 for path in parts.glob("part-*.parquet"))


def wait_for(process: subprocess.Popen[bytes], parts: Path, count: int) -> None:
    """Until so many parts of the first shard are there."""
    while done_of_first(parts) < count:
        if process.poll() is not None:
            raise RuntimeError(f"it ended in {process.returncode} before {count} parts were there")
        time.sleep(0.05)


if __name__ == "__main__":
    raise SystemExit(main())
