"""How values of ours show themselves in a notebook: pieces of HTML, in which all text is text.

In come plain values; out comes HTML without a script, for `_repr_html_`. Nothing is refused.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from zoo.recipe.showing import shown

__all__ = ["Mark", "bars", "escaped", "folded", "heading", "marked", "picture", "preformatted", "table"]

TURN = 137.5
"""Degrees from one colour to the next: the golden angle, so that few of them are near each other."""


class Mark(NamedTuple):
    """Characters [start, end) of a text, what they are, and the number of their colour."""

    start: int
    end: int
    label: str
    colour: int


def escaped(text: object) -> str:
    """Text as it is, whatever is in it."""
    return html.escape(shown(text, lines=True))


def heading(title: object, told: object = "") -> str:
    """A line in bold, and something softer beside it."""
    return f'<p><b>{escaped(title)}</b> <span style="opacity:.7">{escaped(told)}</span></p>'


def table(rows: Iterable[Sequence[object]], columns: Sequence[object] = ()) -> str:
    """Rows of cells, under titles where there are some."""
    head = "".join(f'<th style="text-align:left">{escaped(title)}</th>' for title in columns)
    body = "".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in rows)
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"


def bars(shares: Iterable[tuple[object, float]]) -> str:
    """Shares of 1 by name, each with a bar."""
    rows = (
        f"<tr>{_cell(name)}{_cell(f'{share:.1%}')}"
        f'<td style="width:12em"><div style="height:.8em;width:{100 * min(max(share, 0.0), 1.0):.1f}%;'
        'background:#1f78d1"></div></td></tr>'
        for name, share in shares
    )
    return f"<table>{''.join(rows)}</table>"


def marked(text: str, marks: Iterable[Mark]) -> str:
    """A text with parts of it coloured, each with its label behind it; the parts do not overlap."""
    done, pieces = 0, list[str]()
    for mark in sorted(marks):
        hue = f"{mark.colour * TURN % 360:.0f}"
        pieces += [
            escaped(text[done : mark.start]),
            f'<mark style="background:hsl({hue} 75% 85%);color:#111;padding:.05em .25em;border-radius:.25em">'
            f"{escaped(text[mark.start : mark.end])}"
            f' <small style="color:hsl({hue} 80% 22%);font-weight:bold">{escaped(mark.label)}</small></mark>',
        ]
        done = mark.end
    return "".join([*pieces, escaped(text[done:])])


def preformatted(text: str) -> str:
    """Lines as they are."""
    return f"<pre>{escaped(text)}</pre>"


def folded(title: object, inner: str) -> str:
    """HTML that is opened by a click."""
    return f"<details><summary>{escaped(title)}</summary>{inner}</details>"


def picture(png: bytes, title: object, width: int = 480) -> str:
    """A PNG, inside; on white, whatever the notebook's theme."""
    source = base64.b64encode(png).decode()
    return f'<img src="data:image/png;base64,{source}" alt="{escaped(title)}" style="width:{width}px;max-width:100%">'


def _cell(value: object) -> str:
    return f'<td style="text-align:left;white-space:pre-wrap">{escaped(value)}</td>'
