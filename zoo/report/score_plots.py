"""Pictures of what the probabilities are worth: precision-recall, ROC, reliability. PNG bytes, as plots.py draws.

In come the values of ranking.py and calibration.py. One class is drawn alone; of several each against the rest and
their macro average, and from 13 on the macro average and the five worst. Refused: nothing to draw
(ValueError).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import seaborn
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from zoo.report.drawing import draw, legend, short, strokes
from zoo.score.calibration import Reliability
from zoo.score.ranking import Ranking, macro_average

__all__ = ["precision_recall", "reliability_diagram", "roc"]

MOST_CLASSES = 12
WORST = 5


def precision_recall(rankings: Sequence[Ranking | None]) -> bytes:
    """Precision over recall; `rankings` are those of the classes to draw, in class order."""

    def paint(axes: Any, chosen: Sequence[Ranking]) -> None:
        for each, stroke in zip(chosen, _strokes(chosen), strict=True):
            label = f"{each.average_precision:.3f}  {short(each.name)}"
            axes.plot(each.recall, each.precision, drawstyle="steps-post", label=label, **stroke)
        if len(chosen) == 1:
            axes.axhline(chosen[0].share, color="0.6", linestyle=":", label=f"{chosen[0].share:.3f}  by chance")
        axes.set(xlabel="recall", ylabel="precision")

    return _curves(rankings, lambda each: each.average_precision, "average precision", paint)


def roc(rankings: Sequence[Ranking | None]) -> bytes:
    """True positive rate over false positive rate; `rankings` as above."""

    def paint(axes: Any, chosen: Sequence[Ranking]) -> None:
        for each, stroke in zip(chosen, _strokes(chosen), strict=True):
            label = f"{each.roc_auc:.3f}  {short(each.name)}"
            axes.plot(each.false_positives, each.true_positives, label=label, **stroke)
        axes.plot([0.0, 1.0], [0.0, 1.0], color="0.6", linestyle=":", label="0.500  by chance")
        axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)")

    return _curves(rankings, lambda each: each.roc_auc, "area under ROC", paint)


def reliability_diagram(found: Reliability) -> bytes:
    """How often the predictions of each bin were right, beside how sure the model was; below, the rows a bin."""
    filled = found.rows > 0
    if not filled.any():
        raise ValueError("no bin holds a row")
    low, width = float(found.edges[int(np.argmax(filled))]), float(found.edges[1])
    middles = (found.edges[:-1] + found.edges[1:])[filled] / 2
    colours = seaborn.color_palette("colorblind")

    def paint(figure: Figure) -> None:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
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
        upper.plot([low, 1.0], [low, 1.0], color="0.4", linestyle=":", label="calibrated")
        upper.set(xlim=(low, 1.0), ylim=(0.0, 1.02), ylabel="accuracy")
        upper.set_title(f"Expected calibration error {found.error:.4f}", loc="left", fontsize=11)
        legend(upper)
        bars = lower.bar(middles, found.rows[filled], width * 0.92, color="0.55")
        lower.bar_label(bars, [f"{rows:,}" for rows in found.rows[filled]], padding=2, fontsize=8)
        lower.margins(y=0.25)
        lower.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
        lower.set(ylabel="rows", xlabel="probability of the predicted class")
        lower.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        upper.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))

    return draw((6.6, 5.0), paint)


def _curves(
    rankings: Sequence[Ranking | None],
    area: Callable[[Ranking], float],
    title: str,
    paint: Callable[[Any, Sequence[Ranking]], None],
) -> bytes:
    shown = chosen(rankings, area)

    def whole(figure: Figure) -> None:
        axes = figure.subplots()
        paint(axes, shown)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03), aspect="equal")
        legend(axes, title=title, alignment="left", title_fontsize=9)

    return draw((8.0, 5.0), whole)


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
    """A thick black line for the macro average, which comes first; a class alone is no average."""
    if len(chosen) == 1:
        return strokes(1)
    return [{"color": "black", "linewidth": 2.6, "zorder": 3}, *strokes(len(chosen) - 1)]
