"""A search file and the recipe that it names to a `Plan`; and back to a folder from which it goes on.

In come the path of a YAML file and a way to find recipes by name; out goes a frozen `Plan`. Refused, with every fault
at once, each with its place in the search file: what the types refuse, keys that a recipe does not have, values that
they do not take, combinations that contradict themselves, recipes of several trainings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from zoo.data.against_catalog import disagreements
from zoo.data.dataset import Dataset, rows_an_epoch
from zoo.errors import RecipeError
from zoo.recipe import Recipe, load_recipe
from zoo.recipe.faults import by_place, find_faults
from zoo.recipe.hiding import show
from zoo.recipe.length import run_length
from zoo.recipe.overlays import lay, lay_group, plain
from zoo.recipe.reading import WITHHELD, read_document, resolved
from zoo.recipe.yaml12 import Document, Fault, write_yaml
from zoo.sweep.search_file import Candidates, Range, Search, search_of
from zoo.sweep.space import Choice, Parameter, Plan, combinations, parameters_of

__all__ = ["RECIPE", "SEARCH", "read_kept", "read_plan", "refuse_rows", "texts_of"]

SEARCH, RECIPE = "sweep.yaml", "recipe.yaml"
"""What a sweep's folder keeps: the search, and the recipe that it begins with."""
MOST = 1000
"""Combinations that are looked at, a few milliseconds each."""
MOST_POINTS = 100_000
"""Of a grid."""
OF_ROWS = re.compile(r"(tasks\.[^.]+\.)?data(\.(?!augment\b)|$)|tasks$|tasks\.[^.]+$")
"""Keys that say which rows a trial learns from or is judged by; but for changed copies of training rows."""
ALIKE = {
    **WITHHELD,
    "name": "one name for all trials",
    "backend": "one backend for all trials",
    "expected": "figures in the recipe file alone",
    "stages": "a recipe of one training",
    "seed": "further seeds of the best recipe alone, by `seeds`",
}
"""First parts of keys that are not searched, and what is expected instead."""


def read_plan(path: str | FilePath, find: Callable[[str], FilePath]) -> Plan:
    """The plan of a search file; `find` gives the file of a recipe by what the search calls it, from its folder.

    Raises RecipeError with every fault.
    """
    document = read_document(path)
    search = search_of(document)
    folder = FilePath(path).parent
    named = folder / search.recipe
    file = named if named.is_file() else find(search.recipe)
    base = resolved(read_document(file), folder=file.parent, profile=search.profile)
    if search.overrides:
        lay_group(base, document, ("overrides",), withheld=WITHHELD)
    base = resolved(base, folder=folder)  # files that the search names are found from its own folder
    own = _found(base)
    if own:
        raise RecipeError(map(str, own))
    values = {key: _anchored(key, given, folder) for key, given in search.search.items()}
    search = search.model_copy(update={"search": values})
    parameters = parameters_of(search, base.data)
    if faults := list(_of_search(base, document, search, parameters)):
        raise RecipeError(map(str, by_place(faults)))
    recipe = Recipe.model_validate(base.data).told_of(search.profile)
    for key, there in (("stages", recipe.stages), ("data.few_shot or data.folds", recipe.parts)):
        if there:
            raise RecipeError(f"{file}  {key}: got {len(there)} trainings, expected a recipe of one: search that alone")
    return Plan(search=search, recipe=recipe, parameters=parameters)


def _anchored(key: str, given: Candidates, folder: FilePath) -> Candidates:
    """Values of a key, those that name files from the folder of the search."""
    if isinstance(given, Range):
        return given
    return tuple(
        _value(resolved(Document(data=_nested(key, each), source=key), folder=folder).data, key) for each in given
    )


def _nested(key: str, value: Any) -> Any:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _value(data: Any, key: str) -> Any:
    for part in key.split("."):
        data = data[part]
    return data


def texts_of(plan: Plan, recipe_text: str) -> dict[str, str]:
    """The files that a sweep's folder keeps, by name: the recipe with profile and overrides laid over it, and the
    search of that recipe."""
    search = plan.search.model_dump(mode="json", exclude={"profile", "overrides"})
    return {RECIPE: recipe_text, SEARCH: write_yaml({**search, "recipe": RECIPE})}


