"""Charts of an explanation.

In comes an `Explanation`; out comes one `Chart` a function. Tokens and words are shown as they are: a `$` in one never
starts a formula. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from zoo.explain.explanation import Explanation
from zoo.report.drawing import WIDTH, Chart, ink, legend, short

__all__ = ["FOR", "AGAINST", "METHOD_NAMES", "attention", "deletion", "heads", "importance", "overview", "rollout"]

FOR, AGAINST = "#0072b2", "#d55e00"
"""Blue speaks for the class and orange against it: told apart also by those who do not see red and green."""
METHOD_NAMES = {"integrated_gradients": "integrated gradients", "occlusion": "occlusion"}
MOST_NAMED = 64
"""Tokens beside a picture, at most: of more, every second, third and so on is named."""
MOST_BARS = 16
SIDE = 40
"""Pixels of a head in the picture of all heads, at most."""
# A few tokens take nearly all of the weight: what is left is told apart by its root.
ROOT = PowerNorm(0.5, 0.0, 1.0)


def attention(explanation: Explanation, layer: int | None = None, head: int | None = None) -> Chart:
    """One head, or the mean of a layer's: which token (row) looks at which (column); see `Explanation.head`."""
    weights, title = explanation.head(layer, head)
    side = min(10.0, max(WIDTH, 2.2 + 0.19 * len(weights)))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        image = axes.imshow(weights, interpolation="nearest", norm=ROOT)
        _named(axes.set_xticks, explanation.tokens, rotation=90)
        _named(axes.set_yticks, explanation.tokens)
        axes.grid(visible=False)
        axes.set(xlabel="looked at", ylabel="looking")
        figure.colorbar(image, ax=axes, label="weight (colours by its root)", shrink=0.7)

    return Chart(title=f"Attention, {title}", size=(side, side - 0.8), paint=paint)


