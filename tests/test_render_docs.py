"""tools/render_docs.py: what is generated is fresh, what is stale is noticed, the README has the rows it must have."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (
    *("README.md", "docs/recipe.md", "docs/data.md", "docs/backbones.md", "docs/accelerators.md"),
    *("docs/strategies.md", "docs/tasks.md"),
    "benchmarks/results/README.md",
)


@pytest.fixture
def render_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """tools/render_docs.py, on a copy of the pages."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import render_docs

    for page in PAGES:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / page, tmp_path / page)
    (tmp_path / "zoo/recipe").mkdir(parents=True)
    monkeypatch.setattr(render_docs, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["render_docs.py"])
    return render_docs


def test_generated_files_are_fresh() -> None:
    command = [sys.executable, str(ROOT / "tools" / "render_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("page", ["docs/recipe.md", "README.md"])
def test_a_stale_file_is_noticed(
    page: str, render_docs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert render_docs.main() == 0
    path = tmp_path / page
    fresh = path.read_text(encoding="utf-8")
    path.write_text(fresh.replace("| --- |", "| --- | by hand |", 1), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["render_docs.py", "--check"])
    capsys.readouterr()
    assert render_docs.main() == 1
    assert capsys.readouterr().out == f"{page} is stale: run python tools/render_docs.py\n"
    monkeypatch.setattr(sys, "argv", ["render_docs.py"])
    render_docs.main()
    assert path.read_text(encoding="utf-8") == fresh


def test_a_page_without_its_markers_is_refused(render_docs: Any, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"README\.md lacks <!-- expected: begin -->"):
        render_docs.main()


def test_the_documented_measurements_are_rendered(render_docs: Any, tmp_path: Path) -> None:
    example = re.findall(r"(?ms)^```json\n(.*?)^```$", text_of("benchmarks/results/README.md"))[0]
    path = tmp_path / render_docs.MEASURED
    path.unlink(missing_ok=True)
    assert render_docs.measured_table() == "No measurements recorded.\n"
    path.write_text(example, encoding="utf-8")
    lines = render_docs.measured_table().splitlines()
    assert lines[0].startswith("2026-11-22, on 2 cores of an x86-64 CPU, 8 GB, no accelerator, Linux; python 3.11.7, ")
    assert lines[-1] == "| `imdb_bert` | cpu | jax | 0.5000 (0.4560 to 0.5440) | 0.5000 | 500 | 100 s | 120 s |"


def test_the_required_rows_stand_in_the_readme() -> None:
    table = text_of("README.md").partition("<!-- expected: begin -->")[2].partition("<!-- expected: end -->")[0]
    for row in (
        "| `imdb_bert` | bert_base_en_uncased | imdb | >94% | >94% | 2 h |",
        "| `imdb_distilbert` | distil_bert_base_en_uncased | imdb | >92% | >92% | 1 h |",
        "| `sst2_roberta` | roberta_large_en | sst2 | >96% | >96% | 3 h |",
    ):
        assert row in table


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")
