"""Runs side by side: what differs, who was right where, the page, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pages_read import Page, size

from zoo.errors import OutputError, RecipeError
from zoo.report.__main__ import main as report
from zoo.report.comparison import compare, short_names, write_comparison
from zoo.report.drawing import strokes
from zoo.report.pages import NOTHING
from zoo.report.plots import split_seconds, time_split
from zoo.runs.opening import open_run
from zoo.runs.run_folder import RunFolder, create_run
from zoo.score.metrics import wilson_interval
from zoo.tasks.classification import Classification

RECIPE = """
name: mine
data: {{dataset: {data}}}
model: {{backbone: {{family: bert, preset: minilm_l6_en_uncased}}, head: {{type: classifier}}}}
training: {{epochs: {epochs}}}
seed: 0
expected: {{accuracy: 0.9, source: "{epochs}"}}
"""
STEP = {"kind": "step", "epoch": 1, "accuracy": 0.5, "seconds": 1.0, "tokens": 900}
HISTORY: list[dict[str, Any]] = [
    STEP | {"step": 20, "loss": 0.7, "learning_rate": 1e-5},
    STEP | {"step": 40, "loss": None, "learning_rate": 2e-5},
    {
        "kind": "epoch",
        "step": 40,
        "epoch": 1,
        "train": {"loss": 0.6},
        "validation": {"loss": 0.5, "accuracy": 0.8},
        "seconds": 3.0,
        "best": True,
    },
]
NAMES = ("<script>alert(1)</script>", "$\\frac{")
TRUTH = [0, 1] * 10

Maker = Callable[..., RunFolder]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Makes a run of 20 test rows of which the given ones are wrong."""

    def made(
        name: str,
        wrong: Sequence[int] = (),
        *,
        epochs: int = 2,
        data: str = "imdb",
        first_id: int = 0,
        facts: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        with create_run(tmp_path / "runs" / name, RECIPE.format(epochs=epochs, data=data)) as folder:
            for row in HISTORY:
                folder.append_history(row)
            predicted = [1 - label if row in wrong else label for row, label in enumerate(TRUTH)]
            shares = [[0.2, 0.8] if label else [0.8, 0.2] for label in predicted]
            ids = [f"test/{first_id + n}" for n in range(20)]
            folder.write_predictions(Classification(names=NAMES).rows(ids, TRUTH, shares))
            right = 20 - len(wrong)
            low, high = wilson_interval(right, 20)
            test = {"rows": 20, "accuracy": right / 20, "accuracy_low": low, "accuracy_high": high, "f1": 0.5}
            told = {
                "metrics": {"test": test},
                "timing": {"train_seconds": 60.0, "compile_seconds": 10.0, "total_seconds": 100.0},
                "memory": {"peak_bytes": 2**30},
                "backend": "torch",
                "versions": {"keras": "3.15.1", "torch": "2.13"},
                "dataset": {"label_names": NAMES},
            }
            folder.update_run({**told, **(facts or {})})
        return folder

    return made


def test_what_differs_and_what_does_not(make: Maker) -> None:
    jax = {"backend": "jax", "versions": {"keras": "3.15.1", "jax": "0.10"}}
    found = compare([make("a"), make("b", epochs=3, facts=jax)])
    assert found["names"] == ["1: a", "2: b"]
    assert {row["key"]: row["values"] for row in found["differences"]} == {
        "training.epochs": [2, 3],
        "run.backend": ["torch", "jax"],
        "run.versions.torch": ["2.13", None],
        "run.versions.jax": [None, "0.10"],
    }
    assert found["warnings"] == []


def test_figures_are_those_of_the_runs(make: Maker) -> None:
    found = compare([make("a", wrong=[0]), make("b", facts={"memory": {"peak_bytes": None}})])
    figures = {row["name"]: row for row in found["figures"]}
    low, _ = wilson_interval(19, 20)
    assert figures["test accuracy"]["values"] == [0.95, 1.0]
    assert figures["accuracy, 95% interval from"]["texts"][0] == f"{100 * low:.0f}%"  # of 20 rows
    assert figures["test Brier score"]["values"] == pytest.approx([(19 * 0.04 + 0.64) / 20, 0.04])
    assert figures["peak memory"]["texts"] == ["1.1 GB", NOTHING]
    assert "area under ROC" not in figures


def test_the_better_value_is_marked_with_how_far_the_others_are_off(make: Maker) -> None:
    slower = {"timing": {"train_seconds": 90.0}}
    found = compare([make("a", wrong=[0]), make("b", wrong=[0, 1]), make("c", wrong=[1], facts=slower)])
    marks = {row["name"]: (row["best"], row["behind"]) for row in found["figures"]}
    assert marks["test accuracy"] == ([0, 2], [None, "\N{MINUS SIGN}5 points", None])
    assert marks["test Brier score"] == ([0, 2], [None, "+0.03", None])
    assert marks["training time"] == ([0, 1], [None, None, "+30.0 s"])
    # Who subtracts what stands there comes to the same, and to compile nothing is no merit of its own.
    first, second = ({"metrics": {"test": {"rows": 80, "f1": f1}}} for f1 in (1.0, 0.975))
    eager = {"timing": {"train_seconds": 60.0, "compile_seconds": 0.0}}
    rounded = {
        row["name"]: row for row in compare([make("d", facts=first), make("e", facts=second | eager)])["figures"]
    }
    assert rounded["test F1"]["texts"] == ["100%", "98%"]
    assert rounded["test F1"]["behind"] == [None, "\N{MINUS SIGN}2 points"]
    assert (rounded["compilation"]["texts"], rounded["compilation"]["best"]) == (["10.0 s", "none"], [])
    # What looks the same, and what is no merit, is not marked.
    assert marks["test F1"][0] == marks["recipe"][0] == marks["test rows"][0] == []


def test_each_pair_is_tested_on_the_same_rows(make: Maker) -> None:
    found = compare([make("a", wrong=[0, 1]), make("b", wrong=[1, 2, 3, 4, 5, 6, 7]), make("c", wrong=[1])])
    first = found["pairs"][0]
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [
        ("1: a", "2: b"),
        ("1: a", "3: c"),
        ("2: b", "3: c"),
    ]
    assert [first[key] for key in ("both_right", "only_first", "only_second", "both_wrong")] == [12, 6, 1, 1]
    assert first["p_exact"] == pytest.approx(16 / 128)
    assert first["p_mid"] == pytest.approx(9 / 128)


def test_other_rows_are_not_tested_and_other_data_are_doubted(make: Maker) -> None:
    found = compare([make("a"), make("b", first_id=1), make("c", data="sst2")])
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [("1: a", "3: c")]
    one, two, three = found["warnings"]
    assert one.startswith("1: a and 2: b: no paired test: 1 ids of the first are not in the second")
    assert two == "1: a and 3: c: their recipes name other data; the rows are taken for the same by id and label"
    assert three.startswith("2: b and 3: c: no paired test")


def test_a_run_that_broke_off_is_shown_with_what_it_has(make: Maker, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="diverged"),
        create_run(tmp_path / "runs" / "z", RECIPE.format(epochs=1, data="imdb")) as broken,
    ):
        raise ValueError("diverged")
    _, found = write_comparison([make("a"), broken], tmp_path / "out")
    assert "2: z: this run is failed" in found["warnings"][0]
    assert "no rows" in found["warnings"][1]
    assert len(found["warnings"]) == 2