def heads(explanation: Explanation) -> Chart:
    """All heads at once, a row a layer, each [length, length] as in `attention`."""
    layers, count, length, _ = explanation.attention.shape
    parts = min(length, SIDE)
    edges = np.linspace(0, length, parts + 1).astype(int)[:-1]
    # The largest of the pixels that fall together: a mean would lose a head that looks at one token.
    small = np.maximum.reduceat(np.maximum.reduceat(explanation.attention, edges, axis=2), edges, axis=3)
    gap = max(1, parts // 10)
    pitch = parts + gap
    picture = np.full((layers * pitch - gap, count * pitch - gap), np.nan)
    for layer in range(layers):
        for head in range(count):
            top, left = layer * pitch, head * pitch
            picture[top : top + parts, left : left + parts] = small[layer, head]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        image = axes.imshow(picture, interpolation="nearest", norm=ROOT)
        axes.set_xticks(np.arange(count) * pitch + parts / 2, _numbers(count))
        axes.set_yticks(np.arange(layers) * pitch + parts / 2, _numbers(layers))
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set(xlabel="head", ylabel="layer")
        figure.colorbar(image, ax=axes, label="weight (colours by its root)", aspect=30)

    # Few heads are drawn larger, so that they fill the width that a chart has anyway.
    side = max(0.66, min(1.6, (WIDTH - 2.0) / count))
    size = max(WIDTH, 2.0 + side * count), max(2.6, 0.8 + side * layers)
    return Chart(title="Attention of all heads", size=size, paint=paint)


def overview(explanation: Explanation) -> Chart:
    """Entropy and mean distance of each head, by layer."""
    layers, count = explanation.entropy.shape
    panels = [
        ("How widely: entropy, nats", explanation.entropy, np.log(len(explanation.tokens))),
        ("How far: mean distance, tokens", explanation.distance, None),
    ]
    numbered = count <= 12

    def paint(figure: Figure) -> None:
        for axes, (title, values, most) in zip(figure.subplots(2, 1), panels, strict=True):
            seaborn.heatmap(
                values,
                ax=axes,
                cmap=mpl.rcParams["image.cmap"],
                vmin=0.0,
                vmax=most,
                annot=numbered,
                fmt=".1f",
                annot_kws={"fontsize": 7},
                linewidths=0.5,
                linecolor=axes.get_facecolor(),
            )
            axes.set(xlabel="head", ylabel="layer")
            axes.set_title(title, loc="left")
            axes.set_yticks(np.arange(layers) + 0.5, _numbers(layers), rotation=0)

    return Chart(title="How each head looks", size=(WIDTH, 1.8 + 0.44 * max(layers, 3)), paint=paint)


def rollout(explanation: Explanation) -> Chart:
    """From which input tokens the first position, which the head reads, is made after each layer."""
    shares = explanation.rollout[:, 0]
    layers, length = shares.shape

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        # Most of the first position is itself, and most of the rest the last: the words between them set the colours.
        most = shares[:, 1:-1].max()
        image = axes.imshow(shares, aspect="auto", interpolation="nearest", vmin=0.0, vmax=most)
        _named(axes.set_xticks, explanation.tokens, rotation=90)
        axes.set_yticks(range(layers), _numbers(layers))
        axes.grid(visible=False)
        axes.set(ylabel="after layer")
        percent = FuncFormatter(lambda value, _: f"{100 * value:g}%")
        figure.colorbar(image, ax=axes, label="share", extend="max", format=percent)

    size = min(11.0, max(WIDTH, 2.2 + 0.19 * length)), max(2.2, 1.4 + 0.26 * layers)
    return Chart(title=f"Attention rollout into {short(explanation.tokens[0])}", size=size, paint=paint)


def importance(explanation: Explanation) -> Chart:
    """The words that count most by each method, in the order of the text."""
    panels = [
        (explanation.gradients, f"Integrated gradients, in the logit of {short(explanation.label)}"),
        (explanation.occlusion, f"Occlusion, in the {explanation.quantity} of {short(explanation.label)}"),
    ]
    shown = min(len(explanation.names), MOST_BARS)

    def paint(figure: Figure) -> None:
        for axes, (attribution, title) in zip(figure.subplots(2, 1), panels, strict=True):
            scores = np.array([word.score for word in attribution.words])
            chosen = np.sort(np.argsort(-np.abs(scores), kind="stable")[:MOST_BARS])
            colours = [FOR if score > 0 else AGAINST for score in scores[chosen]]
            axes.barh(range(len(chosen)), scores[chosen], color=colours)
            axes.set_yticks(range(len(chosen)), [short(explanation.names[number]) for number in chosen])
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
            axes.margins(y=0.01)
            axes.axvline(0.0, color=ink(), linewidth=0.8)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set_title(title, loc="left")
            axes.set_xlabel("against the class  |  for it")

    return Chart(title="The words that count most", size=(WIDTH, 2.0 + 0.4 * shown), paint=paint)


def deletion(explanation: Explanation) -> Chart:
    """The class's probability as words are taken out, those first that speak most for it."""
    found = explanation.deletion
    chance = np.stack([curve.probabilities for curve in found.random])
    shares = found.random[0].shares

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for name, curve in found.curves.items():
            axes.plot(shares, curve.probabilities, marker="o", label=f"{METHOD_NAMES[name]} (area {curve.area:.2f})")
        grey: dict[str, Any] = {"color": ink(), "alpha": 0.6, "linestyle": "--"}
        axes.plot(shares, chance.mean(axis=0), label=f"random (area {found.random_area:.2f})", **grey)
        axes.fill_between(
            shares, chance.min(axis=0), chance.max(axis=0), color="0.6", alpha=0.2, label=f"{len(chance)} random orders"
        )
        axes.set(xlabel="share of the words taken out")
        if explanation.quantity == "probability":
            axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel(f"{explanation.quantity} of {short(explanation.label)}")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        legend(axes)

    return Chart(title="What is left as words are taken out", size=(WIDTH, 2.8), paint=paint)


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def _named(set_ticks: Any, tokens: Sequence[str], **options: Any) -> None:
    """Ticks at the tokens, as many as can be read."""
    step = -(-len(tokens) // MOST_NAMED)
    places = range(0, len(tokens), step)
    set_ticks(places, [short(tokens[place], 14) for place in places], fontsize=7, **options)
