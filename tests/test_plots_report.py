"""Pictures and the report: drawn from plain values, self-contained, and never at the cost of the figures."""

import io
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv, to_rgb
from pages_read import Page, size

from zoo.data.dataset import load_dataset
from zoo.recipe import load_recipe
from zoo.report import plots, report
from zoo.report.__main__ import main as verb
from zoo.report.drawing import HUES, THEMES, Chart
from zoo.report.report import charts, worst_rows, write_report
from zoo.runs.account import histogram
from zoo.runs.run_folder import RunFolder, create_run
from zoo.tasks.classification import Classification

RECIPE = """
name: mine
task: classification
data: {files: {train: reviews.csv}}
model:
  backbone: {family: bert, preset: minilm_l6_en_uncased}
  head: {type: classifier, dropout: 0.1}
"""
HOSTILE = 'bad <script>alert("x")</script> for $5 & $\\frac{'
STEP = {"kind": "step", "epoch": 1, "accuracy": 0.5, "seconds": 1.0, "tokens": 900}
HISTORY: list[dict[str, Any]] = [
    STEP | {"step": 20, "loss": 0.7, "learning_rate": 1e-5},
    STEP | {"step": 40, "loss": None, "learning_rate": 2e-5},
    {
        "kind": "epoch",
        "step": 40,
        "epoch": 1,
        "train": {"loss": 0.6, "accuracy": 0.7},
        "validation": {"loss": 0.5, "accuracy": 0.8},
        "seconds": 3.0,
        "best": True,
    },
]
TITLES = {"accuracy": "accuracy", "f1": "F1"}
NAMES = ("negative", "$\\frac{")
PICTURES = ("confusion_matrix", "curves", "labels", "lengths", "precision_recall", "reliability", "roc", "time")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = create_run(tmp_path / "mine", RECIPE)
    for row in HISTORY:
        folder.append_history(row)
    shares = [[0.1, 0.9], [0.6, 0.4], [0.8, 0.2]]
    folder.write_predictions(Classification(names=NAMES).rows(["7", "8", "9"], [0, 1, 0], shares))
    figures = {"accuracy": 1 / 3, "accuracy_low": 0.1, "accuracy_high": 0.7, "f1": 0.0, "loss": 1.25}
    folder.update_run(
        {
            "metrics": {"validation": {"accuracy": 0.5}, "test": figures},
            "timing": {"train_seconds": 7260.0, "tokens_per_second": 12345.6},
            "memory": {"peak_bytes": 3 * 2**30},
            "padding_fraction": 0.25,
            "backend": "torch",
            "versions": {"keras": "3.99"},
            "expected": {"accuracy": 0.5, "f1": None, "hours": 2.0, "source": "a paper"},
            "dataset": {
                "rows": {"train": 10, "test": 3},
                "sha256": "abc",
                "label_names": NAMES,
                "label_counts": {"train": [6, 4], "test": [2, 1]},
                "token_lengths": histogram([5, 9, 200]) | {"max_length": 128},
            },
        }
    )
    return folder


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without charts, which take a second: what is looked at is text."""
    monkeypatch.setattr(report, "charts", lambda *_: ({}, {}))


def test_curves_have_a_panel_for_what_there_is() -> None:
    three, two = size(plots.curves(HISTORY, TITLES).png()), size(plots.curves(HISTORY[:1], TITLES).png())
    assert three[1] > 1.3 * two[1]


def test_curves_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no figure to draw"):
        plots.curves([{"kind": "step", "step": 1}], TITLES)


@pytest.mark.parametrize("classes", [2, 12, 16, 17, 40, 41, 5000])
def test_pictures_of_classes_stay_small_and_readable(classes: int) -> None:
    names = [f"a rather long name of class {number}" for number in range(classes)]
    rows = np.arange(2 * classes) % classes
    matrix = size(plots.confusion_matrix(rows, rows, names).png())
    bars = size(plots.label_distribution(dict.fromkeys(("train", "validation", "test"), [2] * classes), names).png())
    assert min(*matrix, *bars) > 30 * min(classes, 10)
    assert max(*matrix, *bars) < 4500


def test_a_picture_that_would_cost_the_memory_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="inches"):
        Chart(title="", size=(9.0, 500.0), paint=lambda _: pytest.fail("it was drawn"))


def test_no_class_name_is_a_formula_or_a_missing_glyph() -> None:
    # The suite turns warnings into errors, and a formula that does not parse raises.
    names = ["$\\frac{", "日本語", "two\nlines"]
    assert size(plots.confusion_matrix([0, 1, 2], [0, 1, 2], names).png())[0] > 100
    assert size(plots.label_distribution({"train": [3, 0, 9]}, names).png())[0] > 100


def test_every_chart_has_a_title_and_is_dark_in_the_dark() -> None:
    chart = plots.time_split({"this run": {"total_seconds": 10.0, "train_seconds": 9.0}})
    assert [chart.figure(theme).get_suptitle() for theme in ("light", "dark")] == [chart.title, chart.title]
    for theme, png in (("light", chart.png()), ("dark", chart.png("dark"))):
        pixels = matplotlib.image.imread(io.BytesIO(png))[..., :3]
        paper = to_rgb(THEMES[theme]["figure.facecolor"])
        assert (abs(pixels - paper).max(axis=-1) < 0.01).mean() > 0.5, theme


def test_no_two_hues_of_the_time_are_alike() -> None:
    hues = sorted(360 * rgb_to_hsv(to_rgb(colour))[0] for colour in HUES[:-1])
    assert len(HUES) == len(plots.PARTS) + 1
    assert min(following - hue for hue, following in pairwise([*hues, hues[0] + 360])) > 40
    assert rgb_to_hsv(to_rgb(HUES[-1]))[1] < 0.2  # grey


def test_lengths_are_cut_at_the_99th_percentile_and_say_so() -> None:
    chart = plots.token_lengths(**histogram([*range(1, 2000), 100_000], bins=50), max_length=64)
    (axes,) = chart.figure().axes
    assert "99th percentile" in chart.title
    assert axes.get_xlim()[1] == 2_009  # where the last of 49 bars of 41 tokens ends; the one after it is not drawn
    assert axes.get_xlabel() == "tokens in a text (1 of 2,000 are longer)"


def test_empty_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="no row"):
        plots.confusion_matrix([], [], NAMES)
    with pytest.raises(ValueError, match="no split"):
        plots.label_distribution({"train": [0, 0]}, NAMES)
    with pytest.raises(ValueError, match="no row"):
        plots.token_lengths([0, 1, 2], [0, 0], 128)


def test_histogram_keeps_every_row_and_gathers_the_longest() -> None:
    lengths = [*range(1, 1000), 100_000]
    got = histogram(lengths, bins=50)
    assert sum(got["counts"]) == len(lengths)
    assert len(got["edges"]) == len(got["counts"]) + 1 == 51
    assert got["edges"][-1] < 1100
    assert all(edge == int(edge) for edge in got["edges"])


def test_every_picture_is_drawn_and_kept(folder: RunFolder) -> None:
    path, warnings = write_report(folder)
    assert warnings == ()
    drawn = sorted(file.name for file in (folder.path / "plots").iterdir())
    assert drawn == [f"{name}.png" for name in PICTURES]
    assert path.read_text(encoding="utf-8").count("data:image/png;base64,") == 2 * len(PICTURES)  # light and dark


def test_the_report_is_self_contained(folder: RunFolder) -> None:
    path, _ = write_report(folder, {"7": [HOSTILE]})
    page = Page(path.read_text(encoding="utf-8"))
    assert page.scripts == 0
    inside = [address for address in page.loaded if address.startswith("data:image/png;base64,")]
    assert len(inside) == 2 * len(PICTURES)
    assert len({*inside}) == len(inside)
    assert all(f'id="{address[1:]}"' in path.read_text(encoding="utf-8") for address in {*page.loaded} - {*inside})


def test_the_report_loads_nothing_by_style(folder: RunFolder) -> None:
    text = write_report(folder)[0].read_text(encoding="utf-8")
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.usefixtures("undrawn")
def test_texts_are_shown_as_they_are(folder: RunFolder) -> None:
    text = write_report(folder, {"7": [HOSTILE]})[0].read_text(encoding="utf-8")
    assert "<script" not in text
    assert HOSTILE in Page(text).shown
    assert "$\\frac{" in Page(text).shown


def test_a_name_in_the_recipe_cannot_leave_its_place(tmp_path: Path) -> None:
    folder = create_run(tmp_path / "mine", RECIPE.replace("reviews.csv", "'<script>alert(1)</script>'"))
    assert Page(write_report(folder)[0].read_text(encoding="utf-8")).scripts == 0


@pytest.mark.usefixtures("undrawn")
def test_the_report_says_what_came_out(folder: RunFolder) -> None:
    shown = Page(write_report(folder)[0].read_text(encoding="utf-8")).shown
    wanted = [
        "33%",
        "expected calibration error 0.57, Brier score 0.40",
        "\N{MINUS SIGN}17 points",
        "2 h 1 min",
        "+0.017",
        "1.2",
        "3.2 GB",
        "25.0%",
        "12,346",
        "a paper",
        "3.99",
    ]
    wanted += ["KERAS_BACKEND=torch python -m zoo.run", "minilm_l6_en_uncased", "10 train, 3 test rows"]
    assert [text for text in wanted if text not in shown] == []


@pytest.mark.usefixtures("undrawn")
def test_times_are_those_of_this_machine(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XYZ-5:30")
        time.tzset()
        folder.update_run({"started": "2026-11-27T19:41:00+00:00", "finished": "no time"})
        text = write_report(folder)[0].read_text(encoding="utf-8")
    time.tzset()
    assert '<time datetime="2026-11-27T19:41:00+00:00">28 November 2026, 01:11 XYZ</time>' in text
    assert ">no time</time>" in text


def test_a_report_of_a_run_that_failed_early(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="diverged"), create_run(tmp_path / "mine", RECIPE) as folder:
        raise ValueError("diverged at step 3")
    page = Page(write_report(folder)[0].read_text(encoding="utf-8"))
    assert "This run is failed: diverged at step 3" in page.shown
    assert not any(address.startswith("data:") for address in page.loaded)


def test_a_failed_plot_costs_no_figure(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object) -> Chart:
        raise RuntimeError("no font <b>")

    monkeypatch.setattr(report.plots, "curves", burst)
    path, warnings = write_report(folder, warnings=["texts have changed"])
    page = Page(path.read_text(encoding="utf-8"))
    assert warnings == ("texts have changed", "plots/curves.png could not be drawn: RuntimeError: no font <b>")
    assert all(f"Warning: {warning}" in page.shown for warning in warnings)
    assert sum(address.startswith("data:") for address in page.loaded) == 2 * (len(PICTURES) - 1)
    assert "33%" in page.shown


def test_the_report_of_many_classes_is_bounded(tmp_path: Path) -> None:
    names = [f"class{number}" for number in range(3000)]
    folder = create_run(tmp_path / "many", RECIPE)
    labels = np.arange(300) % 100
    guess = np.where(labels < 3, labels + 2500, labels)
    task = Classification(names=tuple(names))
    folder.write_predictions(task.rows([str(n) for n in range(300)], labels, np.eye(3000)[guess]))
    folder.update_run({"dataset": {"label_names": names, "label_counts": {"train": [1] * 3000}}})
    path, warnings = write_report(folder)
    text = path.read_text(encoding="utf-8")
    assert warnings == ()
    assert sum(f">{name}<" in text for name in names) < 300
    assert "2,900 others are left out" in text
    assert "<summary>All 100 rows</summary>" in text
    # A pair that was confused, in its table.
    assert ">class0</td>" in text
    assert ">class2500</td>" in text


def test_rendering_twice_gives_the_same_page(folder: RunFolder) -> None:
    first = write_report(folder)[0].read_bytes()
    assert write_report(folder)[0].read_bytes() == first


def test_nothing_is_drawn_from_nothing() -> None:
    assert charts({}, [], Classification(), None, [])[0] == {}


def test_mistakes_are_sorted_and_cut(folder: RunFolder) -> None:
    rows, task = folder.predictions, folder.task
    mistakes = task.mistakes(*task.of_rows(rows), most=5)
    found = worst_rows(mistakes, rows, {"7": ["x" * 5000]})
    assert mistakes.wrong == 2
    assert [row["id"] for row in found] == ["7", "8"]
    assert found[0]["figure"] == "90.0%"
    assert len(found[0]["text"]) < 700
    assert found[1]["text"] is None
    assert len(task.mistakes(*task.of_rows(rows), most=1).worst) == 1


@pytest.fixture
def own(tmp_path: Path) -> RunFolder:
    """A finished run on rows that are still there: the first test row was classified wrongly."""
    rows = [f"a text number {number},{'good' if number % 2 else 'bad'}" for number in range(60)]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("reviews.csv", str(tmp_path / "reviews.csv")), encoding="utf-8")
    dataset = load_dataset(load_recipe(tmp_path / "mine.yaml"))
    with create_run(tmp_path / "run", (tmp_path / "mine.yaml").read_text(encoding="utf-8")) as folder:
        labels = dataset.test.labels.copy()
        labels[0] = 1 - labels[0]
        folder.write_predictions(dataset.task.rows(dataset.test.ids, dataset.test.labels, np.eye(2)[labels]))
        folder.update_run({"dataset": {"sha256": dataset.sha256, "label_names": dataset.task.names}})
    return folder


@pytest.mark.usefixtures("undrawn")
def test_the_verb_renders_again_with_texts(own: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb([str(own.path)]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip() == str(own.path / "report.html")
    assert shown.err == ""
    assert "a text number " in Page((own.path / "report.html").read_text(encoding="utf-8")).shown


@pytest.mark.usefixtures("undrawn")
def test_the_verb_shows_no_text_of_changed_data(own: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    table = own.path.parent / "reviews.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("a text", "another text"), encoding="utf-8")
    assert verb([str(own.path), "--format", "json"]) == 0
    assert "the data have changed" in json.loads(capsys.readouterr().out)["warnings"][0]
    assert "text number" not in Page((own.path / "report.html").read_text(encoding="utf-8")).shown


@pytest.mark.usefixtures("undrawn")
def test_the_verb_does_without_the_data(own: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    (own.path.parent / "reviews.csv").unlink()
    assert verb([str(own.path)]) == 0
    assert "shown without their texts" in capsys.readouterr().err


def test_the_verb_on_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verb([str(tmp_path / "none")]) == 6
    assert "does not exist" in capsys.readouterr().err
