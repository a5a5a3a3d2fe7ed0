"""The keys that are searched as Optuna knows them: each with its distribution, and back to a recipe's values.

In come a search and its recipe; out go values by dotted key, as a trial suggests them. Nothing is refused.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zoo.recipe import Recipe
from zoo.recipe.schema import node_at
from zoo.sweep.search_file import Number, Range, Search

if TYPE_CHECKING:
    import optuna

__all__ = ["Choice", "Interval", "Parameter", "Plan", "combinations", "parameters_of"]

Label = str | int | float | bool | None
TRIALS = 20
"""Of a search that says no number."""
MISSING = object()


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of some values."""

    key: str
    values: tuple[Any, ...]

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """What stands for each: a storage takes numbers and texts alone."""
        return tuple(value if isinstance(value, Label) else json.dumps(value) for value in self.values)

    def suggested(self, trial: optuna.Trial) -> Any:
        return self.values[self.labels.index(trial.suggest_categorical(self.key, self.labels))]

    def label_of(self, value: Any) -> Label:
        """What stands for one of its values; KeyError where it has no such value."""
        for label, known in zip(self.labels, self.values, strict=True):
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return label
        raise KeyError(self.key)

    def value_of(self, label: Label) -> Any:
        return self.values[self.labels.index(label)]

    @property
    def tried(self) -> tuple[Any, ...]:
        """The values by which contradictions are looked for."""
        return self.values

    @property
    def points(self) -> tuple[Any, ...]:
        """All values, for a grid."""
        return self.values


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Numbers between two, both included; whole: whole numbers alone."""

    key: str
    low: Number
    high: Number
    log: bool
    step: Number | None
    whole: bool

    def suggested(self, trial: optuna.Trial) -> Number:
        if self.whole:
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.key, int(self.low), int(self.high), step=step, log=self.log)
        step_size = None if self.step is None else float(self.step)
        return trial.suggest_float(self.key, float(self.low), float(self.high), step=step_size, log=self.log)

    def label_of(self, value: Any) -> Label:
        """The value itself; KeyError where it does not lie within."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not self.low <= value <= self.high or (self.whole and not isinstance(value, int)):
            raise KeyError(self.key)
        if self.step is not None and not _whole((value - self.low) / self.step):
            raise KeyError(self.key)
        return value  # type: ignore[no-any-return]  # a number, as was asked

    def value_of(self, label: Label) -> Any:
        return label

    @property
    def tried(self) -> tuple[Number, ...]:
        """Both ends, and one between them: a key may take shares and whole numbers, and nothing between them."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return self.low, self.high, round(middle) if self.whole else middle

    @property
    def points(self) -> tuple[Number, ...]:
        """All values of one with a step, for a grid."""
        step = self.step or 1
        return tuple(self.low + number * step for number in range(math.floor((self.high - self.low) / step + 1e-9) + 1))


Parameter = Choice | Interval


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-9


def parameters_of(search: Search, data: Any) -> tuple[Parameter, ...]:
    """The parameters of a search; `data`, its recipe in plain values, says which keys take whole numbers."""
    return tuple(
        Interval(
            key=key,
            low=given.low,
            high=given.high,
            log=given.log,
            step=given.step,
            whole=_takes_whole(key, given, data),
        )
        if isinstance(given, Range)
        else Choice(key=key, values=given)
        for key, given in search.search.items()
    )


def _takes_whole(key: str, given: Range, data: Any) -> bool:
    node = node_at(tuple(key.split(".")), data) or {}
    kinds = {option.get("type") for option in node.get("anyOf", [node])}
    return "integer" in kinds and all(isinstance(each, int | None) for each in (given.low, given.high, given.step))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A search with its recipe, the profile and overrides laid over it."""

    search: Search
    recipe: Recipe
    parameters: tuple[Parameter, ...]

    @property
    def trials(self) -> int:
        """How many there are in all."""
        if self.search.trials is not None:
            return self.search.trials
        return 1 + len(self.grid) if self.search.sampler == "grid" else TRIALS

    def with_trials(self, count: int) -> Plan:
        """The same with so many trials in all."""
        return replace(self, search=self.search.model_copy(update={"trials": count}))

    def recipe_values(self) -> dict[str, Any]:
        """What the recipe itself has at the keys that are searched, those in groups that it has not left out."""
        data, found = self.recipe.model_dump(), dict[str, Any]()
        for each in self.parameters:
            value: Any = data
            for part in each.key.split("."):
                value = value.get(part, MISSING) if isinstance(value, Mapping) else MISSING
            if value is not MISSING:
                found[each.key] = value
        return found

    @cached_property
    def own(self) -> dict[str, Label]:
        """What stands for the recipe's own values, where they are among those that are searched."""
        given, found = self.recipe_values(), dict[str, Label]()
        for each in self.parameters:
            with contextlib.suppress(KeyError):
                found[each.key] = each.label_of(given[each.key])
        return found

    @cached_property
    def grid(self) -> tuple[dict[str, Label], ...]:
        """Every combination, in an order that the search's seed draws, without that of the recipe as it is."""
        keys = [each.key for each in self.parameters]
        labels = [[each.label_of(point) for point in each.points] for each in self.parameters]
        found = [dict(zip(keys, point, strict=True)) for point in itertools.product(*labels)]
        found = [point for point in found if point != self.own]
        random.Random(self.search.seed).shuffle(found)
        return tuple(found)

    def suggested(self, trial: optuna.Trial, *, untouched: bool) -> dict[str, Any]:
        """The values of a trial by dotted key; of the recipe as it is those that are searched."""
        return {each.key: each.suggested(trial) for each in self.parameters if not untouched or each.key in self.own}

    def values(self, params: Mapping[str, Label]) -> dict[str, Any]:
        """The values of a trial that a storage knows, by dotted key."""
        return {each.key: each.value_of(params[each.key]) for each in self.parameters if each.key in params}

    def recipe_with(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe of a trial; RecipeError where the values do not go together. It expects nothing of test."""
        return self.recipe.override({**values, "expected": None})


def combinations(parameters: Sequence[Parameter], most: int) -> Iterator[dict[str, int]]:
    """What is looked at for contradictions: by key the number of a value in `tried`. Every combination, or, where these
    are more than `most`, every pair beside the first of all others, as most contradictions are between two keys."""
    keys, counts = [each.key for each in parameters], [len(each.tried) for each in parameters]
    if math.prod(counts) <= most:
        yield from (dict(zip(keys, point, strict=True)) for point in itertools.product(*map(range, counts)))
        return
    first = dict.fromkeys(keys, 0)
    for one, other in itertools.combinations(range(len(keys)), 2):
        pairs = itertools.product(range(counts[one]), range(counts[other]))
        yield from ({**first, keys[one]: a, keys[other]: b} for a, b in pairs)