def read_kept(out: FilePath) -> Plan:
    """The plan that a sweep's folder keeps, which was looked through before it was written."""
    search = search_of(read_document(out / SEARCH))
    recipe = load_recipe(out / RECIPE)
    return Plan(search=search, recipe=recipe, parameters=parameters_of(search, recipe.model_dump()))


def refuse_rows(plan: Plan, dataset: Dataset) -> None:
    """RecipeError where values that are searched ask for more than these rows of the recipe give: a batch of more than
    there are, a warm-up longer than the run."""
    if any("data.augment" in each.key for each in plan.parameters):
        return  # other rows in each trial, which finds out itself
    faults = list[str]()
    tried = {each.key: each.tried for each in plan.parameters}
    for point in combinations(plan.parameters, MOST):
        values = {key: tried[key][number] for key, number in point.items()}
        recipe = plan.recipe_with(values)
        if len(dataset.train) < recipe.training.batch_size:
            size = recipe.training.batch_size
            faults.append(
                f"search.training.batch_size: got {size}, expected at most the {len(dataset.train)} rows of train"
            )
            continue
        try:
            run_length(recipe.training, rows=rows_an_epoch(dataset.train, recipe))
        except RecipeError as error:
            told = ", ".join(f"{key}: {show(value)}" for key, value in values.items())
            faults += [f"{fault} (with {told})" for fault in error.faults]
    if faults:
        raise RecipeError(dict.fromkeys(faults))


def _of_search(
    base: Document, document: Document, search: Search, parameters: tuple[Parameter, ...]
) -> Iterator[Fault]:
    """What is wrong with keys, with values, and with values beside each other."""
    searched = []
    for parameter in parameters:
        path, first = ("search", parameter.key), parameter.key.split(".")[0]
        if first in ALIKE:
            message = f"got it in a search, expected {ALIKE[first]}"
            yield Fault(place=document.place(path, of_key=True), path=path, message=message)
        elif OF_ROWS.match(parameter.key):
            message = (
                "got a key of which rows there are, expected the same rows in all trials: only then do they compare"
            )
            yield Fault(place=document.place(path, of_key=True), path=path, message=message)
        elif inside := [each.key for each in parameters if parameter.key.startswith(f"{each.key}.")]:
            message = f"got a key of {inside[0]}, which is searched too, expected one of the two: leave one out"
            yield Fault(place=document.place(path, of_key=True), path=path, message=message)
        else:
            searched.append(parameter)
    if search.sampler == "grid" and (points := math.prod(len(each.points) for each in searched)) > MOST_POINTS:
        message = f"got grid over {points:,} combinations, expected at most {MOST_POINTS:,}: take random or tpe"
        yield Fault(place=document.place(("sampler",)), path=("sampler",), message=message)
    seen = set[tuple[Any, str]]()
    for point in combinations(searched, MOST):
        for fault in _found(_laid(base, document, searched, point)):
            if (fault.place, fault.message) in seen:
                continue
            seen.add((fault.place, fault.message))
            yield fault


def _laid(base: Document, document: Document, parameters: Sequence[Parameter], point: Mapping[str, int]) -> Document:
    """The recipe with these values of the search, each with its place in the search file."""
    laid = resolved(base)
    for each in parameters:
        path, number = ("search", each.key), point[each.key]
        part = (number,) if isinstance(each, Choice) else ("low", "high", "low")[number : number + 1]
        over = Document(
            data=plain(each.tried[number]), source=document.source, values={(): document.place((*path, *part))}
        )
        lay(laid, each.key, over, document.place(path, of_key=True), withheld=ALIKE)
    return laid


def _found(document: Document) -> list[Fault]:
    """The faults of a recipe, or, where it is sound, those that only the catalog shows."""
    faults = find_faults(document)
    if faults:
        return faults
    return [
        Fault(place=document.place(path), path=path, message=clash.message)
        for clash in disagreements(Recipe.model_validate(document.data))
        for path in [tuple(clash.keys[0].split("."))]
    ]
