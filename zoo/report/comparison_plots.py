"""Charts of several runs over each other.

In come rows of history.jsonl and figures of the test split by the runs' names; a run has the same colour in each
picture. Refused: nothing to draw (ValueError).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from zoo.report.drawing import LONGEST_NAME, WIDTH, Chart, legend, short, strokes
from zoo.report.plots import series

__all__ = ["accuracies", "curves"]


def curves(histories: Mapping[str, Sequence[Mapping[str, Any]]], figure_name: str, figure_title: str) -> Chart:
    """Training loss, validation loss and another validation figure over the epochs, a panel each and a line a run.

    Over epochs and not steps, so that runs with other batch sizes can be laid over each other. Earlier runs have wider
    lines, which are seen under those of runs that went the same way. A run that ended within its first epoch has none.
    """
    lengths = {name: _steps_of_epoch(history) for name, history in histories.items()}
    if not any(lengths.values()):
        raise ValueError("no run has finished an epoch")

    # Title, kind of the rows, and where in them the value is.
    panels: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("Training loss", "step", ("loss",)),
        ("Validation loss", "epoch", ("validation", "loss")),
        (f"Validation {figure_title}", "epoch", ("validation", figure_name)),
    )

    def paint(figure: Figure) -> None:
        grid = figure.subplots(len(panels), 1, sharex=True)
        for axes, (title, kind, keys) in zip(grid, panels, strict=True):
            for (name, history), stroke in zip(histories.items(), strokes(len(histories), nested=True), strict=True):
                if not (length := lengths[name]):
                    continue
                x, y = series([row for row in history if row["kind"] == kind], *keys)
                passed = [step / length for step in x]
                dots = {"marker": "o", "markersize": stroke["linewidth"] + 3.0} if len(x) <= 40 else {}
                axes.plot(passed, y, label=short(name, LONGEST_NAME), **stroke, **dots)
            axes.set_title(title, loc="left")
        grid[-1].set_xlabel("epochs")
        grid[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        legend(grid[-1])

    return Chart(title="How training went, a colour a run", size=(WIDTH, 5.0), paint=paint)


def accuracies(tests: Mapping[str, Mapping[str, float]]) -> Chart:
    """Test accuracy of each run with its interval; `tests` are figures with accuracy, accuracy_low, accuracy_high."""
    if not tests:
        raise ValueError("no run was tested")

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (test, stroke) in enumerate(zip(tests.values(), strokes(len(tests)), strict=True)):
            middle = test["accuracy"]
            reach = [[middle - test["accuracy_low"]], [test["accuracy_high"] - middle]]
            axes.errorbar(middle, place, xerr=reach, marker="o", capsize=4, color=stroke["color"])
        axes.set_yticks(range(len(tests)), [short(name, LONGEST_NAME) for name in tests])
        axes.set_ylim(len(tests) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel("test accuracy")

    return Chart(title="Test accuracy with its 95% interval", size=(WIDTH, 0.7 + 0.36 * len(tests)), paint=paint)


def _steps_of_epoch(history: Sequence[Mapping[str, Any]]) -> float | None:
    """Optimizer steps of an epoch; None where none was finished."""
    return next((row["step"] / row["epoch"] for row in history if row["kind"] == "epoch"), None)
