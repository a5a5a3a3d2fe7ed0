"""What all pictures share: the canvas, legends, names, and how many lines are told apart.

In comes a size and a function that paints on a matplotlib figure; out come PNG bytes, drawn without a screen.
Names are shown as they are: a `$` in one never starts a formula. Refused:
a picture of too many pixels (ValueError).
"""

from __future__ import annotations

import io
import itertools
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn
from cycler import cycler
from matplotlib.figure import Figure

__all__ = ["draw", "draw_each", "legend", "short", "strokes"]

LONGEST_NAME = 40
"""Characters of a name where there is room for it."""
DPI = 110
"""Pixels of an inch."""
LONGEST_SIDE = 40.0
"""Inches: at this resolution a square of that takes 77 MB while it is drawn."""
THINNEST = 1.3
"""Width of a line, in points."""


def draw(size: tuple[float, float], paint: Callable[[Figure], None]) -> bytes:
    """A PNG of what `paint` puts on an empty figure of `size` inches (width, height); it grows with legends.

    Raises ValueError for a size whose pixels could cost the process its memory.
    """
    if max(size) > LONGEST_SIDE:
        raise ValueError(f"it would be {size[0]:.0f} by {size[1]:.0f} inches, and {LONGEST_SIDE:.0f} are the most")
    style = seaborn.axes_style("whitegrid") | {
        "text.parse_math": False,
        "axes.prop_cycle": cycler(color=seaborn.color_palette("colorblind")),
    }
    buffer = io.BytesIO()
    with mpl.rc_context(style), warnings.catch_warnings():
        # A script that the fonts of this machine lack is shown as boxes; that is no reason to have no picture.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def draw_each(drawings: Mapping[str, Callable[[], bytes]], folder: str = "") -> tuple[dict[str, bytes], list[str]]:
    """The pictures by name, and a warning for each that could not be drawn; `folder` is where they will stand."""
    pictures, failed = {}, []
    for name, paint in drawings.items():
        try:
            pictures[name] = paint()
        except Exception as error:  # noqa: BLE001 - whatever a drawing library raises, the figures are worth more
            failed.append(f"{folder}{name}.png could not be drawn: {type(error).__name__}: {error}")
    return pictures, failed


def legend(axes: Any, **options: Any) -> None:
    """A legend beside the picture: inside, it would hide some line sooner or later."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9, **options)


def short(name: str, longest: int = 22) -> str:
    """A name on one line, of at most `longest` characters."""
    line = " ".join(name.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def strokes(count: int, *, nested: bool = False) -> list[dict[str, Any]]:
    """Colour, dashes and width of `count` lines, no two alike as far as forty; `nested` ones grow thinner."""
    colours = seaborn.color_palette("colorblind")
    patterns = itertools.islice(itertools.cycle(itertools.product(("-", "--", "-.", ":"), colours)), count)
    widest = min(1.9 * count, 6.0) if nested else THINNEST
    widths = np.linspace(widest, THINNEST, count)
    return [
        {"color": colour, "linestyle": dash, "linewidth": float(width)}
        for (dash, colour), width in zip(patterns, widths, strict=True)
    ]
