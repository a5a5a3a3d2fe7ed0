"""Pictures of predicted numbers: beside the true ones, and how far they are off.

In come targets `[rows]` and values `[rows]`, what is true and what the model says, and the name of the number.
Refused: nothing to draw, numbers that are not finite, arrays of different shape (ValueError).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from zoo.report.drawing import LONGEST_NAME, WIDTH, Chart, ink, legend, short
from zoo.score.digits import amount

__all__ = ["histogram", "predicted_by_true", "residuals"]

Floats = NDArray[np.float64]

MOST_POINTS = 5_000
"""Rows in one picture, each drawn by itself."""
FEWEST_BINS, MOST_BINS = 11, 61
"""Bars of a histogram; odd, so that one number alone stands in the middle of its bar."""
# The line where predicted and true are equal: in the colour of letters it is seen on bars and points too.
EQUAL: dict[str, Any] = {"linestyle": ":", "linewidth": 1.5, "zorder": 3, "label": "predicted = true"}


def predicted_by_true(targets: ArrayLike, values: ArrayLike, name: str) -> Chart:
    """Predicted over true, a point a row, with the line on which they are equal.

    Of more than MOST_POINTS rows not the points but their number in each of many hexagons is shown, by colour.
    """
    truth, given = _checked(targets, values)
    low, high = _limits(np.concatenate([truth, given]))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axline((low, low), slope=1.0, color=ink(), **EQUAL)
        if len(truth) <= MOST_POINTS:
            # Few points are drawn solid; of many, what lies on top of each other shows.
            style: dict[str, Any] = {"s": 18, "alpha": float(np.clip(40 / len(truth) ** 0.7, 0.15, 0.8))}
            axes.scatter(truth, given, linewidths=0, label=f"texts ({len(truth):,})", **style)
        else:
            # From below 1, so that one text too is told from the paper.
            colours = LogNorm(vmin=0.3)
            cells = axes.hexbin(truth, given, gridsize=50, mincnt=1, extent=(low, high, low, high), norm=colours)
            # Plain numbers, since no label is read as a formula.
            bar = figure.colorbar(cells, ax=axes, format="{x:,.0f}", shrink=0.8)
            bar.set_label(f"texts in a hexagon ({len(truth):,} in all)")
            bar.set_ticks(np.unique(np.geomspace(1, np.asarray(cells.get_array()).max(), 4).round()).tolist())
            bar.minorticks_off()
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xlabel="true", ylabel="predicted")
        legend(axes)

    return Chart(title=f"{short(name, LONGEST_NAME)}: predicted and true", size=(WIDTH, 4.0), paint=paint)


def residuals(targets: ArrayLike, values: ArrayLike, name: str) -> Chart:
    """How many texts are off by how much: predicted minus true, with the mean, which is 0 where nothing is biased."""
    truth, given = _checked(targets, values)
    off = given - truth
    mean = float(off.mean())
    told = f"{'+' if mean >= 0 else ''}{amount(mean, len(off))}"
    counts, edges = _binned(off)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.stairs(counts, edges, fill=True, alpha=0.85, label=f"texts ({len(off):,})")
        axes.axvline(0.0, color=ink(), **EQUAL)
        axes.axvline(mean, color="#d55e00", linestyle="--", label=f"mean {told}")
        axes.set(xlabel="predicted minus true", ylabel="texts", ylim=(0, None))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        legend(axes)

    return Chart(title=f"{short(name, LONGEST_NAME)}: how far predictions are off", size=(WIDTH, 2.8), paint=paint)


def histogram(values: ArrayLike, name: str) -> Chart:
    """How many texts have which number, with their mean; `name` says what it is."""
    numbers, _ = _checked(values, values)
    mean = float(numbers.mean())
    counts, edges = _binned(numbers, least=0.0 if numbers.min() >= 0.0 else None)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.stairs(counts, edges, fill=True, alpha=0.85, label=f"texts ({len(numbers):,})")
        axes.axvline(mean, color="#d55e00", linestyle="--", label=f"mean {amount(mean, len(numbers))}")
        axes.set(xlabel=short(name, LONGEST_NAME), ylabel="texts", ylim=(0, None))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        legend(axes)

    return Chart(title=short(name, LONGEST_NAME), size=(WIDTH, 2.8), paint=paint)


def _binned(numbers: Floats, *, least: float | None = None) -> tuple[NDArray[np.int64], Floats]:
    """How many numbers are in each bar, and where the bars begin and end, not below `least`."""
    # Rice's rule, whose number of bars depends on the rows alone: one text that is far off does not raise it.
    bars = int(np.clip(2 * len(numbers) ** (1 / 3), FEWEST_BINS, MOST_BINS)) | 1
    low, high = _limits(numbers)
    return np.histogram(numbers, np.linspace(low if least is None else max(low, least), high, bars + 1))


def _limits(numbers: Floats) -> tuple[float, float]:
    """A little more than the numbers take; something around them where all are equal."""
    low, high = float(numbers.min()), float(numbers.max())
    room = 0.04 * (high - low) or 0.1 * abs(low) or 1.0
    return low - room, high + room


def _checked(targets: ArrayLike, values: ArrayLike) -> tuple[Floats, Floats]:
    truth, given = np.asarray(targets, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != given.shape:
        raise ValueError(f"targets {list(truth.shape)} and values {list(given.shape)}: expected both [rows]")
    if not len(truth):
        raise ValueError("there is no row to draw")
    if not (np.isfinite(truth).all() and np.isfinite(given).all()):
        raise ValueError("some number is not finite")
    return truth, given
