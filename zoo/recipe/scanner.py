"""PyYAML's scanner, mended where it reads YAML 1.1 or is lax: text to tokens by YAML 1.2's rules.

PyYAML keeps line and column of everything, which messages need, and is the loader that is everywhere; of what reads
YAML 1.2 none gives places through a public interface (docs/decisions/0010-yaml.md). Mended: tabs between tokens, plain
text and keys within `[]` and `{}`, comments, and the indentation of what goes on over lines. Chapters in the comments
are those of the YAML 1.2.2 specification.
"""

from __future__ import annotations

from typing import Any

from yaml import SafeLoader
from yaml.scanner import ScannerError
from yaml.tokens import ScalarToken

BREAKS = "\r\n"
BLANK = "\0 \t\r\n"
FLOW = ",[]{}"
FOREIGN_BREAKS = "\x85\u2028\u2029"
"""Line breaks of YAML 1.1 alone: in 1.2 they are text (5.4), PyYAML reads them as breaks, so they are refused."""


class Scanner(SafeLoader):
    """SafeLoader whose tokens are those of YAML 1.2."""

    def __init__(self, text: str) -> None:
        self._kinds: list[str] = []  # of the flow collections around, `[` or `{`
        self._json_end = -1  # tokens up to the last end of a quoted scalar or a flow collection
        self._text = text
        super().__init__(text)

    # --- between tokens ---------------------------------------------------------------------------

    def scan_to_next_token(self) -> None:
        """Skip spaces, tabs, comments and breaks; what comes first on a line must be indented by spaces (6.1)."""
        if self.index == 0 and self.peek() == "\ufeff":
            self.forward()
        first = self.column == 0
        while True:
            while self.peek() in " \t":
                self.forward()
            if self.peek() == "#":
                self._comment()
            if not self._break():
                break
            first = True
            if not self.flow_level:
                self.allow_simple_key = True
        if first and self.peek() not in "\0]}":
            self._require_indent()

    def _comment(self) -> None:
        if self.column > 0 and self._text[self.index - 1] not in " \t\ufeff":  # 6.6
            raise self._error("got a # right after text, expected a space before a comment")
        while self.peek() not in "\0\r\n":
            self.forward()

    def _require_indent(self) -> None:
        """A line within a flow collection or after a tab has more spaces than the block around it."""
        if self._spaces() > self.indent:
            return
        if "\t" in self._before():
            raise self._tab(self._before())
        if self.flow_level:
            raise self._error("got a line within [] or {} that is not indented, expected spaces, or the bracket closed")

    def _before(self, column: int | None = None) -> str:
        """What stands on this line before a column, the present one."""
        start = self.index - self.column
        return self._text[start : start + (self.column if column is None else column)].lstrip("\ufeff")

    def _spaces(self) -> int:
        before = self._before()
        return len(before) - len(before.lstrip(" "))

    def _error(self, message: str) -> ScannerError:
        return ScannerError(None, None, message, self.get_mark())

    def _tab(self, before: str) -> ScannerError:
        mark = self.get_mark()
        mark.column = before.index("\t")
        return ScannerError(None, None, "got a tab as indent, expected spaces: YAML takes no tabs there", mark)

    def _no_tab_before(self, column: int | None = None) -> None:
        """Keys, and dashes, whose place is an indent, stand behind spaces and other dashes alone (6.1)."""
        before = self._before(column)
        if "\t" in before and not before.strip(" \t-?:"):
            raise self._tab(before)

    def _break(self) -> str:
        return str(self.scan_line_break())  # type: ignore[no-untyped-call]  # PyYAML ships no types for it

    # --- flow collections and keys ----------------------------------------------------------------

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        self._kinds.append(self.peek())
        super().fetch_flow_collection_start(token_class)

    def fetch_flow_collection_end(self, token_class: Any) -> None:
        if self._kinds:
            self._kinds.pop()
        super().fetch_flow_collection_end(token_class)
        self._json_end = self._tokens_so_far()

    def fetch_flow_scalar(self, style: str) -> None:
        super().fetch_flow_scalar(style)
        self._json_end = self._tokens_so_far()

    def _tokens_so_far(self) -> int:
        return self.tokens_taken + len(self.tokens)

    def stale_possible_simple_keys(self) -> None:
        """A key is one line of at most 1024 characters, but within `{}` it may be any text (7.4.2)."""
        kept = self.possible_simple_keys.pop(self.flow_level, None) if self._kinds and self._kinds[-1] == "{" else None
        super().stale_possible_simple_keys()
        if kept is not None:
            self.possible_simple_keys[self.flow_level] = kept

    def fetch_block_entry(self) -> None:
        if not self.flow_level:
            self._no_tab_before()
        super().fetch_block_entry()

    def fetch_block_scalar(self, style: str) -> None:
        if not self._before().strip() and self.column <= self.indent:
            raise self._error("got a text that is not indented, expected more spaces than the key or dash above has")
        super().fetch_block_scalar(style)

    def fetch_key(self) -> None:
        if not self.flow_level:
            self._no_tab_before()
        super().fetch_key()

    def fetch_value(self) -> None:
        if not self.flow_level:
            key = self.possible_simple_keys.get(self.flow_level)
            self._no_tab_before(key.column if key is not None else None)
        super().fetch_value()

    def check_key(self) -> bool:
        return self.peek(1) in BLANK + (FLOW if self.flow_level else "")

    def check_value(self) -> bool:
        """A colon before a blank; within `[]` and `{}` also one right after what JSON has as key (7.4.2)."""
        if self.peek(1) in BLANK:
            return True
        return bool(self.flow_level) and (self.peek(1) in FLOW or self._json_end == self._tokens_so_far())

    def check_plain(self) -> bool:
        """`-`, `?` and `:` begin a plain text where one goes on right behind them (7.3.3)."""
        first, second = self.peek(), self.peek(1)
        if first in "-?:":
            return second not in BLANK and not (self.flow_level and second in FLOW)
        return first not in BLANK + ",[]{}#&*!|>'\"%@`"

    # --- scalars ----------------------------------------------------------------------------------

    def scan_plain(self) -> Any:
        chunks: list[str] = []
        start = end = self.get_mark()
        indent = self.indent + 1
        spaces: list[str] = []
        while self.peek() != "#":
            length = 0
            while not self._ends_plain(length):
                length += 1
            if length == 0:
                break
            self.allow_simple_key = False
            chunks += [*spaces, self.prefix(length)]
            self.forward(length)
            end = self.get_mark()
            line = self.line
            spaces = self.scan_plain_spaces(indent, start)
            if not spaces or (self.line > line and self._spaces() < indent):
                break
        return ScalarToken("".join(chunks), True, start, end)

    def _ends_plain(self, ahead: int) -> bool:
        character = self.peek(ahead)
        if character in BLANK or (self.flow_level and character in FLOW):
            return True
        return character == ":" and self.peek(ahead + 1) in BLANK + (FLOW if self.flow_level else "")

    def scan_plain_spaces(self, indent: int, start_mark: Any) -> list[str]:
        """The blanks within a plain text, folded (6.5); none where a document begins or ends behind them."""
        length = 0
        while self.peek(length) in " \t":
            length += 1
        blanks = self.prefix(length)
        self.forward(length)
        if self.peek() not in BREAKS:
            return [blanks] if blanks else []
        self._break()
        self.allow_simple_key = True
        more: list[str] = []
        while True:
            if self.column == 0 and self.prefix(3) in ("---", "...") and self.peek(3) in BLANK:
                return []
            while self.peek() in " \t":
                self.forward()
            if self.peek() not in BREAKS:
                break
            more.append(self._break())
        if self.flow_level and self.peek() not in "\0]}":
            self._require_indent()
        return more or [" "]

    def scan_flow_scalar_breaks(self, double: bool, start_mark: Any) -> list[str]:
        breaks: list[str] = super().scan_flow_scalar_breaks(double, start_mark)
        if self._spaces() <= self.indent:  # 7.3.1
            raise self._error("got a line that is indented too little, expected a quoted text to go on behind spaces")
        return breaks

    def scan_block_scalar_indentation(self) -> Any:
        found = super().scan_block_scalar_indentation()
        if self.peek() == "\t" and self.column <= self.indent:
            raise self._tab(self._before() + "\t")
        if self.indent < 0 and self.column == 0 and self.peek() not in "\0.-%":
            raise self._error("got a text that is not indented, expected spaces before it")
        if self.indent < self.column < found[1] and self.peek() != "\0":  # 8.1.1.1
            raise self._error("got a first line with fewer spaces than an empty one above it, expected as many")
        return found

    def scan_block_scalar_ignored_line(self, start_mark: Any) -> None:
        while self.peek() in " \t":
            self.forward()
        super().scan_block_scalar_ignored_line(start_mark)
