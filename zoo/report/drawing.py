"""What all charts share: the canvas in its two themes, titles, legends, names, and how many lines are told apart.

In comes a title, a size and a function that paints on a matplotlib figure; out comes a `Chart`, which is drawn without
a screen, light or dark. Names are shown as they are: a `$` in one never starts a formula. Refused: a picture of too
many pixels (ValueError).
"""

from __future__ import annotations

import io
import itertools
import math
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import seaborn
from cycler import cycler
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from PIL import Image

__all__ = ["HUES", "WIDTH", "Chart", "Drawn", "draw_each", "ink", "legend", "on", "short", "strokes"]

WIDTH = 5.0
"""Inches of a chart that stands beside others: on a phone, where it is 360 pixels wide, its smallest letters are 8."""
BROAD = 6.0
"""From this width on a chart has a row of the page for itself."""
LONGEST_NAME = 40
"""Characters of a name where there is room for it."""
DPI = 150
"""Pixels of an inch."""
LONGEST_SIDE = 27.0
"""Inches: at this resolution a square of that takes 66 MB while it is drawn."""
THINNEST = 1.3
"""Width of a line, in points."""
SIZE = 10.0
"""Of letters, in points; those of ticks and legends are one smaller."""
HUES = ("#d1495b", "#e69f00", "#7cb518", "#009e73", "#1f78d1", "#7b5cd6", "#d957c7", "#8c959f")
"""Colours of parts of a whole: seven hues, none near another, and grey for what is left."""

Theme = Literal["light", "dark"]


def _theme(back: str, ink: str, line: str, colours: list[Any], heat: str) -> dict[str, Any]:
    style: dict[str, Any] = seaborn.axes_style("whitegrid")
    return style | {
        "text.parse_math": False,
        "font.size": SIZE,
        "axes.titlesize": SIZE,
        "axes.labelsize": SIZE,
        "xtick.labelsize": SIZE - 1,
        "ytick.labelsize": SIZE - 1,
        "legend.fontsize": SIZE - 1,
        "axes.prop_cycle": cycler(color=colours),
        "image.cmap": heat,
        "figure.facecolor": back,
        "axes.facecolor": back,
        "grid.color": line,
        "axes.edgecolor": line,
        "patch.edgecolor": back,
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), ink),
    }


def _lighter(colour: Any) -> tuple[float, ...]:
    """So much that it can be seen on black."""
    return tuple(part + 0.3 * (1.0 - part) for part in to_rgb(colour))


# From the page itself to the blue of its links, and on to what stands out most on black; as seaborn registers its own.
NIGHT = LinearSegmentedColormap.from_list("zoo_night", ["#161c23", "#123a5c", "#1f6fb2", "#6cb6ff", "#e3f1ff"])
mpl.colormaps.register(NIGHT, force=True)

# The colours of the pages: see templates/head.html.j2.
THEMES: Mapping[str, Any] = {
    "light": _theme("#ffffff", "#1b1f24", "#d1d9e0", list(seaborn.color_palette("colorblind")), "Blues"),
    "dark": _theme(
        "#11151a",
        "#e6edf3",
        "#3a424b",
        [_lighter(colour) for colour in seaborn.color_palette("colorblind")],
        NIGHT.name,
    ),
}


