"""The picture of a `Bias`: how likely each group of words is beside each subject."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from zoo.explain.bias import Bias
from zoo.report.drawing import WIDTH, Chart, ink, legend, short, strokes

__all__ = ["MOST_SUBJECTS", "gaps"]

MOST_SUBJECTS = 60
"""In the picture; of more those with the largest gaps, either way."""


def gaps(bias: Bias) -> Chart:
    """A line a subject, from the probability of one group to that of another; the largest gap for the first on top."""
    widest = sorted(bias.leanings, key=lambda each: -abs(each.gap))[:MOST_SUBJECTS]
    shown = sorted(widest, key=lambda each: each.gap)
    values = np.array([[each.probabilities[name] for name in bias.groups] for each in shown])
    places = np.arange(len(shown))
    left_out = len(bias.leanings) - len(shown)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.hlines(places, values.min(axis=1), values.max(axis=1), color=ink(), linewidth=1.5, alpha=0.5, zorder=1)
        for name, column, stroke in zip(bias.groups, values.T, strokes(len(bias.groups)), strict=True):
            axes.scatter(column, places, color=stroke["color"], s=36, linewidths=0, label=short(name), zorder=2)
        axes.set_yticks(places, [short(each.subject) for each in shown])
        axes.grid(visible=False, axis="y")
        right = min(1.0, 1.08 * float(values.max())) or 1.0
        axes.set(xlim=(0.0, right), ylim=(-0.6, len(shown) - 0.4), xlabel="mean probability at the mask")
        legend(axes)

    title = "Which words are likely beside which subject"
    return Chart(
        title=f"{title} ({left_out:,} others left out)" if left_out else title,
        size=(WIDTH, 0.9 + 0.3 * len(shown)),
        paint=paint,
    )
