"""report.html and plots/*.png from what stands in a run folder.

In comes a run folder; out comes one HTML file that loads nothing from anywhere: pictures are inside it,
there is no script. Texts, names and messages are escaped. A picture that cannot be drawn becomes a
warning in the report; it never costs the figures. Refused: a folder without run.json (OutputError).
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.dataset import Split
from zoo.errors import ZooError
from zoo.recipe import load_recipe
from zoo.recipe.several import expected_figures, told_data
from zoo.recipe.showing import listed
from zoo.report import number_plots, pages, plots, score_plots
from zoo.report.drawing import Chart, draw_each
from zoo.runs.opening import open_run
from zoo.runs.recorded import read_audit
from zoo.runs.run_folder import RunFolder
from zoo.runs.tested import tested_split
from zoo.tasks import Task
from zoo.tasks.shown import Mistake, Mistakes
from zoo.tasks.task import Rankings

__all__ = ["charts", "figures_by_split", "further_figures", "tested_texts", "texts_by_id", "worst_rows", "write_report"]

MISTAKES = 20
LONGEST_TEXT = 600
LONGEST_MARKED = 5_000
ROWS = 100
"""Of a table."""
FOREMOST = ("confusion_matrix", "labels")
CONFIDENCE, TIME = ("reliability",), ("time",)
"""Charts that stand in sections of their own."""
SPLITS = ("train", "validation", "test")
CALIBRATED = {
    "loss": "loss, nats",
    "expected_calibration_error": "expected calibration error",
    "brier_score": "Brier score",
}
"""What is told of probabilities before and after they are calibrated, and what it is called."""
CAPTIONS = {
    "curves": "Loss, figures that matter most, and learning rate, over the optimizer steps",
    "lengths": "In tokens, before any text is cut",
    "time": plots.TIME_CAPTION,
}
PARTS = {"draw": "Draws", "fold": "Folds"}
"""What parts of a run are called."""
SPREAD = {
    "draw": "Figures of the test split. Each draw has other rows to learn from, and the same to be judged on. The "
    "interval is that of the mean over draws, by Student's t: it says how much the choice of rows does, and nothing of "
    "other test rows. The model that is kept is that of the first draw.",
    "fold": "Figures of the rows that each fold has held out. Those of test above are of all rows together, of each "
    "what the model said that has not learned from it; those of validation are means. The mean has no interval: "
    "trainings share most of their rows (Bengio and Grandvalet 2004). The model that is kept is that of the first "
    "fold; the recipe without data.folds trains one on all rows.",
}
"""What is said of the table of their figures."""
DRAWN_BY: Mapping[str, Callable[..., Chart]] = {
    "confusion_matrix": plots.confusion_matrix,
    "labels": plots.label_distribution,
    "precision_recall": score_plots.precision_recall,
    "roc": score_plots.roc,
    "reliability": score_plots.reliability_diagram,
    "predicted_by_true": number_plots.predicted_by_true,
    "residuals": number_plots.residuals,
    "histogram": number_plots.histogram,
}
"""The kind of a task's picture -> what makes a chart of it."""


def write_report(
    folder: RunFolder, texts: Mapping[str, Sequence[str]] | None = None, warnings: Sequence[str] = ()
) -> tuple[Path, tuple[str, ...]]:
    """Draw the plots, write report.html, and return its path with the warnings that stand in it.

    `texts` maps ids of predictions.jsonl to their texts, shown beside the mistakes; without them the id
    stands alone. `warnings` are added to what the report warns of.
    """
    recipe = load_recipe(folder.path / "recipe.yaml").model_dump(mode="json")
    run, task, predictions = folder.run, folder.task, folder.predictions
    tested = folder.tested(predictions)
    rankings = task.rankings(*tested) if tested else []
    drawings, captions = charts(run, folder.history, task, tested, rankings)
    drawn, failed = draw_each(drawings, "plots/")
    for name, chart in drawn.items():
        folder.write_bytes(f"plots/{name}.png", chart.light)
    shown = {name: (captions[name], chart) for name, chart in drawn.items()}
    told = (*warnings, *failed)
    splits, figures = figures_by_split(run, task)
    mistakes = task.mistakes(*tested, most=MISTAKES) if tested else None
    page = pages.html(
        "report.html.j2",
        run=run,
        CALIBRATED=CALIBRATED,
        task=task,
        recipe=recipe,
        data=told_data(recipe),
        recipe_text=folder.recipe_text,
        warnings=(*_one_sided(run), *told),
        splits=splits,
        figures=figures,
        spread=_spread(run, task),
        expected=_expected(run),
        test_rows=_rows(run, "test"),
        charts=[shown[name] for name in shown if name not in (*CONFIDENCE, *TIME)],
        confidence=[shown[name] for name in shown if name in CONFIDENCE],
        time=[shown[name] for name in shown if name in TIME],
        tables=task.tables(*tested, most=ROWS, rankings=rankings) if tested else [],
        further=task.further(*tested) if tested else {},
        mistakes=mistakes,
        audit=read_audit(folder.path),
        worst=worst_rows(mistakes, predictions, texts) if mistakes else [],
        tested=len(predictions),
        again=_again(run, folder.path / "recipe.yaml"),
    )
    return folder.write_text("report.html", page), told


