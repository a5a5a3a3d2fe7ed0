"""What bad input a command is given, and what it has to say of it: the form of the cases, and what judges them.

A case is a recipe, files beside it and a call of a command in their folder. Whatever it is: the exit code is the
documented one, the message says where the fault is, there is no traceback, and the folder is left as it was. The cases
stand in bad_recipes.py, bad_data.py and bad_places.py; `row` is what they are an example of.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from zoo import cli

BACKBONE = "{family: bert, num_layers: 1, num_heads: 2, hidden_dim: 8, intermediate_dim: 16, vocabulary: nano_uncased}"
FILES = "files: {train: rows.csv, text: review, label: stars}"
GOOD = f"""\
name: own
data:
  {FILES}
tokens: {{max_length: 32}}
model:
  backbone: {BACKBONE}
training: {{epochs: 2, batch_size: 4}}
profiles:
  cpu:
    training.epochs: 1
"""
PAIRS = [(f"a {word} film number {number}", word) for number in range(20) for word in ("good", "bad")]
ROWS = "review,stars\n" + "".join(f"{text},{label}\n" for text, label in PAIRS)
"""40 rows and a header: what is added stands from line 42 on."""
LINES = "".join(json.dumps({"review": text, "stars": label}) + "\n" for text, label in PAIRS)
"""The same rows as jsonl."""
RECIPE, DATA, ENVIRONMENT, TRAINING, OUTPUT = 2, 3, 4, 5, 6

Prepare = Callable[[Path, pytest.MonkeyPatch], object]


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One input. `told`, regular expressions, stand in the message, or, of a command that ends in 0, in what it says;
    `{}` is the folder."""

    row: str
    code: int
    told: tuple[str, ...]
    untold: str | None = None
    """What must not be said anywhere."""
    recipe: str | bytes | None = GOOD
    rows: str | bytes | None = ROWS
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    calls: tuple[tuple[str, ...], ...] = (("check", "{}/own.yaml"), ("run", "{}/own.yaml", "--out", "{}/run"))
    """Commands that are called one after the other, and all end so."""
    prepare: Prepare = lambda folder, patch: None
    """What else is done before."""

    def __str__(self) -> str:
        return self.row


def checked(*arguments: str) -> tuple[tuple[str, ...], ...]:
    """The one call of `zoo.check` with these arguments beside the recipe."""
    return (("check", "{}/own.yaml", *arguments),)


def both(*arguments: str) -> tuple[tuple[str, ...], ...]:
    """`zoo.check` and `zoo.run` with these arguments beside the recipe."""
    return (*checked(*arguments), ("run", "{}/own.yaml", "--out", "{}/run", *arguments))


def good_but(old: str, new: str) -> str:
    """The sound recipe, in one place another."""
    assert GOOD.count(old) == 1, f"{old!r} stands {GOOD.count(old)} times in it"
    return GOOD.replace(old, new)


def set_up(case: Bad, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Write what the case consists of."""
    for name, content in {"own.yaml": case.recipe, "rows.csv": case.rows, **case.files}.items():
        if content is not None:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    case.prepare(folder, patch)


def judge(case: Bad, folder: Path, said: Callable[[], tuple[str, str]]) -> None:
    """Call the commands of a case that was set up; `said` takes what they have written to stdout and stderr."""
    for call in case.calls:
        before = state(folder)
        code = cli.main([word.replace("{}", str(folder)) for word in call])
        out, err = said()
        assert code == case.code, f"{call[0]} ends in {code}: {out}{err}"
        for told in case.told:
            assert re.search(told.replace("{}", re.escape(str(folder))), out if code == 0 else err), (told, out + err)
        assert case.untold is None or case.untold not in out + err
        assert not re.search(r"Traceback|a bug of ours", out + err)
        assert state(folder) == before, f"{call[0]} leaves something behind"


def state(folder: Path) -> dict[str, str]:
    """The files of a folder by name, with their hashes; folders with none."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def parametrized(*tables: Iterable[Bad]) -> pytest.MarkDecorator:
    """The cases of these tables, each with its name."""
    return pytest.mark.parametrize("case", [case for table in tables for case in table], ids=str)
