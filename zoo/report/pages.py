"""Templates to text: HTML in which every value is escaped, and Markdown in which none is markup.

In come a template's name, in templates/, and its values; out comes the page. A name that the template asks for and
does not get is an error, never an empty place.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
from rich.filesize import decimal

from zoo.recipe.notebook import Mark, marked
from zoo.recipe.showing import listed, shown
from zoo.score import digits
from zoo.tasks import Task

__all__ = [
    *("NOTHING", "amount", "chance", "duration", "figure", "html", "markdown", "moment", "number", "plain", "share"),
    *("shown_by", "size"),
]

NOTHING = "\N{EN DASH}"
FOLDER = Path(__file__).parent / "templates"


def html(template: str, **values: Any) -> str:
    """A page of HTML."""
    return _house(escape=True).get_template(template).render(**values)


def markdown(template: str, **values: Any) -> str:
    """A page of Markdown; what comes from outside goes through the filter `plain` there."""
    return _house(escape=False).get_template(template).render(**values)


def share(value: float | None, rows: int | None = None) -> str:
    """A share of 1 in percent, with the digits that its rows carry."""
    return NOTHING if value is None else digits.percent(value, rows)


def number(value: float | None, rows: int | None = None) -> str:
    """Counts with thousands marks, other numbers with the digits that their rows carry."""
    return NOTHING if value is None else digits.number(value, rows)


def amount(value: float | None, rows: int | None = None) -> str:
    """A number in a unit of its own, likewise."""
    return NOTHING if value is None else digits.amount(value, rows)


def figure(task: Task, name: str, value: float | None, rows: int | None) -> str:
    """A figure of a task, as it is shown everywhere."""
    return NOTHING if value is None else task.shown(name, value, rows)


def shown_by(task: Task, name: str) -> Callable[[float | None, int | None], str]:
    """What shows a figure of a task."""
    return {"share": share, "amount": amount}.get(task.kind(name), number)


def chance(value: float) -> str:
    """A p-value with two digits, and none of one that is as good as nothing."""
    return "<0.0001" if value < 0.0001 else f"{value:.2g}"


def moment(text: str) -> str:
    """A time as ISO 8601 has it, in the time zone of this machine; anything else as it is."""
    try:
        when = datetime.fromisoformat(text).astimezone()
    except ValueError:
        return text
    return f"{when.day} {when:%B %Y, %H:%M} {when.tzname()}"


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
    """Text for a line of Markdown, shown as it is: no markup, no HTML, no link, no new line."""
    line = shown(" ".join(str(text).split())).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_\[\]|$#~])", r"\\\1", line)
    return re.sub(r"(?i)(?<=:)(?=//)|(?<=www)(?=\.)", r"\\", line)  # what GitHub makes links of


def _coloured(text: str, marks: Iterable[Mark]) -> markupsafe.Markup:
    """A text with parts of it coloured; all of it is escaped there."""
    return markupsafe.Markup(marked(text, marks))


@functools.cache
def _house(*, escape: bool) -> jinja2.Environment:
    house = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_visible if escape else None,
    )
    house.filters.update(share=share, number=number, amount=amount, points=digits.points, signed=digits.signed)
    house.filters.update(duration=duration, size=size, chance=chance, moment=moment, plain=plain, listed=listed)
    house.filters["coloured"] = _coloured
    house.globals.update(figure=figure, NOTHING=NOTHING)
    house.filters["base64"] = lambda content: markupsafe.Markup(base64.b64encode(content).decode())
    return house


def _visible(value: Any) -> Any:
    """Text without what would turn the line or is not seen; what is already HTML as it is."""
    return shown(value, lines=True) if type(value) is str else value
