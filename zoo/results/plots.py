"""Pictures of a run as PNG bytes, drawn without a screen.

In come plain values: rows of history.jsonl, counts, class names. Out comes one PNG a function. Class
names are shown as they are: a `$` in one never starts a formula. Refused: nothing to draw (ValueError).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from zoo.results.drawing import draw, legend, short

__all__ = ["confusion_matrix", "curves", "histogram", "label_distribution", "token_lengths"]

MOST_NUMBERED_CLASSES = 16
# Validation figures that are shares of 1 and so fit on one axis.
SHARES = {"accuracy": "validation accuracy", "f1": "validation F1", "roc_auc": "validation area under ROC"}


def curves(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Loss, shares such as accuracy, and learning rate over the steps, a panel each where there is something to draw.

    `history` are rows of kind `step` (step, loss, learning_rate) and `epoch` (step, train and validation: figures).
    """
    steps = [row for row in history if row["kind"] == "step"]
    epochs = [row for row in history if row["kind"] == "epoch"]
    loss = {
        "training, by step": _series(steps, "loss"),
        "training, mean of the epoch": _series(epochs, "train", "loss"),
        "validation": _series(epochs, "validation", "loss"),
    }
    shares = {"training accuracy": _series(epochs, "train", "accuracy")}
    shares |= {title: _series(epochs, "validation", name) for name, title in SHARES.items()}
    rate = {"learning rate": _series(steps, "learning_rate")}
    panels = [
        (title, {name: series for name, series in lines.items() if series[0]})
        for title, lines in (("Loss, nats", loss), ("Accuracy, F1 and the like", shares), ("Learning rate", rate))
    ]
    panels = [(title, lines) for title, lines in panels if lines]
    if not panels:
        raise ValueError("the history holds no figure to draw")
    return draw((9.0, 2.8 * len(panels)), lambda figure: _panels(figure, panels, [row["step"] for row in epochs]))


def confusion_matrix(counts: ArrayLike, label_names: Sequence[str]) -> bytes:
    """Counts `[classes, classes]` (rows true, columns predicted), coloured by the share of the true class."""
    table = np.asarray(counts)
    classes = len(label_names)
    if not table.sum():
        raise ValueError("the confusion matrix holds no row")
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    names = [short(name) for name in label_names]
    many = classes > 5
    slanted = many or max(map(len, names)) > 10
    text = [
        [f"{n}" if many else f"{n}\n{share:.1%}" for n, share in zip(*row, strict=True)]
        for row in zip(table, shares, strict=True)
    ]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        seaborn.heatmap(
            shares,
            ax=axes,
            vmin=0.0,
            vmax=1.0,
            cmap="Blues",
            annot=np.array(text) if classes <= MOST_NUMBERED_CLASSES else False,
            fmt="",
            annot_kws={"fontsize": 8 if many else 11},
            square=True,
            linewidths=0.5,
            xticklabels=names,
            yticklabels=names,
            cbar_kws={"format": PercentFormatter(1.0), "label": "share of the true class", "shrink": 0.8},
        )
        axes.set(xlabel="predicted", ylabel="true")
        axes.set_xticks(axes.get_xticks(), names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
        axes.set_yticks(axes.get_yticks(), names, rotation=0)

    side = 3.2 + 0.62 * max(classes, 3)
    return draw((side + 1.4, side), paint)


def label_distribution(counts: Mapping[str, Sequence[int]], label_names: Sequence[str]) -> bytes:
    """How often each class occurs: `counts` maps a split's name to its rows a class; bars are shares of the split."""
    splits = {split: np.asarray(values) for split, values in counts.items() if sum(values)}
    if not splits:
        raise ValueError("no split holds a row")
    height = 0.8 / len(splits)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (split, values) in enumerate(splits.items()):
            places = np.arange(len(label_names)) + (number - (len(splits) - 1) / 2) * height
            bars = axes.barh(places, values / values.sum(), height, label=f"{split} ({values.sum():,} rows)")
            axes.bar_label(bars, [f"{value:,}" for value in values], padding=3, fontsize=8)
        axes.set_yticks(range(len(label_names)), [short(name) for name in label_names])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.12, y=0.02)
        axes.set_xlabel("share of the split (rows at the bar's end)")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        legend(axes)

    return draw((9.0, 1.4 + 0.24 * len(label_names) * (len(splits) + 0.7)), paint)


def token_lengths(edges: ArrayLike, counts: ArrayLike, max_length: int) -> bytes:
    """How long the texts are in tokens before truncation, with a line where truncation begins.

    `edges [bins + 1]` and `counts [bins]` as `histogram` gives them.
    """
    edges, counts = np.asarray(edges, dtype=np.float64), np.asarray(counts)
    if not counts.sum():
        raise ValueError("the histogram of lengths holds no row")

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.stairs(counts, edges, fill=True, alpha=0.85, label="training texts")
        axes.axvline(max_length, color="#d55e00", linestyle="--", label=f"max_length {max_length}")
        axes.set(xlabel="tokens in a text (the last bar holds the longest 0.5%)", ylabel="texts", ylim=(0, None))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(0, max(edges[-1], max_length * 1.05))
        legend(axes)

    return draw((9.0, 3.2), paint)


def histogram(lengths: ArrayLike, bins: int = 50) -> dict[str, list[float]]:
    """Lengths `[rows]` in tokens as `edges` and `counts`, small enough for run.json.

    Bars are whole tokens wide. The last one takes the longest 0.5% of the texts too, so that one giant
    does not flatten the picture.
    """
    values = np.asarray(lengths)
    width = max(1, math.ceil(float(np.quantile(values, 0.995)) / bins))
    top = width * bins
    counts, edges = np.histogram(np.minimum(values, top - 1), bins=bins, range=(0, top))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _panels(figure: Figure, panels: Sequence[tuple[str, Mapping[str, Any]]], ends: Sequence[int]) -> None:
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, lines) in zip(grid, panels, strict=True):
        for end in ends:
            axes.axvline(end, color="0.75", linewidth=0.8, linestyle=":", zorder=0)
        for name, (x, y) in lines.items():
            many = len(x) > 40
            axes.plot(x, y, label=name, linewidth=1.0 if many else 1.6, marker=None if many else "o", markersize=4)
        axes.set_title(title, loc="left", fontsize=11)
        if len(lines) > 1:
            legend(axes)
    grid[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    grid[-1].set_xlabel("optimizer step (dotted: end of an epoch)" if ends else "optimizer step")


def _series(rows: Sequence[Mapping[str, Any]], *keys: str) -> tuple[list[int], list[float]]:
    """Steps and values of the rows that hold a value under the keys, each inside the one before."""
    x, y = [], []
    for row in rows:
        value: Any = row
        for key in keys:
            value = None if value is None else value.get(key)
        if value is not None:
            x.append(row["step"])
            y.append(float(value))
    return x, y
