"""Sound text, bytes and data made unsound: strategies of Hypothesis, which makes a finding as small as it can."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**12, 10**300, 10**400),
    *(0.0, -0.5, 1e308, float("inf"), float("nan")),
    *("", " ", "no", "1e-5", "~", "..", "/", "./x", "\0", "\x1b[31m", "é", "😀", "\u2028", "\ud800", "~\ud800/x", "%s"),
    *("x" * 300, "./" + "x" * 300, "./" + "x/" * 3000, "~x/y", "\u200b", "[bold]x[/bold]", "=1+1", "<script>"),
    *("hf://", "hf://../..", "hf_" + "a" * 30, "pypi://-r==x", "pypi://a==1#..", "kaggle://a/b/c/d/999999999999999"),
    *("smoke_reviews", "nano_uncased", "minilm_l6_en_uncased", "2024-01-01", "NaN", "None"),
    *([], {}, [None], [[1]], {"": 1}, {"type": "x"}, {"type": None}, ["a", "a"], list(range(100)), {"train": 1}),
    *({"\ud800": 1}, {"train": "./" + "x" * 300 + ".csv"}, {"train": "x/" * 3000 + ".csv"}, {"train": "/dev/null.csv"}),
)
PIECES = (
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0", b"\x07", b"\t", b"\r", b"\n", b"\xef\xbb\xbf", b"\xe2\x80\xa8"),
    *(b"{", b"}", b"[", b"]", b": ", b"- ", b"? ", b"#", b'"', b"'", b"\\", b"|\n", b">2", b"---\n", b"...\n", b","),
    *(b"&a ", b"*a", b"!!int ", b"!x ", b"%YAML 1.1\n", b"<<: *a\n", b'"\\ud800"', b'"\\UFFFFFFFF"', b"\xc2\x85"),
    *(b"0x" + b"f" * 5000, b"[" * 200, b'{"a":' * 200, b"NaN", b"1e999", b"-0", b"null", b"\xff\xff\xff\xff"),
)
LENGTHS = st.integers(0, 20)


@st.composite
def bytes_of(draw: st.DrawFn, content: bytes) -> bytes:
    """Some bytes flipped, cut out, doubled, or pieces put in."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(("flip", "flip", "cut", "double", "insert", "insert", "end")))
        if kind == "flip" and at < len(content):
            content = content[:at] + bytes([content[at] ^ 1 << draw(st.integers(0, 7))]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at] + content[at + draw(LENGTHS) :]
        elif kind == "double":
            content = content[: at + draw(LENGTHS)] + content[at:]
        elif kind == "insert":
            content = content[:at] + draw(st.sampled_from(PIECES)) + content[at:]
        elif kind == "end" and draw(st.integers(0, 4)) == 4:
            content = content[:at]
    return content


@st.composite
def lines_of(draw: st.DrawFn, content: bytes) -> bytes:
    """Lines moved, doubled, dropped, or indented otherwise."""
    lines = content.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 3))):
        at, to = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(("swap", "double", "drop", "more", "less", "tab")))
        if kind == "swap":
            lines[at], lines[to] = lines[to], lines[at]
        elif kind == "double":
            lines.insert(to, lines[at])
        elif kind == "drop":
            lines = lines[:at] + lines[at + 1 :] if len(lines) > 1 else lines
        else:
            lines[at] = {"more": b"  ", "less": b"", "tab": b"\t"}[kind] + lines[at].lstrip(b" ")
    return b"".join(lines)


@st.composite
def data_of(draw: st.DrawFn, data: Any, added: Sequence[str] = ("", "x", "type", "version")) -> Any:
    """Values, keys and groups of what JSON or YAML holds replaced, renamed, removed or added.

    `added` are names of keys that are put in.
    """
    data = {"": copy.deepcopy(data)}
    for _ in range(draw(st.integers(1, 3))):
        group, key = data, ""
        while isinstance(group[key], dict | list) and group[key] and draw(st.integers(0, 4)):
            group = group[key]
            key = draw(st.sampled_from(list(group) if isinstance(group, dict) else range(len(group))))
        kind = draw(st.sampled_from((*("value",) * 6, "rename", "remove", "add")))
        if kind == "value" or group is data:
            alike = [value for value in VALUES if type(value) is type(group[key])]
            group[key] = copy.deepcopy(draw(st.sampled_from(alike if alike and draw(st.booleans()) else VALUES)))
        elif kind == "add" and isinstance(group, dict):
            group[draw(st.sampled_from(added))] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif kind == "add":
            group.append(copy.deepcopy(draw(st.sampled_from(VALUES))))
        else:
            value = group.pop(key)
            if kind == "rename" and isinstance(group, dict):
                group[str(key)[:-1] or "\0"] = value
    return data[""]
