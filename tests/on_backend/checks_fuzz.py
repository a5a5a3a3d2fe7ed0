"""A few cases of tools/fuzz.py on folders of runs and requests to a server, always the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.fuzz import fuzz
from tools.fuzzing.folders import folders
from tools.fuzzing.http import http
from tools.fuzzing.runs import Runs, make_runs
from zoo.report import report

pytestmark = pytest.mark.usefixtures("backend")
CASES = 40


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "draw_each", report.draw_each)  # put back afterwards
        yield make_runs(tmp_path_factory.mktemp("fuzzed"))


def test_folders(runs: Runs, tmp_path: Path) -> None:
    fuzz(folders(runs), CASES, 0, tmp_path)


def test_requests(runs: Runs, tmp_path: Path) -> None:
    fuzz(http(runs), CASES, 0, tmp_path)