def _again(run: Mapping[str, Any], recipe: Path) -> str:
    """The command that trains it again, as it can be pasted whatever the folder and run.json are called or say."""
    backend = run.get("backend")
    chosen = "" if backend is None else f"KERAS_BACKEND={shlex.quote(backend)} "
    return f"{chosen}python -m zoo.run {shlex.quote(str(recipe))}"


def tested_texts(folder: RunFolder) -> tuple[dict[str, Sequence[str]], list[str]]:
    """The texts of a run's test split by id, read from its data again, and a warning where that cannot be.

    Data that have changed since the run give no texts: another text could stand under an id.
    """
    parts = folder.run.get("parts")
    try:
        if parts is not None and folder.predictions:  # of folds
            each = [tested_split(open_run(folder.path / part["folder"])) for part in parts]
            return {key: texts for split in each for key, texts in texts_by_id(split).items()}, []
        return {} if parts is not None else texts_by_id(tested_split(folder)), []
    except ZooError as error:
        return {}, [f"the mistakes are shown without their texts: {error}"]


def texts_by_id(split: Split) -> dict[str, Sequence[str]]:
    """The rows' texts by id, of pairs both."""
    columns = (split.texts,) if split.pairs is None else (split.texts, split.pairs)
    return dict(zip(split.ids, zip(*columns, strict=True), strict=True))


def charts(
    run: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    task: Task,
    tested: tuple[np.ndarray, np.ndarray] | None,
    rankings: Rankings,
) -> tuple[dict[str, Callable[[], Chart]], dict[str, str]]:
    """What makes a chart of all there is data for, and what stands below it, both by name.

    Args:
        run: what run.json holds, of which `dataset` and `timing` are drawn where they are there.
        history: rows of history.jsonl.
        task: what was learned.
        tested: targets and values of the test split; None where there are none.
        rankings: of these, as the task has them.
    """
    dataset, timing = run.get("dataset", {}), run.get("timing", {})
    drawings: dict[str, Callable[[], Chart]] = {}
    if history:
        drawings["curves"] = lambda: plots.curves(history, {name: task.titles[name] for name in task.drawn})
    of_task = task.pictures(*tested, rankings) if tested else {}
    if (occurrences := task.occurrences(dataset)) is not None:
        of_task["labels"] = occurrences
    # The two that say most stand first; so do, of two columns, the tall ones and the low ones beside each other.
    for name in sorted(of_task, key=lambda name: name not in FOREMOST):
        drawings[name] = functools.partial(DRAWN_BY[of_task[name].kind], *of_task[name].arguments)
    if lengths := dataset.get("token_lengths"):
        drawings["lengths"] = lambda: plots.token_lengths(**lengths)
    if any(plots.split_seconds(timing).values()):
        drawings["time"] = lambda: plots.time_split({"this run": timing})
    return drawings, CAPTIONS | {name: picture.caption for name, picture in of_task.items()}


def figures_by_split(run: Mapping[str, Any], task: Task) -> tuple[list[str], list[tuple[str, ...]]]:
    """The splits that have figures; and of each figure that any of them has its title, and its text for each split."""
    splits = {name: run["metrics"][name] for name in SPLITS if name in run.get("metrics", {})}
    rows = {name: _rows(run, name) for name in splits}

    def texts(name: str) -> Iterator[str]:
        for split, found in splits.items():
            yield pages.figure(task, name, found.get(name), _rows_of(found, name, rows[split]))

    return list(splits), [
        (title, *texts(name))
        for name, title in task.titles.items()
        if any(found.get(name) is not None for found in splits.values())
    ]


