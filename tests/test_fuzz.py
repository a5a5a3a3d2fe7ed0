"""A few cases of tools/fuzz.py, always the same ones; folders and requests are in on_backend/checks_fuzz.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import strategies as st

from tools import fuzz
from tools.fuzzing.case import Case, Kind

CASES = 40


@pytest.fixture(autouse=True)
def _of_nobody(own_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


@pytest.mark.parametrize("name", ["recipe", "tables", "overrides"])
def test_all_end_as_they_have_to(name: str, tmp_path: Path) -> None:
    fuzz.fuzz(fuzz.kind_of(name, tmp_path), CASES, 0, tmp_path)


def test_a_finding_is_kept_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tool itself: the smallest case that does not end as it has to, its files, and its exit code."""

    def judge(case: Case, folder: Path) -> None:
        assert len(case.files["own"]) < 3, "too long"

    kind = Kind(st.binary().map(lambda content: Case({"of": "own"}, {"own": content})), judge)
    monkeypatch.setattr(fuzz, "kind_of", lambda name, workplace: kind)
    out = tmp_path / "found"
    assert fuzz.main(["--only", "recipe", "--cases", "50", "--out", str(out)]) == 1
    assert "AssertionError: too long" in capsys.readouterr().err
    assert (out / "recipe" / "files" / "own").read_bytes() == b"\0\0\0"
    assert sorted(path.name for path in out.iterdir()) == ["recipe"]
    with pytest.raises(AssertionError, match="too long"):
        fuzz.main(["--again", str(out / "recipe")])
    monkeypatch.setattr(fuzz, "kind_of", lambda name, workplace: Kind(kind.cases, lambda case, folder: None))
    assert fuzz.main(["--again", str(out / "recipe")]) == 0
    assert fuzz.main(["--only", "recipe", "--cases", "5", "--out", str(out)]) == 0
