"""report.html and plots/*.png from what stands in a run folder.

In comes a run folder; out comes one HTML file that loads nothing from anywhere: pictures are inside it,
there is no script. Texts, names and messages are escaped. A picture that cannot be drawn becomes a
warning in the report; it never costs the figures. Refused: a folder without run.json (OutputError).
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from zoo.data.dataset import Split
from zoo.errors import ZooError
from zoo.report import pages, plots, score_plots
from zoo.report.drawing import draw_each
from zoo.runs.run_folder import RunFolder
from zoo.runs.tested import tested_split
from zoo.score import calibration, metrics, ranking

__all__ = [
    "calibration_figures",
    "confident_mistakes",
    "draw_plots",
    "label_names",
    "tested_texts",
    "texts_by_id",
    "write_report",
]

MISTAKES = 20
LONGEST_TEXT = 600
CLASSES = 100
"""In the table of the classes."""
PAIRS = 20
"""Of classes that are confused."""
SPLITS = ("train", "validation", "test")
TITLES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "macro_f1": "F1, macro",
    "precision": "precision",
    "recall": "recall",
    "roc_auc": "area under ROC",
    "average_precision": "average precision",
    "matthews": "Matthews correlation",
    "loss": "loss, nats",
}
CAPTIONS = {
    "curves": "Loss, accuracy and the like, and learning rate, over the optimizer steps",
    "confusion_matrix": "Test split: true class by row, predicted class by column",
    "labels": "How often each class occurs",
    "lengths": "Length of the training texts in tokens, before truncation",
    "precision_recall": "Test split: precision over recall as the threshold falls, with the average precision",
    "roc": "Test split: receiver operating characteristic, with the area under it",
    "reliability": "Test split: how often predictions were right, by the probability that the model gave them",
    "time": "Where the time of the run went",
}


def write_report(
    folder: RunFolder, texts: Mapping[str, str] | None = None, warnings: Sequence[str] = ()
) -> tuple[Path, tuple[str, ...]]:
    """Draw the plots, write report.html, and return its path with the warnings that stand in it.

    `texts` maps ids of predictions.jsonl to their texts, shown beside the mistakes; without them the id
    stands alone. `warnings` are added to what the report warns of.
    """
    run, predictions = folder.run, folder.predictions
    names = label_names(run, predictions)
    rankings = _rankings(predictions, names)
    pictures, failed = draw_plots(run, folder.history, predictions, rankings)
    for name, png in pictures.items():
        folder.write_bytes(f"plots/{name}.png", png)
    told = (*warnings, *failed)
    splits = {name: run["metrics"][name] for name in SPLITS if name in run.get("metrics", {})}
    classes = metrics.classification_table(*_numbered(predictions, names), names) if predictions else []
    for row, ranked in zip(classes, rankings, strict=True):
        row |= {"roc_auc": ranked and ranked.roc_auc, "average_precision": ranked and ranked.average_precision}
    page = pages.html(
        "report.html.j2",
        run=run,
        recipe=yaml.safe_load(folder.recipe_text),
        recipe_text=folder.recipe_text,
        warnings=told,
        titles=TITLES,
        splits=splits,
        figures={
            name: [figures.get(name) for figures in splits.values()]
            for name in TITLES
            if any(name in figures for figures in splits.values())
        },
        expected=_expected(run),
        pictures=[(CAPTIONS[name], base64.b64encode(png).decode()) for name, png in pictures.items()],
        classes=metrics.worst_classes(classes, CLASSES),
        left_out=max(0, len(classes) - CLASSES),
        confused=_confused(predictions, names),
        two=len(names) == 2,
        calibration=calibration_figures(run, predictions),
        mistakes=confident_mistakes(predictions, texts),
        wrong=sum(row["label"] != row["prediction"] for row in predictions),
        tested=len(predictions),
        again=f"python -m zoo.run {shlex.quote(str(folder.path / 'recipe.yaml'))}",
    )
    return folder.write_text("report.html", page), told


def tested_texts(folder: RunFolder) -> tuple[dict[str, str], list[str]]:
    """The texts of a run's test split by id, read from its data again, and a warning where that cannot be.

    Data that have changed since the run give no texts: another text could stand under an id.
    """
    try:
        return texts_by_id(tested_split(folder)), []
    except ZooError as error:
        return {}, [f"the mistakes are shown without their texts: {error}"]


def texts_by_id(split: Split) -> dict[str, str]:
    """The rows' texts by id, the two texts of a pair on lines of their own."""
    pairs = split.pairs or [""] * len(split)
    return {key: f"{text}\n{pair}".rstrip() for key, text, pair in zip(split.ids, split.texts, pairs, strict=True)}


