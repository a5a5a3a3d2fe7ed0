"""What all pictures share: the canvas, legends and names.

In comes a size and a function that paints on a matplotlib figure; out come PNG bytes, drawn without a screen.
Names are shown as they are: a `$` in one never starts a formula. Nothing is refused.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import seaborn
from cycler import cycler
from matplotlib.figure import Figure

__all__ = ["draw", "legend", "short"]

LONGEST_NAME = 22


def draw(size: tuple[float, float], paint: Callable[[Figure], None]) -> bytes:
    """A PNG of what `paint` puts on an empty figure of `size` inches (width, height); it grows with legends."""
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
        figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def legend(axes: Any, **options: Any) -> None:
    """A legend beside the picture: inside, it would hide some line sooner or later."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9, **options)


def short(name: str, longest: int = LONGEST_NAME) -> str:
    """A name on one line, of at most `longest` characters."""
    line = " ".join(name.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
