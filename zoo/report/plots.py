"""Charts of a run.

In come plain values: rows of history.jsonl, counts, class names, seconds. Out comes one `Chart` a function.
Refused: nothing to draw (ValueError).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from zoo.report.drawing import HUES, LONGEST_NAME, WIDTH, Chart, ink, legend, on, short
from zoo.score.digits import percent
from zoo.score.metrics import confusion, most_confused
from zoo.tasks.shown import MOST_CLASSES

__all__ = [
    "TIME_CAPTION",
    "confusion_matrix",
    "curves",
    "label_distribution",
    "series",
    "split_seconds",
    "time_split",
    "token_lengths",
]

MOST_NUMBERED_CLASSES = 16
MOST_BARRED = 12
"""Classes with bars of their own."""
LONGEST_SHARE = 0.99
"""Of the texts, the shortest first, are in the picture of their lengths."""
# Parts of a run's time in their order; the rest of the total (downloads, validation, saving) comes after them.
PARTS = ("data", "import", "tokenize", "build", "compile", "train", "evaluate")
TIME_CAPTION = (
    "Compile: the first step of each shape of batch; train: the others; other: validation between epochs and the like"
)


def curves(history: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> Chart:
    """Loss, the task's figures, and learning rate over the steps, a panel each where there is something to draw.

    `history` are rows of kind `step` (step, loss, learning_rate) and `epoch` (step, train and validation: figures).
    `titles` are figures that fit on one axis -> what they are called.
    """
    steps = [row for row in history if row["kind"] == "step"]
    epochs = [row for row in history if row["kind"] == "epoch"]
    loss = {
        "training, by step": series(steps, "loss"),
        "training, mean of the epoch": series(epochs, "train", "loss"),
        "validation": series(epochs, "validation", "loss"),
    }
    figures = {f"training {title}": series(epochs, "train", name) for name, title in titles.items()}
    figures |= {f"validation {title}": series(epochs, "validation", name) for name, title in titles.items()}
    rate = {"learning rate": series(steps, "learning_rate")}
    panels = [
        (title, {name: series for name, series in lines.items() if series[0]})
        for title, lines in (("Loss", loss), ("Figures", figures), ("Learning rate", rate))
    ]
    # A line alone has no legend: its name is the title.
    panels = [(next(iter(lines)).capitalize() if len(lines) == 1 else title, lines) for title, lines in panels if lines]
    if not panels:
        raise ValueError("the history holds no figure to draw")
    ends = [row["step"] for row in epochs]
    return Chart(
        title="How training went",
        size=(WIDTH, 0.5 + 1.5 * len(panels)),
        paint=lambda figure: _panels(figure, panels, ends),
    )


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, label_names: Sequence[str]) -> Chart:
    """How often each true class (row) was taken for each class (column), coloured by the share of the true class.

    `labels` and `predicted` are class numbers `[rows]`. Of more than MOST_CLASSES classes those are shown that are
    confused most, and the picture says how many are left out.
    """
    truth, guess = np.asarray(labels), np.asarray(predicted)
    if not truth.size:
        raise ValueError("the confusion matrix holds no row")
    kept = most_confused(truth, guess, len(label_names), MOST_CLASSES)
    classes, left_out = len(kept), len(label_names) - len(kept)
    table = confusion(truth, guess, kept)
    # Of all the class's rows, those that were taken for a class that is left out included.
    totals = np.bincount(truth, minlength=len(label_names))[kept][:, None]
    shares = np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    names = [short(label_names[number]) for number in kept]
    many = classes > 5
    slanted = many or max(map(len, names)) > 10

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        image = axes.imshow(shares, vmin=0.0, vmax=1.0, interpolation="nearest")
        if classes <= MOST_NUMBERED_CLASSES:
            for (row, column), count in np.ndenumerate(table):
                share = float(shares[row, column])
                text = f"{count:,}" if many else f"{count:,}\n{percent(share, int(totals[row, 0]))}"
                style: dict[str, Any] = {"fontsize": 8 if many else 11, "color": on(image.cmap(share)[:3])}
                axes.text(column, row, text, ha="center", va="center", **style)
        if classes > MOST_NUMBERED_CLASSES:
            figure.colorbar(image, ax=axes, format=PercentFormatter(1.0), label="share of the true class", shrink=0.8)
        axes.set(xlabel="predicted", ylabel="true")
        axes.set_xticks(range(classes), names, rotation=45 if slanted else 0, ha="right" if slanted else "center")
        axes.set_yticks(range(classes), names)
        axes.set_xticks(np.arange(1, classes) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, classes) - 0.5, minor=True)
        axes.grid(visible=False)
        axes.grid(visible=True, which="minor", linewidth=0.5)
        axes.tick_params(which="minor", length=0)

    title = "Confusion matrix"
    if left_out:
        title += f": the {classes} classes that are confused most; {left_out:,} others are left out"
    # Few classes stand beside the other charts; every one of many needs room for its count, or for its name.
    side = WIDTH if classes <= 7 else 1.9 + (0.5 if classes <= MOST_NUMBERED_CLASSES else 0.25) * classes
    # A square, beside a scale where there are no counts.
    height = 0.76 * side if classes <= 7 else side - (0.3 if classes <= MOST_NUMBERED_CLASSES else 1.6)
    return Chart(title=title, size=(side, height), paint=paint)


def label_distribution(
    counts: Mapping[str, Sequence[int]],
    label_names: Sequence[str],
    one: str = "class",
    rows: Mapping[str, int] | None = None,
) -> Chart:
    """How often each class, or what `one` is called, occurs: bars are shares of a split's rows, and dots where the
    classes are many.

    `counts` maps a split's name to its rows a class; `rows` to all of its rows, where these are not the sum of them. Of
    more than MOST_CLASSES classes the most and the least frequent ones are shown, half of each, falling.
    """
    splits = {split: np.asarray(values) for split, values in counts.items() if sum(values)}
    if not splits:
        raise ValueError("no split holds a row")
    of = {split: int(values.sum()) if rows is None else rows[split] for split, values in splits.items()}
    height = 0.8 / len(splits)
    kept, left_out = np.arange(len(label_names)), max(0, len(label_names) - MOST_CLASSES)
    if left_out:
        falling = np.argsort(-np.sum(list(splits.values()), axis=0), kind="stable")
        kept = np.concatenate([falling[: MOST_CLASSES // 2], falling[-(MOST_CLASSES - MOST_CLASSES // 2) :]])

    many = len(kept) > MOST_BARRED

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (split, values) in enumerate(splits.items()):
            middles, shares, told = np.arange(len(kept)), values[kept] / of[split], f"{split} ({of[split]:,})"
            if many:
                axes.plot(shares, middles, "o", alpha=0.8, markersize=5, label=told)
                continue
            bars = axes.barh(middles + (number - (len(splits) - 1) / 2) * height, shares, height, label=told)
            axes.bar_label(bars, [f"{value:,}" for value in values[kept]], padding=3, fontsize=8)
        axes.set_yticks(range(len(kept)), [short(label_names[int(number)]) for number in kept])
        axes.invert_yaxis()
        axes.grid(visible=many, axis="y")
        axes.margins(x=0.16, y=0.02)
        axes.set_xlim(0.0)
        axes.set_xlabel("share of the split" if many else "share of the split (number at the bar's end)")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        legend(axes)

    title = f"How often each {one} occurs"
    if left_out:
        title += (
            f": the {MOST_CLASSES // 2} most and the {len(kept) - MOST_CLASSES // 2} least frequent; "
            f"the {left_out:,} between them are left out"
        )
    each = 0.2 if many else 0.17 * (len(splits) + 0.7)
    return Chart(title=title, size=(WIDTH, 0.8 + each * len(kept)), paint=paint)


def token_lengths(edges: ArrayLike, counts: ArrayLike, max_length: int) -> Chart:
    """How long the texts are in tokens before truncation, with a line where truncation begins.

    `edges [bins + 1]` and `counts [bins]` as `zoo.runs.account.histogram` gives them. The longest 1% are left out,
    whole bars of them: a few giants would leave the others a corner of the picture.
    """
    edges, counts = np.asarray(edges, dtype=np.float64), np.asarray(counts)
    rows = int(counts.sum())
    if not rows:
        raise ValueError("the histogram of lengths holds no row")
    bars = int(np.searchsorted(np.cumsum(counts), LONGEST_SHARE * rows)) + 1
    longer = int(counts[bars:].sum())
    end = float(edges[bars])
    begun = max_length <= end
    where = f"where cutting begins: {max_length}" if begun else f"no text here is cut: that begins at {max_length}"

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.stairs(counts[:bars], edges[: bars + 1], fill=True, alpha=0.85, label="training texts")
        axes.axvline(max_length if begun else np.nan, color="#d55e00", linestyle="--", label=where)
        left_out = f" ({longer:,} of {rows:,} are longer)" if longer else ""
        axes.set(xlabel=f"tokens in a text{left_out}", ylabel="texts", ylim=(0, None), xlim=(0, end))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        legend(axes)

    told = "How long the training texts are"
    return Chart(title=f"{told}, to the 99th percentile" if longer else told, size=(WIDTH, 2.6), paint=paint)


def time_split(timings: Mapping[str, Mapping[str, float]]) -> Chart:
    """Where the time went: `timings` maps a name to seconds as run.json's `timing` has them.

    Of one run a bar a part; of several a stacked bar a run.
    """
    parts = {name: split_seconds(timing) for name, timing in timings.items()}
    parts = {name: seconds for name, seconds in parts.items() if sum(seconds.values()) > 0}
    if not parts:
        raise ValueError("no part of any run was timed")
    kinds = [kind for kind in (*PARTS, "other") if any(seconds.get(kind) for seconds in parts.values())]

    def one(figure: Figure) -> None:
        (seconds,) = parts.values()
        axes = figure.subplots()
        bars = axes.barh(range(len(kinds)), [seconds[kind] for kind in kinds], 0.7)
        total = sum(seconds.values())
        told = [f"{seconds[kind]:,.1f} s, {seconds[kind] / total:.0%}" for kind in kinds]
        axes.bar_label(bars, told, padding=4, fontsize=9)
        axes.set_yticks(range(len(kinds)), kinds)
        axes.margins(x=0.3)

    def several(figure: Figure) -> None:
        axes = figure.subplots()
        left = np.zeros(len(parts))
        for kind in kinds:
            values = np.array([seconds.get(kind, 0.0) for seconds in parts.values()])
            colour = HUES[(*PARTS, "other").index(kind)]
            back = axes.get_facecolor()
            axes.barh(range(len(parts)), values, 0.6, left=left, color=colour, edgecolor=back, label=kind)
            left += values
        bars = axes.barh(range(len(parts)), left, 0.6, color="none")
        axes.bar_label(bars, [f"{total:,.1f} s" for total in left], padding=4, fontsize=9)
        axes.margins(x=0.16)
        axes.set_yticks(range(len(parts)), [short(name, LONGEST_NAME) for name in parts])

    def paint(figure: Figure) -> None:
        (one if len(parts) == 1 else several)(figure)
        (axes,) = figure.axes
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("seconds")
        if len(parts) > 1:
            legend(axes)

    rows = len(kinds) if len(parts) == 1 else len(parts)
    return Chart(title="Where the time went", size=(WIDTH, 0.9 + 0.3 * rows), paint=paint)


def split_seconds(timing: Mapping[str, float]) -> dict[str, float]:
    """Seconds by part that add up to the total, from run.json's `timing`."""
    parts = {name: float(timing.get(f"{name}_seconds") or 0.0) for name in PARTS}
    rest = float(timing.get("total_seconds") or 0.0) - sum(parts.values())
    return parts | {"other": max(0.0, rest)}


def series(rows: Sequence[Mapping[str, Any]], *keys: str) -> tuple[list[int], list[float]]:
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


def _panels(figure: Figure, panels: Sequence[tuple[str, Mapping[str, Any]]], ends: Sequence[int]) -> None:
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    grid[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    grid[-1].set_xlabel("optimizer step (dotted: end of an epoch)" if ends else "optimizer step")
    for axes, (title, lines) in zip(grid, panels, strict=True):
        for end in ends:
            axes.axvline(end, color=ink(), alpha=0.4, linewidth=0.8, linestyle=":", zorder=0)
        for name, (x, y) in lines.items():
            many = len(x) > 40
            axes.plot(x, y, label=name, linewidth=1.0 if many else 1.6, marker=None if many else "o", markersize=4)
        axes.set_title(title, loc="left")
        # A factor of all ticks would stand in the title's place.
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        if len(lines) > 1:
            legend(axes)