def _spread(run: Mapping[str, Any], task: Task) -> dict[str, Any] | None:
    """Of a run in parts: its title, the columns of the table, each part's name and page, a row for each figure, and a
    note; None of another run."""
    pooled = run.get("pooled")
    if pooled is None:
        return None
    rows = run["metrics"]["test"]["rows"]
    titles = {"mean": "mean", "deviation": "deviation", "low": "95% interval from", "high": "to"}
    columns = [key for key in titles if all(key in found for found in pooled["figures"].values())]
    return {
        "title": PARTS[pooled["of"]],
        "columns": [titles[key] for key in columns],
        "parts": [(part["name"].replace("-", " "), f"{part['folder']}/report.html") for part in run["parts"]],
        "rows": [
            (title, *(pages.figure(task, name, value, rows) for value in [*map(found.get, columns), *found["values"]]))
            for name, title in task.titles.items()
            if (found := pooled["figures"].get(name)) is not None
        ],
        "note": SPREAD[pooled["of"]],
    }


def _rows_of(figures: Mapping[str, Any], name: str, rows: int | None) -> int | None:
    """Of how many rows a figure is: of several tasks those of its own."""
    own: int | None = figures.get(f"{name.partition('.')[0]}.rows", rows)
    return own


def _rows(run: Mapping[str, Any], split: str) -> int | None:
    """Rows of a split, None where nothing tells: what decides how many digits its figures have."""
    told: int | None = run.get("metrics", {}).get(split, {}).get("rows")
    return run.get("dataset", {}).get("rows", {}).get(split) if told is None else told


def further_figures(folder: RunFolder, predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Figures of the test split that run.json does not have; none without predictions."""
    tested = folder.tested(predictions)
    return folder.task.further(*tested) if tested else {}


def worst_rows(
    mistakes: Mistakes, predictions: Sequence[Mapping[str, Any]], texts: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, Any]]:
    """id, label, prediction, figure and text (None where unknown) of the worst rows.

    A long text is cut in its middle. marks are what of a whole one label and prediction speak of, else None.
    """
    ids = [predictions[mistake.row]["id"] for mistake in mistakes.worst]
    return [
        {
            "id": key,
            "label": mistake.label,
            "prediction": mistake.prediction,
            "figure": mistake.figure,
            **_shown(texts.get(key) if texts else None, mistake),
        }
        for key, mistake in zip(ids, mistakes.worst, strict=True)
    ]


def _one_sided(run: Mapping[str, Any]) -> tuple[str, ...]:
    """A warning of classes that rows of test have and that none is given."""
    never = run.get("never_predicted") or ()
    return (f"never predicted, though rows of test are of them: {listed(never)}",) if never else ()


def _expected(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the recipe promised beside what came out: name, expected, measured (None where nothing was), unit."""
    promised, test = run.get("expected") or {}, run.get("metrics", {}).get("test", {})
    timing = run.get("timing", {})
    seconds = timing["train_seconds"] + timing.get("compile_seconds", 0.0) if "train_seconds" in timing else None
    found = [
        {"name": name, "expected": value, "measured": test.get(name)}
        for name, value in expected_figures(promised).items()
    ]
    if promised.get("hours") is not None:
        hours = None if seconds is None else seconds / 3600
        found.append({"name": "hours", "expected": promised["hours"], "measured": hours})
    return found


def _shown(texts: Sequence[str] | None, mistake: Mistake) -> dict[str, Any]:
    """The text, the two of a pair on lines of their own, and what of it is marked."""
    text = None if texts is None else "\n".join(texts)
    if texts is None or text is None or mistake.marks is None or len(text) > LONGEST_MARKED:
        return {"text": text and _cut(text), "marks": None}
    before = len(text) - len(texts[-1])
    marks = [
        [mark._replace(start=mark.start + before, end=mark.end + before) for mark in of_one] for of_one in mistake.marks
    ]
    return {"text": text, "marks": marks}


def _cut(text: str) -> str:
    half = LONGEST_TEXT // 2
    return text if len(text) <= LONGEST_TEXT else f"{text[:half]} […] {text[-half:]}"
