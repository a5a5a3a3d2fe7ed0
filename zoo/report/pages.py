"""Templates to text: HTML in which every value is escaped, and Markdown in which none is markup.

In come a template's name, in templates/, and its values; out comes the page. A name that the template asks for and
does not get is an error, never an empty place.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import jinja2
from rich.filesize import decimal

from zoo.recipe.showing import listed

__all__ = ["NOTHING", "duration", "html", "markdown", "number", "plain", "share", "size"]

NOTHING = "\N{EN DASH}"
FOLDER = Path(__file__).parent / "templates"


def html(template: str, **values: Any) -> str:
    """A page of HTML."""
    return _house(escape=True).get_template(template).render(**values)


def markdown(template: str, **values: Any) -> str:
    """A page of Markdown; what comes from outside goes through the filter `plain` there."""
    return _house(escape=False).get_template(template).render(**values)


def share(value: float | None) -> str:
    """A share of 1 in percent."""
    return NOTHING if value is None else f"{value:.1%}"


def number(value: float | None) -> str:
    """Counts with thousands marks, other numbers with four significant digits."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Seconds as a person reads them."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(octets: float | None) -> str:
    """Bytes in the unit that fits."""
    return NOTHING if octets is None else decimal(int(octets))


def plain(text: Any) -> str:
    """Text for a line of Markdown, shown as it is: no markup, no HTML, no new line."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|$#~])", r"\\\1", line)


@functools.cache
def _house(*, escape: bool) -> jinja2.Environment:
    house = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    house.filters.update(share=share, number=number, duration=duration, size=size, plain=plain, listed=listed)
    return house
