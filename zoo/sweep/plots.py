"""Charts of a search: which keys mattered, what good trials have in common, how the best figure came about.

In come rows of trials and importances; out come `Chart`s. Refused: nothing to draw (ValueError).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from zoo.report.drawing import WIDTH, Chart, ink, legend, short
from zoo.sweep.outcome import Row, brief
from zoo.sweep.space import Choice, Parameter
from zoo.tasks.shown import Kind

__all__ = ["importance", "parallel", "progress"]

ROOM = 0.36
"""Inches of a bar with its name."""
BEYOND = 0.04
"""How much of its height an axis has left above and below its values."""
SEEN = 0.25
"""Where in a map of colours the first begins that stands out from the paper."""


def importance(shares: Mapping[str, float]) -> Chart:
    """A bar a key: its share of the differences between complete trials."""
    if not shares:
        raise ValueError("too few complete trials to tell which keys mattered")
    names = [short(key, 40) for key in shares]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.barh(range(len(names)), list(shares.values()), height=0.6)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("share of the differences between trials")

    return Chart(title="Which keys mattered", size=(WIDTH, 0.7 + ROOM * len(names)), paint=paint)


def progress(rows: Sequence[Row], *, named: str, kind: Kind, falling: bool) -> Chart:
    """The figure of each trial, and the best up to it."""
    told = {
        status: [(row.number, row.value) for row in rows if row.status == status and row.value is not None]
        for status in ("complete", "pruned")
    }
    if not told["complete"]:
        raise ValueError("no trial is complete")
    numbers, values = (list(each) for each in zip(*told["complete"], strict=True))
    best = (np.minimum if falling else np.maximum).accumulate(values)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for (status, points), mark in zip(told.items(), ("o", "x"), strict=True):
            if points:
                axes.plot(*zip(*points, strict=True), mark, label=status, markersize=5.0)
        axes.step(numbers, best, where="post", color=ink(), linewidth=1.3, label="best so far")
        axes.set_xlabel("trial; the first is the recipe as it is")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _scaled(axes.yaxis, kind)
        legend(axes)

    return Chart(title=f"Validation {named}, trial by trial", size=(WIDTH, 3.0), paint=paint)


def parallel(rows: Sequence[Row], parameters: Sequence[Parameter], *, named: str, kind: Kind, falling: bool) -> Chart:
    """A line a trial through its values and its figure, the better ones in stronger colours and higher; a pruned one is
    thin and ends before the figure."""
    keys = [each.key for each in parameters]
    drawn = [row for row in rows if row.status in ("complete", "pruned") and {*row.values} >= {*keys}]
    complete = [row for row in drawn if row.status == "complete" and row.value is not None]
    if len(complete) < 2:
        raise ValueError("fewer than two trials are complete")
    figures = [row.value or 0.0 for row in complete]
    scale = Normalize(min(figures), max(figures) if max(figures) > min(figures) else min(figures) + 1e-9)
    places = {each.key: _places(each, [row.values[each.key] for row in drawn]) for each in parameters}

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        whole = mpl.colormaps[mpl.rcParams["image.cmap"]]
        colours = whole(np.linspace(SEEN, 1.0, 256))
        shades = mpl.colors.ListedColormap(colours[::-1] if falling else colours)
        for row in sorted(
            drawn, key=lambda row: (row.status == "complete", (row.value or 0.0) * (-1 if falling else 1))
        ):
            heights = [places[key][json.dumps(row.values[key])] for key in keys]
            done = row.status == "complete" and row.value is not None
            share = float(scale(row.value or 0.0))
            heights += [1.0 - share if falling else share] * done
            colour = shades(share) if done else mpl.rcParams["axes.edgecolor"]
            points = list(enumerate(heights))
            axes.add_collection(
                LineCollection([points], colors=[colour], linewidths=1.8 if done else 0.8, zorder=2 if done else 1)
            )
        for place, key in enumerate(keys):
            axes.axvline(place, color=mpl.rcParams["axes.edgecolor"], linewidth=0.8, zorder=0)
            for height, text in _marks(parameters[place], places[key]):
                paper = {
                    "boxstyle": "square,pad=0.15",
                    "facecolor": mpl.rcParams["axes.facecolor"],
                    "edgecolor": "none",
                }
                axes.annotate(
                    *(text, (place, height), (5, 0)), textcoords="offset points", va="center", fontsize=8.0, bbox=paper
                )
        axes.set_xticks(range(len(keys)), [short(brief(key), 18) for key in keys])
        axes.set_xlim(-0.05, len(keys))
        axes.set_ylim(-BEYOND, 1.0 + BEYOND)
        axes.set_yticks([])
        axes.grid(visible=False)
        bar = figure.colorbar(ScalarMappable(scale, shades), ax=axes, pad=0.0, aspect=30)
        bar.outline.set_visible(False)
        ends = [scale.inverse(end) for end in (-BEYOND, 1.0 + BEYOND)]  # so that a line ends at its own figure
        bar.ax.set_ylim(*(reversed(ends) if falling else ends))
        bar.set_label(f"validation {named}")
        _scaled(bar.ax.yaxis, kind)

    size = (max(6.6, 1.5 * (len(keys) + 1)), 3.6)
    return Chart(title="What good trials have in common", size=size, paint=paint)


def _scaled(axis: Any, kind: Kind) -> None:
    if kind == "share":
        axis.set_major_formatter(PercentFormatter(1.0))


def _places(parameter: Parameter, values: Sequence[Any]) -> dict[str, float]:
    """Where on its axis, from 0 to 1, each value stands."""
    if isinstance(parameter, Choice):
        known = [*parameter.values, *(value for value in values if value not in parameter.values)]
        return {json.dumps(value): place / max(1, len(known) - 1) for place, value in enumerate(known)}
    of = (lambda value: math.log(value)) if parameter.log else float
    numbers = [value for value in values if isinstance(value, int | float) and (not parameter.log or value > 0)]
    low, high = of(min([parameter.low, *numbers])), of(max([parameter.high, *numbers]))
    return {json.dumps(value): (of(value) - low) / (high - low) for value in [parameter.low, parameter.high, *numbers]}


def _marks(parameter: Parameter, places: Mapping[str, float]) -> list[tuple[float, str]]:
    """What is written beside an axis: all choices, or the ends of a range."""
    named = [(place, json.loads(text)) for text, place in places.items()]
    if not isinstance(parameter, Choice):
        named = [(place, value) for place, value in named if place in (0.0, 1.0)]
    return [(place, short(f"{value:g}" if isinstance(value, float) else _word(value), 16)) for place, value in named]


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
