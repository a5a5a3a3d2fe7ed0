"""Recipes of the zoo, changed in their bytes, lines and values: a recipe, or faults that all have a place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

import recipes
from tools.fuzzing.case import REFUSED, Case, Kind, ends
from tools.fuzzing.mutating import bytes_of, data_of, lines_of
from zoo.errors import RecipeError
from zoo.recipe import dump_recipe, load_recipe

ADDED = ("", "x", "token", "type", "model.backbone", "a." * 50 + "b", "version", "stages", "tasks", "profiles")


@st.composite
def _cases(draw: st.DrawFn) -> Case:
    sound = recipes.path(draw(st.sampled_from(recipes.names()))).read_bytes()
    way = draw(st.sampled_from(("bytes", "lines", "data", "data")))
    if way == "data":
        data: Any = yaml.safe_load(sound)
        if draw(st.integers(0, 9)) < 7:
            data.pop("profiles", None)
        dumped = yaml.safe_dump(
            draw(data_of(data, ADDED)),
            allow_unicode=draw(st.booleans()),
            default_flow_style=draw(st.sampled_from((None, True, False))),
        )
        text = dumped.encode(errors="surrogatepass")
    else:
        text = draw((bytes_of if way == "bytes" else lines_of)(sound))
    about = {
        "profile": draw(st.sampled_from((None, "smoke", "cpu", "x"))),
        "format": draw(st.sampled_from(("text", "json"))),
    }
    return Case(about, {"own.yaml": text})


def _judge(case: Case, folder: Path) -> None:
    case.write(folder)
    path, profile = folder / "own.yaml", case.about["profile"]
    loaded = None
    try:
        loaded = load_recipe(path, profile=profile)
    except RecipeError as error:
        odd = [fault for fault in error.faults if not re.match(rf"'?{re.escape(str(path))}", fault)]
        assert not odd, f"faults without their place: {odd}"
    asked = ["--profile", profile] if profile else []
    code, _ = ends(["check", str(path), *asked, "--format", case.about["format"]], 0, *REFUSED)
    assert loaded is not None or code == RecipeError.exit_code, f"load_recipe refuses it, check ends in {code}"
    if loaded is not None:
        path.write_text(dump_recipe(loaded), encoding="utf-8")
        assert load_recipe(path) == loaded, "written and read again, it is another recipe"


RECIPE = Kind(_cases(), _judge)
