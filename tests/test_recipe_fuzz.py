"""Mutated recipes through load_recipe and zoo.check: a recipe or a documented end, never another."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import recipes
from zoo import check
from zoo.errors import DataError, EnvironmentFault, RecipeError
from zoo.recipe import Recipe, dump_recipe, load_recipe

FEW, MANY = 60, 1000

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        10**12,
        10**300,
        10**400,
        0.0,
        -0.5,
        1e308,
        float("inf"),
        float("nan"),
    ),
    *("", " ", "no", "1e-5", "~", "..", "/", "./x", "\0", "\x1b[31m", "é", "😀", "\u2028", "\ud800", "~\ud800/x", "%s"),
    *(
        "x" * 300,
        "./" + "x" * 300,
        "./" + "x/" * 3000,
        "~x/y",
        "hf://",
        "hf://../..",
        "hf_" + "a" * 30,
        "smoke_reviews",
    ),
    *(
        "pypi://-r==x",
        "pypi://a==1#..",
        "kaggle://a/b/c/d/999999999999999999999",
        "nano_uncased",
        "minilm_l6_en_uncased",
    ),
    *([], {}, [None], [[1]], {"": 1}, {"type": "x"}, {"type": None}, ["a", "a"], list(range(100)), {"train": 1}),
    *({"\ud800": 1}, {"train": "./" + "x" * 300 + ".csv"}, {"train": "x/" * 3000 + ".csv"}, {"train": "/dev/null.csv"}),
)
PIECES = (
    *(b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0", b"\x07", b"\t", b"\r", b"\n", b"\xef\xbb\xbf", b"\xe2\x80\xa8"),
    *(b"{", b"}", b"[", b"]", b": ", b"- ", b"? ", b"#", b'"', b"'", b"\\", b"|\n", b">2", b"---\n", b"...\n"),
    *(b"&a ", b"*a", b"!!int ", b"!x ", b"%YAML 1.1\n", b"<<: *a\n", b'"\\ud800"', b'"\\UFFFFFFFF"', b"\xc2\x85"),
    *(b"0x" + b"f" * 5000, b"[" * 200),
)


def of_bytes(text: bytes, random: random.Random) -> bytes:
    """Some bytes flipped, cut out, doubled, or pieces put in."""
    for _ in range(random.choice([1, 1, 2, 4])):
        at, length = random.randrange(len(text) + 1), random.randint(0, 20)
        kind = random.choice(["flip", "cut", "double", "insert", "end"])
        if kind == "flip" and at < len(text):
            text = text[:at] + bytes([text[at] ^ 1 << random.randrange(8)]) + text[at + 1 :]
        elif kind == "cut":
            text = text[:at] + text[at + length :]
        elif kind == "double":
            text = text[: at + length] + text[at:]
        elif kind == "insert":
            text = text[:at] + random.choice(PIECES) + text[at:]
        elif random.random() < 0.2:
            text = text[:at]
    return text


def of_lines(text: bytes, random: random.Random) -> bytes:
    """Lines moved, doubled, dropped, or indented otherwise."""
    lines = text.splitlines(keepends=True)
    for _ in range(random.randint(1, 3)):
        at, to = random.randrange(len(lines)), random.randrange(len(lines))
        kind = random.choice(["swap", "double", "drop", "more", "less", "tab"])
        if kind == "swap":
            lines[at], lines[to] = lines[to], lines[at]
        elif kind == "double":
            lines.insert(to, lines[at])
        elif kind == "drop" and len(lines) > 1:
            del lines[at]
        else:
            lines[at] = {"more": b"  ", "less": b"", "tab": b"\t"}.get(kind, b"") + lines[at].lstrip(b" ")
    return b"".join(lines)


def of_values(text: bytes, random: random.Random) -> bytes:
    """Values, keys and groups of the data replaced, renamed, removed."""
    data = yaml.safe_load(text)
    if random.random() < 0.7:
        data.pop("profiles", None)
    for _ in range(random.choice([1, 1, 2, 3])):
        groups = [data]
        for group in groups:
            groups += [value for value in group.values() if isinstance(value, dict)]
        group = random.choice([group for group in groups if group] or [{"x": 1}])
        key = random.choice(list(group))
        while isinstance(group[key], dict) and group[key] and random.random() < 0.8:
            group = group[key]
            key = random.choice(list(group))
        kind = random.choice(["value"] * 6 + ["rename", "remove", "add"])
        if kind == "value":
            alike = [value for value in VALUES if type(value) is type(group[key])]
            group[key] = random.choice(alike if alike and random.random() < 0.7 else VALUES)
        elif kind == "add":
            group[random.choice(["", "x", "token", "type", "model.backbone", "a." * 50 + "b", "version"])] = (
                random.choice(VALUES)
            )
        else:
            value = group.pop(key)
            if kind == "rename":
                group[str(key)[:-1] or "\0"] = value
    return yaml.safe_dump(
        data, allow_unicode=random.random() < 0.5, default_flow_style=random.choice([None, True, False])
    ).encode()


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (of_bytes, of_lines, of_values)


def undocumented(seed: int, folder: Path) -> str | None:
    """What a mutation ended in where that is neither a recipe nor a documented error; None otherwise."""
    source = random.Random(seed)
    name = source.choice(recipes.names())
    text = MUTATIONS[seed % len(MUTATIONS)](recipes.path(name).read_bytes(), source)
    path = folder / f"{seed}.yaml"
    path.write_bytes(text)
    profile = source.choice([None, "smoke", "cpu", "x"])
    loaded: Recipe | None = None
    try:
        loaded = load_recipe(path, profile=profile)
    except RecipeError as error:
        if not all(re.match(rf"'?{re.escape(str(path))}", fault) for fault in error.faults):
            return f"{seed}: a fault without its place: {error}"
    code = check.main(
        [str(path), *(["--profile", profile] if profile else []), "--format", "json" if seed % 2 else "text"]
    )
    if code not in (0, RecipeError.exit_code, DataError.exit_code, EnvironmentFault.exit_code):
        return f"{seed}: check ends in {code}"
    if loaded is None and code != RecipeError.exit_code:
        return f"{seed}: load_recipe refuses it, check ends in {code}"
    if loaded is not None:
        path.write_text(dump_recipe(loaded), encoding="utf-8")
        if load_recipe(path) != loaded:
            return f"{seed}: written and read again, it is another recipe"
    return None


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def test_mutated_recipes(tmp_path: Path) -> None:
    assert [found for seed in range(FEW) if (found := undocumented(seed, tmp_path))] == []


@pytest.mark.slow
def test_many_mutated_recipes(tmp_path: Path) -> None:
    assert [found for seed in range(FEW, FEW + MANY) if (found := undocumented(seed, tmp_path))] == []
