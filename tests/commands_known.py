"""Whether all that a command names is there: its verb or tool, options, recipe, profile, keys, targets, extras.

In comes a line as a page, a script or a manifest has it; out comes what it names that is not there.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

import recipes
from zoo import cli
from zoo.errors import RecipeError
from zoo.recipe import load_recipe

ROOT = Path(__file__).parents[1]
OWN_FILES = {"my.yaml", "reviews.csv"}
"""Files that the pages let the reader have."""
SETTINGS = ("KERAS_BACKEND", "ZOO_CACHE", "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def unknown_in(command: str) -> str | None:
    """What a command names that does not exist; None where all of it does. CAPITALS stand for anything."""
    words = shlex.split(command)
    while "=" in words[0]:
        name = words.pop(0).partition("=")[0]
        if name not in SETTINGS:
            return f"no setting {name}"
    match words:
        case ["make", target, *settings]:
            for name in (setting.partition("=")[0] for setting in settings):
                if f"$({name})" not in text_of("Makefile"):
                    return f"no setting {name}"
            return None if re.search(rf"(?m)^{re.escape(target)}:", text_of("Makefile")) else f"no target {target}"
        case ["python", "-m", "zoo", verb, *rest] | ["zoo", verb, *rest]:
            return unknown_in_verb(verb, rest)
        case ["python", "-m", module, *rest] if module.startswith("zoo."):
            return unknown_in_verb(module.removeprefix("zoo."), rest)
        case ["python", script, *_]:
            return None if (ROOT / script).is_file() else f"no file {script}"
        case ["pip", "install", *rest]:
            ours = re.fullmatch(r"(?:\.|text-zoo)\[(.+)\]", rest[-1])
            extras = ours[1].split(",") if ours else []
            return next(
                (f"no extra {name}" for name in extras if f"\n{name} = [" not in text_of("pyproject.toml")), None
            )
        case ["torchrun", *rest]:
            return unknown_in(shlex.join(["python", *rest[rest.index("-m") :]]))
        case ["source", ".venv/bin/activate"]:
            return None
        case ["docker", "build", *rest]:
            return _unknown_in_build(rest)
        case ["docker", "run", *rest]:
            image = next(place for place, word in enumerate(rest) if word.startswith("text-zoo:"))
            return unknown_in(shlex.join(["zoo", *rest[image + 1 :]]))
        case ["sbatch", *rest]:
            script = next(place for place, word in enumerate(rest) if not word.startswith("-"))
            missing = not (ROOT / rest[script]).is_file()
            return f"no file {rest[script]}" if missing else unknown_in_verb("run", rest[script + 1 :])
        case ["kubectl", "apply", "--filename", path]:
            return None if (ROOT / path).is_file() else f"no file {path}"
    return "nothing that is known here"


def _unknown_in_build(words: Sequence[str]) -> str | None:
    given = dict(pairwise(words))
    file = given.get("--file", "Dockerfile")
    if not (ROOT / file).is_file():
        return f"no file {file}"
    if f" AS {given.get('--target')}\n" not in text_of(file):
        return f"no target {given.get('--target')}"
    name, _, value = given.get("--build-arg", "").partition("=")
    if name and f"ARG {name}=" not in text_of(file):
        return f"no argument {name}"
    return unknown_in(f"pip install '.[{value}]'") if name == "EXTRAS" else None


def unknown_in_verb(verb: str, words: Sequence[str]) -> str | None:
    if verb.isupper():
        return None
    if verb not in cli.VERBS:
        return f"no verb {verb}"
    options = set(re.findall(r"--[a-z-]+", help_text(verb)))
    wrong = [word for word in words if word.startswith("--") and word not in options]
    if wrong:
        return f"no option {wrong[0]}"
    if verb not in ("run", "check", "fetch") or not words or words[0].startswith("--"):
        return None
    if words[0].isupper() or words[0] in OWN_FILES:
        return None
    given = list(pairwise(words))
    profile = next((value for option, value in given if option == "--profile"), None)
    try:
        path = cli.find_recipe(words[0] if words[0] in recipes.names() else str(ROOT / words[0]))
        load_recipe(path, profile=profile, overrides=[value for option, value in given if option == "--set"])
    except RecipeError as error:
        return str(error)
    return None


@functools.cache
def help_text(verb: str) -> str:
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as told:
        patch.setenv("COLUMNS", "200")
        assert cli.main([verb, "--help"]) == 0
    return told.getvalue()


@functools.cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")