class _Shown(Figure):
    """A figure that a notebook shows wherever it is the last value of a cell, without pyplot."""

    def _repr_png_(self) -> bytes:
        return _png(self)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture before it is drawn; ValueError for a size whose pixels could cost the process its memory.

    size: inches, width and height; what does not change with it, titles and legends, is added to the height. paint:
    puts it on an empty figure.
    """

    title: str
    size: tuple[float, float]
    paint: Callable[[Figure], None]

    def __post_init__(self) -> None:
        if max(self.size) > LONGEST_SIDE:
            raise ValueError(
                f"it would be {self.size[0]:.0f} by {self.size[1]:.0f} inches, and {LONGEST_SIDE:.0f} are the most"
            )

    @property
    def shape(self) -> Literal["broad", "even"]:
        """How it stands among others: alone in its row, or beside another one."""
        return "broad" if self.size[0] > BROAD else "even"

    def figure(self, theme: Theme = "light") -> Figure:
        """The matplotlib figure, to be changed, shown or saved."""
        with _style(theme):
            width, height = self.size
            lines = textwrap.wrap(self.title, int(width * 10))
            figure = _Shown(figsize=(width, height + 0.2 * len(lines)), layout="constrained")
            figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=SIZE + 1, fontweight="bold")
            self.paint(figure)
        return figure

    def png(self, theme: Theme = "light") -> bytes:
        """As it stands in a page or a file."""
        return _png(self.figure(theme))


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A chart in both themes, as PNG."""

    title: str
    light: bytes
    dark: bytes
    shape: Literal["broad", "even"]


def draw_each(drawings: Mapping[str, Callable[[], Chart]], folder: str = "") -> tuple[dict[str, Drawn], list[str]]:
    """The charts by name, and a warning for each that could not be drawn; `folder` is where they will stand."""
    charts, failed = {}, []
    for name, made in drawings.items():
        try:
            chart = made()
            charts[name] = Drawn(title=chart.title, light=chart.png(), dark=chart.png("dark"), shape=chart.shape)
        except Exception as error:  # noqa: BLE001 - whatever a drawing library raises, the figures are worth more
            failed.append(f"{folder}{name}.png could not be drawn: {type(error).__name__}: {error}")
    return charts, failed


def ink() -> str:
    """The colour of letters in the theme that is painted."""
    found: str = mpl.rcParams["text.color"]
    return found


def on(colour: Any) -> str:
    """The colour of letters that can be read on another one."""
    red, green, blue = to_rgb(colour)
    return "#1b1f24" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "#ffffff"


def legend(axes: Any, *, title: str | None = None) -> None:
    """A legend below, for which the figure grows: inside, it would hide some line sooner or later."""
    labels = axes.get_legend_handles_labels()[1]
    width, height = axes.figure.get_size_inches()
    columns = max(1, min(len(labels), int((width - 0.6) / (0.6 + 0.075 * max(map(len, labels))))))
    # The figure's last panel has names at its axis, the others have nothing below.
    drop = 36.0 if axes.get_xlabel() else 8.0
    axes.figure.set_figheight(height + 0.19 * (math.ceil(len(labels) / columns) + (title is not None)) + 0.1)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        bbox_transform=axes.transAxes + ScaledTranslation(0.0, -drop / 72.0, axes.figure.dpi_scale_trans),
        borderaxespad=0.0,
        ncols=columns,
        columnspacing=1.2,
        frameon=False,
        title=title,
        alignment="left",
        title_fontsize=SIZE - 1,
    )


def short(name: str, longest: int = 22) -> str:
    """A name on one line, of at most `longest` characters."""
    line = " ".join(name.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def strokes(count: int, *, nested: bool = False) -> list[dict[str, Any]]:
    """Colour, dashes and width of `count` lines, no two alike as far as forty; `nested` ones grow thinner."""
    colours = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
    patterns = itertools.islice(itertools.cycle(itertools.product(("-", "--", "-.", ":"), colours)), count)
    widest = min(1.9 * count, 6.0) if nested else THINNEST
    widths = np.linspace(widest, THINNEST, count)
    return [
        {"color": colour, "linestyle": dash, "linewidth": float(width)}
        for (dash, colour), width in zip(patterns, widths, strict=True)
    ]


@contextmanager
def _style(theme: Theme) -> Iterator[None]:
    with mpl.rc_context(THEMES[theme]), warnings.catch_warnings():
        # A script that the fonts of this machine lack is shown as boxes; that is no reason to have no picture.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def _png(figure: Figure) -> bytes:
    """With 256 colours, which look the same in a chart and take a third of the space."""
    canvas: Any = FigureCanvasAgg(figure)  # which matplotlib leaves without types
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.set_dpi(DPI)
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    buffer = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(buffer, format="png", optimize=True)
    return buffer.getvalue()
