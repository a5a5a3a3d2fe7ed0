"""Pictures of what the probabilities are worth: precision-recall, ROC, reliability.

In come the values of ranking.py and calibration.py. One class is drawn alone; of several each against the rest and
their macro average, and from 13 on the macro average and the five worst. Refused: nothing to draw
(ValueError).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from zoo.report.drawing import WIDTH, Chart, ink, legend, short, strokes
from zoo.score.calibration import Reliability
from zoo.score.digits import number
from zoo.score.ranking import Ranking, macro_average

__all__ = ["precision_recall", "reliability_diagram", "roc"]

MOST_CLASSES = 12
WORST = 5


def precision_recall(rankings: Sequence[Ranking | None], rows: int | None = None) -> Chart:
    """Precision over recall; `rankings` are those of the classes to draw, in class order, of so many rows."""

    def paint(axes: Any, chosen: Sequence[Ranking]) -> None:
        for each, stroke in zip(chosen, _strokes(chosen), strict=True):
            label = f"{number(each.average_precision, rows)}  {short(each.name)}"
            axes.plot(each.recall, each.precision, drawstyle="steps-post", label=label, **stroke)
        if len(chosen) == 1:
            chance = f"{number(chosen[0].share, rows)}  by chance"
            axes.axhline(chosen[0].share, color="0.6", linestyle=":", label=chance)
        axes.set(xlabel="recall", ylabel="precision")

    title = "Precision and recall as the threshold falls"
    return _curves(rankings, lambda each: each.average_precision, title, "average precision", paint)


def roc(rankings: Sequence[Ranking | None], rows: int | None = None) -> Chart:
    """True positive rate over false positive rate; `rankings` and `rows` as above."""

    def paint(axes: Any, chosen: Sequence[Ranking]) -> None:
        for each, stroke in zip(chosen, _strokes(chosen), strict=True):
            label = f"{number(each.roc_auc, rows)}  {short(each.name)}"
            axes.plot(each.false_positives, each.true_positives, label=label, **stroke)
        axes.plot([0.0, 1.0], [0.0, 1.0], color="0.6", linestyle=":", label=f"{number(0.5, rows)}  by chance")
        axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")

    return _curves(rankings, lambda each: each.roc_auc, "ROC: right and false alarms", "area under ROC", paint)


def reliability_diagram(found: Reliability) -> Chart:
    """How often the predictions of each bin were right, beside how sure the model was; below, the rows a bin."""
    filled = found.rows > 0
    if not filled.any():
        raise ValueError("no bin holds a row")
    low, width = float(found.edges[int(np.argmax(filled))]), float(found.edges[1])
    middles = (found.edges[:-1] + found.edges[1:])[filled] / 2

    def paint(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
        colours = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
        upper.bar(middles, found.accuracy[filled], width * 0.92, color=colours[0], label="share that was right")
        upper.plot(
            found.confidence[filled],
            found.confidence[filled],
            color=colours[1],
            linestyle="",
            marker="D",
            markersize=5,
            clip_on=False,
            label="mean probability",
        )
        upper.plot([low, 1.0], [low, 1.0], color=ink(), alpha=0.7, linestyle=":", label="equal, as it should be")
        upper.set(xlim=(low, 1.0), ylim=(0.0, 1.02), ylabel="right")
        bars = lower.bar(middles, found.rows[filled], width * 0.92, color="0.55")
        lower.bar_label(bars, [f"{rows:,}" for rows in found.rows[filled]], padding=2, fontsize=8)
        lower.margins(y=0.3)
        lower.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        lower.set(ylabel="rows", xlabel="probability of the predicted class")
        lower.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        upper.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        legend(upper)

    return Chart(title="How often the model was right, by how sure it was", size=(WIDTH, 3.6), paint=paint)


def _curves(
    rankings: Sequence[Ranking | None],
    area: Callable[[Ranking], float],
    title: str,
    legend_title: str,
    paint: Callable[[Any, Sequence[Ranking]], None],
) -> Chart:
    shown = chosen(rankings, area)

    def whole(figure: Figure) -> None:
        axes = figure.subplots()
        paint(axes, shown)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03), aspect="equal")
        legend(axes, title=legend_title)

    return Chart(title=title, size=(WIDTH, 3.9), paint=whole)


def chosen(rankings: Sequence[Ranking | None], area: Callable[[Ranking], float]) -> list[Ranking]:
    """The one that there is; of more, the macro average before all classes or, where these are too many, the worst."""
    found = [each for each in rankings if each is not None]
    if not found:
        raise ValueError("no class has both rows of its own and others")
    if len(found) == 1:
        return found
    worst = sorted(found, key=area)[:WORST] if len(found) > MOST_CLASSES else found
    return [macro_average(found), *worst]


def _strokes(chosen: Sequence[Ranking]) -> list[dict[str, Any]]:
    """A thick line in the colour of letters for the macro average, which comes first; a class alone is no average."""
    if len(chosen) == 1:
        return strokes(1)
    return [{"color": ink(), "linewidth": 2.6, "zorder": 3}, *strokes(len(chosen) - 1)]
