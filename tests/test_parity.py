"""tools/parity.py, its small version: every row passes, and every row fails when one weight is moved."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import parity
from tools.comparisons.rows import ROWS, Result

pytestmark = pytest.mark.slow
"""Minutes on a slow processor, on which the whole suite would not end in time."""

ROOT = Path(__file__).parents[1]


def test_every_row_passes_and_notices_one_weight_that_is_moved(real_cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, "tools/parity.py", "--format", "json", "--small", "--perturb"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"ZOO_CACHE": str(real_cache)},
    )
    assert done.returncode == 0, done.stderr
    rows = {row["key"]: row for row in json.loads(done.stdout)["rows"]}
    assert list(rows) == [row.key for row in ROWS if row.small]
    for row in rows.values():
        assert list(row["measured"]) == list(row["moved"]) == list(parity.BACKENDS), row
        assert max(row["measured"].values()) <= row["limit"] < min(row["moved"].values()), row
    # Something was compared: different programs agree to many digits, not to all; torch may agree with torch to all.
    forward = {key: max(row["measured"].values()) for key, row in rows.items() if key.startswith("forward/")}
    assert [key for key, largest in forward.items() if not 0.0 < largest < 1e-4] == []


def test_a_figure_that_is_missing_or_not_finite_fails() -> None:
    row = ROWS[0]
    both = dict.fromkeys(parity.BACKENDS, 0.0)
    assert not Result(row=row, measured=both).failed(parity.BACKENDS)
    for off in (both | {"jax": 1.0}, both | {"jax": float("nan")}, {"jax": 0.0}):
        assert Result(row=row, measured=off).failed(parity.BACKENDS)


def test_rows_that_fail_or_do_not_notice_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = {row.key: dict.fromkeys(parity.BACKENDS, 0.0) for row in ROWS}
    wrong = {row.key: dict.fromkeys(parity.BACKENDS, 1.0) for row in ROWS}
    deaf = wrong | {"masks/positions": {"jax": 1.0, "tensorflow": 0.0, "torch": 1.0}}
    monkeypatch.setattr(parity, "fetch_first", lambda origins: None)

    def ended(plain: parity.Figures, moved: parity.Figures, *words: str) -> int:
        monkeypatch.setattr(parity, "measure", lambda *_, **__: (plain, moved))
        return parity.main(words)

    assert ended(right, {}) == 0
    assert ended(wrong, {}) == 1
    assert ended(right, wrong, "--perturb") == 0
    assert ended(wrong, wrong, "--perturb") == 1
    assert ended(right, deaf, "--perturb") == parity.UNNOTICED
    told = capsys.readouterr()
    assert told.err == "a weight was moved, and these rows did not notice: masks/positions\n"
    assert f"{len(ROWS) - 1} of {len(ROWS)} rows notice one weight that is moved" in told.out
    assert f"\n0 of {len(ROWS)} rows within their limits" in told.out


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
