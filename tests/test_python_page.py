"""docs/python.md names all that is public, with its signatures."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import recipes
import zoo
from zoo.explain.explained import ExplanationPlots
from zoo.report.run_plots import RunPlots

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")


def test_the_public_names_are_documented_with_their_signatures() -> None:
    titles = re.findall(r"^### `(zoo|recipes)\.(\w+)(\(.*\))?`$", PAGE, re.MULTILINE)
    documented = {f"{module}.{name}": signature for module, name, signature in titles}
    public = {f"{m.__name__}.{name}": getattr(m, name) for m in (zoo, recipes) for name in m.__all__}
    assert sorted(documented) == sorted(public)
    for name, thing in public.items():
        assert documented[name] == ("" if inspect.isclass(thing) else plain_signature(thing)), name


def test_the_members_of_a_run_are_documented() -> None:
    documented, members = members_in(section("### `zoo.Run`")), members_of(zoo.Run)
    assert documented == members | {"folder": ""}


def test_the_members_of_a_screen_are_documented() -> None:
    assert members_in(section("### `zoo.Screen`")) == members_of(zoo.Screen)


def test_charts_and_a_dataset_are_documented() -> None:
    of_run, of_explanation = section("## Charts").split("| of an explanation |")
    assert members_in(of_run) == members_of(RunPlots)
    assert members_in(of_explanation) == members_of(ExplanationPlots)
    fields = {field.name: "" for field in dataclasses.fields(zoo.Dataset)}
    assert members_in(section("### `zoo.Dataset`")) == members_of(zoo.Dataset) | fields
    told = section("### `zoo.Explanation`")
    of_explanation = {*members_of(zoo.Explanation), *(field.name for field in dataclasses.fields(zoo.Explanation))}
    methods_that_the_pages_use = {"head", "told", "likeliest", "texts"}
    assert [name for name in of_explanation - methods_that_the_pages_use if not re.search(rf"`{name}[`(]", told)] == []


def section(title: str) -> str:
    """What stands under a title of docs/python.md, to the next one."""
    return re.split(r"\n##+ ", PAGE.partition(f"\n{title}\n")[2])[0]


def members_in(text: str) -> dict[str, str]:
    """Names with their signatures, from the first column of tables."""
    cells = re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE)
    return {name: signature for cell in cells for name, signature in re.findall(r"`(\w+)(\(.*?\))?`", cell)}


def members_of(kind: type) -> dict[str, str]:
    """Public names of a class with their signatures; none of what is no function."""
    everything = {name: member for each in reversed(kind.__mro__[:-1]) for name, member in vars(each).items()}
    return {
        name: plain_signature(member) if inspect.isfunction(member) else ""
        for name, member in everything.items()
        if not name.startswith("_")
    }


def plain_signature(function: Callable[..., Any]) -> str:
    """A signature without types and without self."""
    signature = inspect.signature(function)
    parts = [p.replace(annotation=p.empty) for name, p in signature.parameters.items() if name != "self"]
    text = str(signature.replace(parameters=parts, return_annotation=signature.empty))
    return re.sub(r"<[^<>]*>", "...", text)  # a default that is a function