def test_the_page_is_self_contained_and_shows_names_as_they_are(make: Maker, tmp_path: Path) -> None:
    folders = [make("<script>alert(1)"), make("$\\frac{ & [bold]", wrong=[3])]
    path, found = write_comparison(folders, tmp_path / "out")
    page = Page(path.read_text(encoding="utf-8"))
    assert found["warnings"] == []
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "accuracy.png",
        "compare.html",
        "curves.png",
        "time.png",
    ]
    assert page.scripts == 0
    inside = [address for address in page.loaded if address.startswith("data:image/png;base64,")]
    assert len(inside) == 2 * 3  # light and dark
    assert all(address.startswith("#") for address in {*page.loaded} - {*inside})
    assert all(name in page.shown for name in found["names"])
    for text in ("95%", "only A", "+5 points", "better", "None: the recipes"):
        assert text in page.shown, text
    # Again into the same folder: what was there is replaced.
    assert write_comparison(folders, tmp_path / "out")[0].read_bytes() == path.read_bytes()


def test_a_picture_that_fails_costs_nothing(make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr("zoo.report.comparison_plots.curves", burst)
    path, found = write_comparison([make("a"), make("b")], tmp_path / "out")
    assert found["warnings"] == ["curves.png could not be drawn: RuntimeError: no font"]
    assert "no font" in Page(path.read_text(encoding="utf-8")).shown


def test_refused(make: Maker, tmp_path: Path) -> None:
    first, second = make("a"), make("b")
    with pytest.raises(RecipeError, match="expected two or more"):
        compare([first])
    with pytest.raises(RecipeError, match="more than once, expected each run once"):
        compare([first, RunFolder(first.path / ".." / "a")])
    with pytest.raises(OutputError, match="is a run, expected a folder for the comparison"):
        write_comparison([first, second], first.path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file, expected a folder"):
        write_comparison([first, second], tmp_path / "file")


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    assert short_names([tmp_path / "a" / "x", tmp_path / "b" / "y"]) == ["x", "y"]
    assert short_names([tmp_path / "a" / "x", tmp_path / "b" / "x"]) == ["a/x", "b/x"]


def test_no_two_lines_are_drawn_alike() -> None:
    assert len({(tuple(stroke["color"]), stroke["linestyle"]) for stroke in strokes(40)}) == 40


def test_the_parts_of_the_time_add_up() -> None:
    timing = {"total_seconds": 100.0, "import_seconds": 5.0, "compile_seconds": 10.0, "train_seconds": 60.0}
    parts = split_seconds(timing)
    assert (parts["train"], parts["compile"], parts["other"]) == (60.0, 10.0, 25.0)
    assert sum(parts.values()) == 100.0
    assert size(time_split({"a": timing}).png())[0] > 500
    assert size(time_split({"a": timing, "b": timing, "c": {}}).png())[0] > 500
    with pytest.raises(ValueError, match="no part"):
        time_split({"a": {}})


def test_seconds_of_an_earlier_version_are_told_as_now(tmp_path: Path) -> None:
    """Which had compilation in those of training; and once the run has gone on they are not taken apart again."""
    told = {"train_seconds": 60.0, "compile_seconds": 10.0, "total_seconds": 100.0}
    (tmp_path / "run.json").write_text(json.dumps({"status": "interrupted", "timing": told}))
    (tmp_path / "recipe.yaml").write_text("name: mine\n")
    now = told | {"train_seconds": 50.0}
    assert open_run(tmp_path).run["timing"] == now
    with create_run(tmp_path, "name: mine\n", resume=True) as folder:
        assert folder.run["timing"] == now
    assert json.loads((tmp_path / "run.json").read_text())["version"] == 2
    assert open_run(tmp_path).run["timing"] == now


def test_the_verb_in_the_terminal(make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(make(name, wrong, epochs=epochs).path) for name, wrong, epochs in (("a", [1], 2), ("[b]", [2], 3))]
    out = tmp_path / "out"
    assert report([*runs, "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert shown.out.endswith(f"{out / 'compare.html'}\n")
    for text in ("test accuracy", "2: [b]", "training.epochs", "McNemar", "0.75"):
        assert text in shown.out
    assert shown.err == ""


def test_the_verb_for_programs(make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(make("a").path), str(make("b", first_id=5).path)]
    assert report([*runs, "--out", str(tmp_path / "out"), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == runs
    assert found["pairs"] == []
    assert "no paired test" in found["warnings"][0]
    assert Path(found["report"]).is_file()


def test_one_run_has_no_out(make: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report([str(make("a").path), "--out", str(tmp_path / "out")]) == 2
    assert "stays in its folder" in capsys.readouterr().err