def draw_plots(
    run: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]],
    rankings: Sequence[ranking.Ranking | None],
) -> tuple[dict[str, bytes], list[str]]:
    """A PNG for all there is data for, by name, and a warning for each that could not be drawn.

    Beside the rows of history.jsonl and predictions.jsonl it reads from `run`, where they are there,
    `dataset.label_counts` (split -> rows a class), `dataset.token_lengths` (edges, counts, max_length) and `timing`.
    `rankings` are those of the predictions, one a class.
    """
    names = label_names(run, predictions)
    dataset, timing = run.get("dataset", {}), run.get("timing", {})
    counts, lengths = dataset.get("label_counts"), dataset.get("token_lengths")
    drawings: dict[str, Callable[[], bytes]] = {}
    if history:
        drawings["curves"] = lambda: plots.curves(history)
    if predictions:
        drawings["confusion_matrix"] = lambda: plots.confusion_matrix(*_numbered(predictions, names), names)
    if any(rankings):
        drawings["precision_recall"] = lambda: score_plots.precision_recall(rankings)
        drawings["roc"] = lambda: score_plots.roc(rankings)
    if predictions:
        drawings["reliability"] = lambda: score_plots.reliability_diagram(_reliability(predictions, names))
    if counts:
        drawings["labels"] = lambda: plots.label_distribution(counts, names)
    if lengths:
        drawings["lengths"] = lambda: plots.token_lengths(**lengths)
    if any(plots.split_seconds(timing).values()):
        drawings["time"] = lambda: plots.time_split({"this run": timing})
    return draw_each(drawings, "plots/")


def calibration_figures(run: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """expected_calibration_error and brier_score of the test split; none without predictions."""
    if not predictions:
        return {}
    names = label_names(run, predictions)
    labels, _ = _numbered(predictions, names)
    return {
        "expected_calibration_error": _reliability(predictions, names).error,
        "brier_score": calibration.brier_score(_probabilities(predictions), labels),
    }


def confident_mistakes(
    predictions: Sequence[Mapping[str, Any]], texts: Mapping[str, str] | None = None, most: int = MISTAKES
) -> list[dict[str, Any]]:
    """The wrong predictions the model was surest of: id, label, prediction, probability, text (None where unknown).

    The probability is the largest of the row's, 0 to 1. A long text is cut in its middle.
    """
    wrong = [row for row in predictions if row["label"] != row["prediction"]]
    wrong.sort(key=lambda row: -max(row["probabilities"]))
    return [
        {
            "id": row["id"],
            "label": row["label"],
            "prediction": row["prediction"],
            "probability": max(row["probabilities"]),
            "text": _cut(texts[row["id"]]) if texts and row["id"] in texts else None,
        }
        for row in wrong[:most]
    ]


def _confused(predictions: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[tuple[str, str, int]]:
    """True class, predicted class and rows of the pairs that are confused most, where no picture shows all classes."""
    if len(names) <= plots.MOST_CLASSES:
        return []
    pairs = metrics.confused_pairs(*_numbered(predictions, names))
    return [(names[true], names[guess], rows) for true, guess, rows in pairs[:PAIRS]]


def label_names(run: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> list[str]:
    """The class names by number as run.json has them, else those that occur, sorted."""
    known = run.get("dataset", {}).get("label_names")
    return list(known) if known else sorted({row[key] for row in predictions for key in ("label", "prediction")})


def _numbered(predictions: Sequence[Mapping[str, Any]], names: Sequence[str]) -> tuple[list[int], list[int]]:
    """True and predicted class numbers `[rows]`."""
    number = {name: index for index, name in enumerate(names)}
    return [number[row["label"]] for row in predictions], [number[row["prediction"]] for row in predictions]


def _probabilities(predictions: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Probabilities `[rows, classes] float64`."""
    return np.array([row["probabilities"] for row in predictions], dtype=np.float64)


def _rankings(predictions: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[ranking.Ranking | None]:
    """One a class; none without predictions."""
    return ranking.rank(_probabilities(predictions), _numbered(predictions, names)[0], names) if predictions else []


def _reliability(predictions: Sequence[Mapping[str, Any]], names: Sequence[str]) -> calibration.Reliability:
    return calibration.reliability(_probabilities(predictions), _numbered(predictions, names)[0])


def _expected(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the recipe promised beside what came out: name, expected, measured (None where nothing was), unit."""
    promised, test = run.get("expected") or {}, run.get("metrics", {}).get("test", {})
    seconds = run.get("timing", {}).get("train_seconds")
    measured = {
        "accuracy": test.get("accuracy"),
        "f1": test.get("f1"),
        "hours": None if seconds is None else seconds / 3600,
    }
    return [
        {"name": name, "expected": promised[name], "measured": value}
        for name, value in measured.items()
        if promised.get(name) is not None
    ]


def _cut(text: str) -> str:
    half = LONGEST_TEXT // 2
    return text if len(text) <= LONGEST_TEXT else f"{text[:half]} […] {text[-half:]}"
