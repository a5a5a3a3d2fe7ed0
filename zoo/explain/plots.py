"""Pictures of an explanation as PNG bytes, drawn without a screen.

In comes an `Explanation`; out comes one PNG a function. Tokens and words are shown as they are: a `$` in one never
starts a formula. Nothing is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import seaborn
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from zoo.explain.explanation import Explanation
from zoo.report.drawing import draw, legend, short

__all__ = ["FOR", "AGAINST", "METHOD_NAMES", "attention", "deletion", "heads", "importance", "overview", "rollout"]

FOR, AGAINST = "#0072b2", "#d55e00"
"""Blue speaks for the class and orange against it: told apart also by those who do not see red and green."""
METHOD_NAMES = {"integrated_gradients": "integrated gradients", "occlusion": "occlusion"}
MOST_NAMED = 64
"""Tokens beside a picture, at most: of more, every second, third and so on is named."""
MOST_BARS = 24
SIDE = 40
"""Pixels of a head in the picture of all heads, at most."""
# A few tokens take nearly all of the weight: what is left is told apart by its root.
ROOT: dict[str, Any] = {"norm": PowerNorm(0.5, 0.0, 1.0), "cmap": "Blues"}


def attention(explanation: Explanation, layer: int | None = None, head: int | None = None) -> bytes:
    """One head, or the mean of a layer's: which token (row) looks at which (column); see `Explanation.head`."""
    weights, title = explanation.head(layer, head)
    length = len(weights)
    side = min(12.0, 3.0 + 0.2 * length)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        image = axes.imshow(weights, interpolation="nearest", **ROOT)
        _named(axes.set_xticks, explanation.tokens, rotation=90)
        _named(axes.set_yticks, explanation.tokens)
        axes.grid(visible=False)
        axes.set(xlabel="looked at", ylabel="looking")
        axes.set_title(f"Attention, {title}", loc="left", fontsize=11)
        figure.colorbar(image, ax=axes, label="weight (colours by its root)", shrink=0.7)

    return draw((side + 1.2, side), paint)


def heads(explanation: Explanation) -> bytes:
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
        image = axes.imshow(picture, interpolation="nearest", **ROOT)
        axes.set_xticks(np.arange(count) * pitch + parts / 2, _numbers(count))
        axes.set_yticks(np.arange(layers) * pitch + parts / 2, _numbers(layers))
        axes.grid(visible=False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set(xlabel="head", ylabel="layer")
        axes.set_title("Attention of all heads", loc="left", fontsize=11)
        figure.colorbar(image, ax=axes, label="weight (colours by its root)", shrink=0.7)

    return draw((2.4 + 0.72 * count, 1.2 + 0.72 * layers), paint)


def overview(explanation: Explanation) -> bytes:
    """Entropy and mean distance of each head, by layer."""
    layers, count = explanation.entropy.shape
    panels = [
        ("How widely a head looks: entropy, nats", explanation.entropy, "Greens", np.log(len(explanation.tokens))),
        ("How far a head looks: mean distance, tokens", explanation.distance, "Purples", None),
    ]
    numbered = count <= 16

    def paint(figure: Figure) -> None:
        grid = figure.subplots(1, 2, squeeze=False)[0]
        for axes, (title, values, colours, most) in zip(grid, panels, strict=True):
            seaborn.heatmap(
                values,
                ax=axes,
                cmap=colours,
                vmin=0.0,
                vmax=most,
                annot=numbered,
                fmt=".1f",
                annot_kws={"fontsize": 7},
                linewidths=0.5,
                cbar_kws={"shrink": 0.8},
            )
            axes.set(xlabel="head", ylabel="layer")
            axes.set_title(title, loc="left", fontsize=11)
            axes.set_yticks(np.arange(layers) + 0.5, _numbers(layers), rotation=0)

    return draw((3.6 + 0.72 * count, 1.6 + 0.36 * max(layers, 3)), paint)


def rollout(explanation: Explanation) -> bytes:
    """From which input tokens the first position, which the head reads, is made after each layer."""
    shares = explanation.rollout[:, 0]
    layers, length = shares.shape

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        # Most of the first position is itself, and most of the rest the last: the words between them set the colours.
        image = axes.imshow(
            shares, aspect="auto", interpolation="nearest", cmap="Blues", vmin=0.0, vmax=shares[:, 1:-1].max()
        )
        _named(axes.set_xticks, explanation.tokens, rotation=90)
        axes.set_yticks(range(layers), _numbers(layers))
        axes.grid(visible=False)
        axes.set(ylabel="after layer")
        axes.set_title(f"Attention rollout into {short(explanation.tokens[0])}", loc="left", fontsize=11)
        figure.colorbar(image, ax=axes, label="share", extend="max", format=PercentFormatter(1.0))

    return draw((min(14.0, 3.5 + 0.22 * length), 1.7 + 0.3 * layers), paint)


def importance(explanation: Explanation) -> bytes:
    """The words that count most by each method, in the order of the text."""
    panels = [
        (explanation.gradients, f"Integrated gradients, in the logit of {short(explanation.label)}"),
        (explanation.occlusion, f"Occlusion, in the {explanation.quantity} of {short(explanation.label)}"),
    ]
    shown = min(len(explanation.names), MOST_BARS)

    def paint(figure: Figure) -> None:
        for axes, (attribution, title) in zip(figure.subplots(1, 2), panels, strict=True):
            scores = np.array([word.score for word in attribution.words])
            chosen = np.sort(np.argsort(-np.abs(scores), kind="stable")[:MOST_BARS])
            colours = [FOR if score > 0 else AGAINST for score in scores[chosen]]
            axes.barh(range(len(chosen)), scores[chosen], color=colours)
            axes.set_yticks(range(len(chosen)), [short(explanation.names[number]) for number in chosen])
            axes.invert_yaxis()
            axes.grid(visible=False, axis="y")
            axes.margins(y=0.01)
            axes.axvline(0.0, color="0.3", linewidth=0.8)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.set_title(title, loc="left", fontsize=10)
            axes.set_xlabel("against the class  |  for it")

    return draw((11.0, 1.5 + 0.24 * shown), paint)


def deletion(explanation: Explanation) -> bytes:
    """The class's probability as words are taken out, those first that speak most for it."""
    found = explanation.deletion
    chance = np.stack([curve.probabilities for curve in found.random])
    shares = found.random[0].shares

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for name, curve in found.curves.items():
            axes.plot(shares, curve.probabilities, marker="o", label=f"{METHOD_NAMES[name]} (area {curve.area:.3f})")
        axes.plot(
            shares, chance.mean(axis=0), color="0.4", linestyle="--", label=f"random (area {found.random_area:.3f})"
        )
        axes.fill_between(
            shares, chance.min(axis=0), chance.max(axis=0), color="0.6", alpha=0.2, label=f"{len(chance)} random orders"
        )
        axes.set(xlabel="share of the words taken out")
        if explanation.quantity == "probability":
            axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel(f"{explanation.quantity} of {short(explanation.label)}")
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        legend(axes)

    return draw((7.5, 3.6), paint)


def _numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def _named(set_ticks: Any, tokens: Sequence[str], **options: Any) -> None:
    """Ticks at the tokens, as many as can be read."""
    step = -(-len(tokens) // MOST_NAMED)
    places = range(0, len(tokens), step)
    set_ticks(places, [short(tokens[place], 14) for place in places], fontsize=7, **options)
