"""YAML 1.2 text to plain data with a place for every key and value, and plain data back to text.

In comes the text of a recipe (or of one `--set` value); out goes a `Document`: dicts, lists and
scalars, and for each path the line and column of its key and of its value. Scalars follow the YAML
1.2 core schema: `1e-5` is a float, `no` is a string, keys are text. Refused, all that there are at
once: duplicate keys, anchors, aliases, tags, keys that are not scalars; at the first: broken
syntax and nesting deeper than MAX_DEPTH.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from zoo.errors import RecipeError
from zoo.recipe.hiding import hide_line
from zoo.recipe.scanner import FOREIGN_BREAKS, Scanner
from zoo.recipe.showing import is_unicode

MAX_DEPTH = 32

Path = tuple[str | int, ...]
"""Where a value stands in the data: keys and list positions from the root."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A spot the user can go to: a file (1-based line and column), or an option of the command line."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong, where, and what was expected."""

    place: Place
    path: Path
    message: str

    def __str__(self) -> str:
        return f"{self.place}  {dotted(self.path) or 'recipe'}: {self.message}"


@dataclass(kw_only=True)
class Document:
    """Plain data, the places of its keys and values, and what was wrong with the text itself."""

    data: Any
    source: str
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: Path, *, of_key: bool = False) -> Place:
        """Place of a value (or of its key); of the nearest group above it where it does not stand."""
        for end in range(len(path), -1, -1):
            here = path[:end]
            first, second = (self.keys, self.values) if of_key or end < len(path) else (self.values, self.keys)
            found = first.get(here) or second.get(here)
            if found is not None:
                return found
        return Place(source=self.source, line=1, column=1)


def dotted(path: Path) -> str:
    """`('data', 'files', 'text', 1)` as the user writes it: `data.files.text[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Loader(Scanner):
    """PyYAML's composer with the YAML 1.2 core scalars; it notes anchors, aliases and tags and goes on."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.refused: list[tuple[Any, str]] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            self._refuse(event, f"the alias *{event.anchor}", "the value written out")
            mark: Any = event.start_mark
            return yaml.ScalarNode("tag:yaml.org,2002:null", "", mark, mark)
        if event.anchor is not None:
            self._refuse(event, f"the anchor &{event.anchor}", "a plain value")
            event.anchor = None
        if getattr(event, "tag", None) is not None:
            self._refuse(event, f"the tag {event.tag}", "a plain value, without a tag")
            event.tag = None
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"nested deeper than {MAX_DEPTH} levels, a recipe needs five", event.start_mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, event: yaml.Event, what: str, instead: str) -> None:
        self.refused.append((event.start_mark, f"got {what}, expected {instead}"))


_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_CORE = (
    ("null", _NULL, ["~", "n", "N", ""]),
    ("bool", _BOOL, list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
)


class _Dumper(yaml.SafeDumper):
    """PyYAML's writer: it quotes whatever YAML 1.1 or 1.2 would read as something other than text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Loader.yaml_implicit_resolvers = {}  # PyYAML's own are those of YAML 1.1
_Dumper.add_representer(str, _represent_text)
for _name, _pattern, _first in _CORE:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", _pattern, _first)


def read_yaml(text: str, source: str) -> Document:
    """Text to data with places; `source` is what the places are named after, mostly the file's path.

    Raises RecipeError on broken syntax. What else is refused stands in `Document.faults`, so that it
    can be reported together with what the types find.
    """
    foreign = next((at for at, character in enumerate(text) if character in FOREIGN_BREAKS), None)
    if foreign is not None:
        line, column = _line_and_column(text, foreign)
        raise RecipeError(
            f"{source}:{line}:{column}  got the character {text[foreign]!a}, which YAML 1.1 took for a line break, "
            "expected none, or its escape within double quotes"
        )
    try:
        loader = _Loader(text if text.endswith("\n") else f"{text}\n")  # a block's last line counts as one either way
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise RecipeError(_syntax(text, source, error)) from error
    except yaml.reader.ReaderError as error:
        line, column = _line_and_column(text, error.position)
        raise RecipeError(
            f"{source}:{line}:{column}  got the control character {chr(error.character)!a}, expected text: remove it"
        ) from error
    except (ValueError, OverflowError) as error:  # "\UFFFFFFFF": PyYAML's scanner calls chr() on it unguarded
        raise RecipeError(f"{source}  got an escape that is no character ({error}), expected \\uXXXX") from error
    document = Document(data=None, source=source)
    if root is not None:
        document.data = _build(root, (), document)
    for mark, message in loader.refused:
        place = _place(document, mark)
        path = next((path for path, found in document.values.items() if found == place), ())
        document.faults.append(Fault(place=place, path=path, message=message))
    return document


def _line_and_column(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def write_yaml(data: Any) -> str:
    """Plain data to YAML text that `read_yaml` reads back as the same data; key order is kept."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def _place(document: Document, mark: Any) -> Place:
    return Place(source=document.source, line=mark.line + 1, column=mark.column + 1)


def _build(node: yaml.Node, path: Path, document: Document) -> Any:
    document.values[path] = _place(document, node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, index), document) for index, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        return _group(node, path, document)
    return _scalar(node.tag.rpartition(":")[2], node.value, path, document)


def _group(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, Any]:
    group: dict[str, Any] = {}
    for key_node, value_node in node.value:
        place = _place(document, key_node.start_mark)
        if not isinstance(key_node, yaml.ScalarNode):
            message = "got a list or a group as a key, expected text"
            document.faults.append(Fault(place=place, path=path, message=message))
            continue
        key = _joined(key_node.value)
        here = (*path, key)
        if not is_unicode(key):
            document.faults.append(Fault(place=place, path=path, message=f"got the key {key!a}, {_HALF}"))
            continue
        if key in group:
            first = document.keys[here].line
            message = f"got this key a second time, expected it once: the first is on line {first}"
            document.faults.append(Fault(place=place, path=here, message=message))
            continue
        document.keys[here] = place
        group[key] = _build(value_node, here, document)
    return group


def _scalar(kind: str, text: str, path: Path, document: Document) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    if kind == "int":
        # Python reads no whole number of more than 4300 digits.
        number = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) < 64 else 2**64
        if not -(2**63) <= number < 2**63:
            message = f"got a whole number of {len(text)} characters, expected one that fits into 64 bits"
            document.faults.append(Fault(place=document.values[path], path=path, message=message))
            return None
        return number
    text = _joined(text)
    if not is_unicode(text):
        document.faults.append(Fault(place=document.values[path], path=path, message=f"got {text!a}, {_HALF}"))
        return None
    return text


_HALF = r"with half a character in it, expected \UXXXXXXXX"


def _joined(text: str) -> str:
    r"""Text with the pairs of surrogates that JSON writes, `"\ud83d\ude00"`, as the characters that they mean."""
    return text if is_unicode(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _syntax(text: str, source: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"{source}  got text that is not YAML ({error.problem}), expected a recipe"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    problem = error.problem or error.context
    if problem == "but found another document":
        problem, error.context = "got a second document, expected one recipe in a file", None
    if error.context and error.context != problem:
        problem = f"{problem}, {error.context}"
    caret = " " * mark.column + "^"
    shown = hide_line(line.replace("\t", " "))
    return f"{source}:{mark.line + 1}:{mark.column + 1}  YAML: {problem}\n    {shown}\n    {caret}"
