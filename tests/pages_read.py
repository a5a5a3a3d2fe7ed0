"""What the tests of pages share: a page as a browser would take it, and the size of a picture."""

from __future__ import annotations

import html.parser
import struct


class Page(html.parser.HTMLParser):
    """Collects what a browser would load or run, and the text it would show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.shown = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for key, value in attributes if key in {"src", "href", "srcset", "data", "action"}]

    @property
    def scripts(self) -> int:
        return self.tags.count("script")

    def handle_data(self, data: str) -> None:
        self.shown += data


def size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels from the PNG's own header."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height
