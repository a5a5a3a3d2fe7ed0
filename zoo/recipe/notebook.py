"""How values of ours show themselves in a notebook: pieces of HTML, in which all text is text.

In come plain values; out comes HTML without a script, for `_repr_html_`. Nothing is refused.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from zoo.recipe.showing import shown

__all__ = ["bars", "escaped", "folded", "heading", "picture", "preformatted", "table"]


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
