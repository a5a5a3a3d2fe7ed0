"""tools/parity.py, its small version: every row passes, and every row fails when one weight is moved."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import parity
from tools.comparisons.rows import ROWS, Result

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where jax keeps what it compiled, for all workers: most of it is the same in both of the long tests."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "parity_jax"


def finished(real_cache: Path, compiled: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, rows by key, stderr."""
    done = subprocess.run(
        [sys.executable, "tools/parity.py", "--format", "json", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        # Two tests run at once: threads of one that wait for a core spin.
        env=os.environ
        | {
            "ZOO_CACHE": str(real_cache),
            "OMP_NUM_THREADS": "1",
            "JAX_COMPILATION_CACHE_DIR": str(compiled),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
    )
    assert done.stdout, done.stderr
    return done.returncode, {row["key"]: row for row in json.loads(done.stdout)["rows"]}, done.stderr


def test_every_row_passes(real_cache: Path, compiled: Path) -> None:
    code, rows, err = finished(real_cache, compiled, "--small")
    assert code == 0, (rows, err)
    assert list(rows) == [row.key for row in ROWS]
    for row in rows.values():
        assert list(row["measured"]) == list(parity.BACKENDS), row
        assert max(row["measured"].values()) <= row["limit"], row
    # Something was compared: different programs agree to many digits, not to all.
    assert all(
        0.0 < value < 1e-4 for key in rows if key.startswith("forward/") for value in rows[key]["measured"].values()
    )


def test_every_row_fails_when_one_weight_is_moved(real_cache: Path, compiled: Path) -> None:
    code, rows, err = finished(real_cache, compiled, "--small", "--perturb")
    assert [key for key, row in rows.items() if not row["failed"]] == [], err
    assert code == 1
    for key, row in rows.items():
        assert min(row["measured"].values()) > row["limit"], key


def test_a_figure_that_is_missing_or_not_finite_fails() -> None:
    row = ROWS[0]
    both = dict.fromkeys(parity.BACKENDS, 0.0)
    assert not Result(row=row, measured=both).failed(parity.BACKENDS)
    for off in (both | {"jax": 1.0}, both | {"jax": float("nan")}, {"jax": 0.0}):
        assert Result(row=row, measured=off).failed(parity.BACKENDS)


def test_rows_that_do_not_notice_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = {row.key: dict.fromkeys(parity.BACKENDS, 1.0) for row in ROWS}
    found["masks/positions"] = dict.fromkeys(parity.BACKENDS, 0.0)
    monkeypatch.setattr(parity, "fetch_first", lambda origins: None)
    monkeypatch.setattr(parity, "measure", lambda *_, **__: found)
    assert parity.main(["--perturb"]) == parity.ONE_DIFFERS
    told = capsys.readouterr()
    assert "these rows did not notice: masks/positions\n" in told.err
    assert f"1 of {len(ROWS)} rows within their limits" in told.out
    assert parity.main([]) == 1
    monkeypatch.setattr(
        parity, "measure", lambda *_, **__: {row.key: dict.fromkeys(parity.BACKENDS, 0.0) for row in ROWS}
    )
    assert parity.main([]) == 0


def test_the_page_has_all_rows_within_their_limits() -> None:
    """docs/trust.md holds what `python tools/parity.py --write` measured last."""
    text = (ROOT / parity.PAGE).read_text(encoding="utf-8")
    shown = text.partition("<!-- parity: begin -->")[2].partition("<!-- parity: end -->")[0]
    lines = [line for line in shown.splitlines() if line.startswith("| ")][1:]
    assert len(lines) == len(ROWS)
    for row, line in zip(ROWS, lines, strict=True):
        what, against, limit, *measured = line.strip("| ").split(" | ")
        assert (what, against, limit) == (row.what, row.against, parity.limit(row))
        assert len(measured) == len(parity.BACKENDS)
        for value in measured:
            assert float(value) / (100 if row.unit.startswith("%") else 1) <= row.limit, line
    assert re.search(r"Measured on \d{4}-\d\d-\d\d in [\d.]+ minutes on \d+ CPU cores", text)
