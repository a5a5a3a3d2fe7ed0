"""What a search is: frozen, strict types, as a recipe's, and the YAML file that they are read from.

In comes the text of the file; out goes a `Search`. Refused, with every fault at once, each with its place: unknown
keys, values of another kind, ranges that hold nothing, lists of one value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationError

from zoo.errors import RecipeError
from zoo.recipe.faults import by_place, not_among
from zoo.recipe.hiding import show
from zoo.recipe.kinds import Config, Name, Text
from zoo.recipe.schema import expectation
from zoo.recipe.yaml12 import Document, Fault, Path

__all__ = ["Candidates", "Number", "Range", "Search", "search_of"]

Number = int | Annotated[float, Field(allow_inf_nan=False)]
NUMBER = "a finite number"
EXPECTED = "a list of two values or more, or a range: {low, high}"


class Range(Config):
    """Numbers from `low` to `high`, both of them included."""

    low: Number
    """The least."""
    high: Number
    """The largest."""
    log: bool = False
    """Whether each order of magnitude is as likely as another, as learning rates want it."""
    step: Number | None = None
    """From `low` on, how far apart the numbers are; None is any number, of whole ones each."""

    def faults(self) -> Iterator[tuple[str, str]]:
        """Key and message of what is wrong between its keys."""
        if self.low >= self.high:
            yield "high", f"got {show(self.high)}, expected more than low: {show(self.low)}"
        if self.log and self.low <= 0:
            yield "low", f"got {show(self.low)}, expected more than 0 with log: true"
        if self.step is not None and self.step <= 0:
            yield "step", f"got {show(self.step)}, expected more than 0"
        if self.step is not None and self.log:
            yield "step", f"got {show(self.step)}, expected null with log: true"


def _kind(given: Any) -> str | None:
    return "range" if isinstance(given, Mapping | Range) else "list" if isinstance(given, list | tuple) else None


Candidates = Range | tuple[Any, ...]
Given = Annotated[
    Annotated[Range, Tag("range")]
    | Annotated[Annotated[tuple[Any, ...], Field(strict=False, min_length=2)], Tag("list")],
    Discriminator(_kind),
]


class Search(Config):
    """Which keys of which recipe are searched, and how."""

    name: Name
    """Name of the search: letters, digits, `_` and `-`. Storages that several searches share know it by this."""
    recipe: Text
    """A recipe file, from this file's folder, or the name of a shipped recipe."""
    profile: Name | None = None
    """One of the recipe's profiles; None takes it as it is."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Dotted keys of the recipe that have another value in all trials."""
    search: Annotated[dict[str, Given], Field(min_length=1)]
    """Dotted keys of the recipe, each with the values that are tried: a list, or a range."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """How the next values are chosen: `tpe` looks where earlier trials were good (Bergstra et al. 2011), `random` looks
    everywhere, `grid` tries every combination of lists and of ranges with a step."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """Which trials are stopped before their last epoch, by the figure of validation that the recipe monitors: those
    below the median of the others after as many epochs, from the fifth trial on; those that fall out of Hyperband's
    rounds (Li et al. 2018), or none."""
    trials: Annotated[int, Field(gt=0, le=100_000)] | None = None
    """Trials in all, the recipe as it is being the first; None is 20, or with `grid` all there are."""
    seeds: Annotated[int, Field(gt=0, le=100)] = 3
    """With how many seeds the best recipe is run again at the end, its own first; these runs look at the test split."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Draws the values that are tried."""


def search_of(document: Document) -> Search:
    """The search that a document holds; raises RecipeError with every fault."""
    if not isinstance(document.data, dict):
        raise RecipeError(f"{document.source}  got {show(document.data)}, expected a group of keys")
    found = list(document.faults)
    try:
        search = Search.model_validate(document.data)
    except ValidationError as error:
        found += {_fault(each, document) for each in error.errors(include_url=False)}
    else:
        found += _faults(search, document)
    if found:
        raise RecipeError(map(str, by_place(set(found))))
    return search


def _fault(error: Mapping[str, Any], document: Document) -> Fault:
    path: Path = tuple(part for part in error["loc"] if part not in ("range", "list"))
    below = path[2:] if path[0] == "search" else ()
    fields = Range.model_fields if below else Search.model_fields
    key = below[0] if below else path[0]
    if error["type"] == "extra_forbidden":
        message = not_among(str(key), fields)
        return Fault(
            place=document.place(path, of_key=True), path=path, message=message.replace("got", "got the key", 1)
        )
    value = "nothing" if error["type"] == "missing" else show(error["input"], path)
    return Fault(place=document.place(path), path=path, message=f"got {value}, expected {_expected(path)}")


def _expected(path: Path) -> str:
    if path[0] != "search":
        return expectation(Search.model_json_schema()["properties"][path[0]])
    if len(path) == 1:
        return f"keys of the recipe, each with {EXPECTED}"
    if len(path) == 2:
        return EXPECTED
    return {"log": "true or false", "step": f"{NUMBER}, or null"}.get(str(path[2]), NUMBER)


def _faults(search: Search, document: Document) -> Iterator[Fault]:
    """What is wrong between the keys of a search."""
    for key, given in search.search.items():
        path: Path = ("search", key)
        if isinstance(given, Range):
            for part, message in given.faults():
                yield Fault(place=document.place((*path, part)), path=(*path, part), message=message)
            if search.sampler == "grid" and given.step is None:
                message = "got a range without step, expected a list, or a step, with sampler: grid"
                yield Fault(place=document.place(path), path=path, message=message)
            continue
        for place, value in enumerate(given):
            if any(_same(value, other) for other in given[:place]):
                message = f"got {show(value)} twice, expected each value once"
                yield Fault(place=document.place((*path, place)), path=(*path, place), message=message)


def _same(value: Any, other: Any) -> bool:
    return bool(value == other) and not (isinstance(value, float) and math.isnan(value))
