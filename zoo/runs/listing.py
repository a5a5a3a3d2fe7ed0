"""Run folders below a folder as rows of a table, found, filtered and sorted by any key that they have.

In come folders, conditions as `test>0.9`, and what to sort by; out come `Listed` runs. A run that is unfinished or
damaged is one of them, with a status that says so. Refused: a folder that is not there (OutputError), a key that none
of the runs has, and a condition that cannot be meant (RecipeError).
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from zoo.data.locking import Lock
from zoo.errors import OutputError, RecipeError, ZooError
from zoo.recipe import Recipe, load_recipe
from zoo.recipe.faults import did_you_mean
from zoo.recipe.flattening import flat
from zoo.recipe.hiding import show
from zoo.runs.recorded import RUN, RunFile
from zoo.runs.run_folder import CHECKPOINTS, RunFolder
from zoo.tasks import Task, task_of_run

__all__ = ["OWN", "Condition", "Listed", "getter", "list_runs", "sort_runs"]

LEFT = {"recipe.yaml", "log.txt"}
"""What makes a folder one of a run whose run.json is lost; a recipe alone may be anybody's."""
OWN = (
    *("folder", "recipe", "status", "figure", "validation", "test", "seconds", "parameters", "trainings", "whole"),
    "error",
)
"""Keys that a row has beside those of the two files."""
SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A run: its values under OWN, under the dotted keys of run.json, and under those of recipe.yaml.

    task: what it learns, which says how its figures are shown. faults: what of it cannot be read.
    """

    own: Mapping[str, Any]
    run: Mapping[str, Any]
    recipe: Mapping[str, Any]
    task: Task
    faults: tuple[str, ...]


Getter = Callable[[Listed], Any]


def list_runs(folders: Sequence[Path], *, parts: bool = False) -> tuple[list[Listed], list[str]]:
    """The runs in and below some folders, by path, and what of the folders cannot be read.

    Args:
        folders: where to look; a run that is in several of them is listed once.
        parts: whether the stages, draws and folds of a run are rows of their own, after that of the whole.
    """
    unread = list[str]()
    seen = set[str]()
    found = {path: _Read.of(path) for folder in folders for path in _below(folder, seen, unread)}
    inner = {path / name: path for path, read in found.items() for name in read.inside}
    rows = [
        _row(path, read, found, whole=inner.get(path)) for path, read in found.items() if parts or path not in inner
    ]
    return rows, unread


def getter(runs: Sequence[Listed], key: str, option: str) -> Getter:
    """What gives a run's value under a key, None where it has none: one of OWN, else of run.json, else of recipe.yaml,
    or with `run.` or `recipe.` before it of that one.

    Raises RecipeError where none of the runs has such a key.
    """
    start, _, rest = key.partition(".")
    ways = [("own", key), *([(start, rest)] if start in ("run", "recipe") else []), ("run", key), ("recipe", key)]
    for table, name in ways:
        if any(name in getattr(run, table) for run in runs):
            return lambda run, table=table, name=name: getattr(run, table).get(name)  # type: ignore[misc]
    if not runs or key in RunFile.__annotations__:  # each of these may have ended too soon to have it
        return lambda run: None
    known = {name for run in runs for table in (run.own, run.run, run.recipe) for name in table}
    raise RecipeError(
        f"{option}: got {show(key)}, expected one of {', '.join(OWN)}, or a key that one of these runs has in {RUN} or "
        f"recipe.yaml, as metrics.test.f1{did_you_mean(key, sorted(known))}"
    )


def sort_runs(runs: Iterable[Listed], of: Getter, *, descending: bool) -> list[Listed]:
    """By a value of theirs, numbers before text; those that have none come last."""
    rows = list(runs)
    known = sorted((run for run in rows if of(run) is not None), key=lambda run: _order(of(run)), reverse=descending)
    return known + [run for run in rows if of(run) is None]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A key, a sign, and the text that the key's value is compared with: as a number where the value is one."""

    key: str
    sign: str
    text: str

    @classmethod
    def read(cls, text: str) -> Self:
        """From KEY=VALUE, or with another of SIGNS; RecipeError where there is none."""
        found = re.fullmatch(r"([^<>=!]+)(!=|>=|<=|=|>|<)(.*)", text, re.DOTALL)
        if found is None:
            raise RecipeError(f"--where: got {show(text)}, expected KEY=VALUE, or {', '.join(SIGNS)} in place of =")
        return cls(key=found[1].strip(), sign=found[2], text=found[3].strip())

    def holds(self, value: Any) -> bool:
        """Whether it does for a value; what is not there is `null`, and neither less nor more than anything."""
        compare = SIGNS[self.sign]
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return compare(value, float(self.text))
            except ValueError:
                if self.sign in ("=", "!="):
                    return self.sign == "!="
                message = (
                    f"--where: got {show(self.text)} after {self.key}{self.sign}, expected a number, as its values are"
                )
                raise RecipeError(message) from None
        if value is None and self.sign not in ("=", "!="):
            return False
        return compare(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), self.text)


@dataclass(frozen=True, kw_only=True)
class _Read:
    """What the files of a run say: those that can be read."""

    status: str
    run: Mapping[str, Any]
    recipe: Recipe | None
    faults: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> Self:
        run, recipe, faults = dict[str, Any](), None, list[str]()
        with _noted(faults):
            run = RunFolder(path).run
        with _noted(faults):
            recipe = load_recipe(path / "recipe.yaml")
        status = run.get("status", "damaged")
        if status == "running" and not Lock.of_folder(path).alive:
            status = "killed"
        return cls(status=status, run=run, recipe=recipe, faults=tuple(faults))

    @property
    def inside(self) -> list[str]:
        """Folders of its stages, draws or folds."""
        return [row["folder"] for row in (*self.run.get("stages", ()), *self.run.get("parts", ()))]


@contextlib.contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    """That a file cannot be read within is one of the faults."""
    try:
        yield
    except ZooError as error:
        more = len(error.faults) - 1
        faults.append(error.faults[0] + (f" (and {more} more faults)" if more else ""))


def _below(folder: Path, seen: set[str], unread: list[str]) -> Iterator[Path]:
    """The runs in and below a folder, links followed, each folder once."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise OutputError(f"{folder} {what}, expected a folder with runs: name one, or none for `runs`")
    for path, names, files in os.walk(folder, followlinks=True, onerror=lambda error: unread.append(str(error))):
        here = os.path.realpath(path)
        if here in seen:
            names.clear()
            continue
        seen.add(here)
        # Checkpoints come and go while a run goes on.
        names[:] = sorted((name for name in names if name != CHECKPOINTS and name[0] != "."), key=_natural)
        if RUN in files or set(files) >= LEFT:
            yield Path(path)


def _natural(name: str) -> list[str | int]:
    """By which fold-10 comes after fold-9."""
    return [int(part) if number % 2 else part for number, part in enumerate(re.split(r"(\d+)", name))]


def _row(path: Path, read: _Read, found: Mapping[Path, _Read], *, whole: Path | None) -> Listed:
    faults = list(read.faults)
    stages = read.run.get("stages", ())
    last = found.get(path / stages[-1]["folder"], read) if stages else read
    run = flat(last.run) | flat(read.run)  # the figures of a run in stages are those of its last one
    figure = last.recipe.monitor if last.recipe is not None else None
    validation = run.get(f"metrics.validation.{figure}")
    if "metrics" not in last.run and last is read:
        with _noted(faults):
            best = [row for row in RunFolder(path).history if row["kind"] == "epoch" and row["best"]]
            validation = best[-1]["validation"].get(figure) if best else None
    timed = [found[path / row["folder"]].run for row in stages if path / row["folder"] in found] or [read.run]
    seconds = [each["timing"]["total_seconds"] for each in timed if "total_seconds" in each.get("timing", {})]
    own = {
        "folder": str(path),
        "recipe": None if read.recipe is None else read.recipe.name,
        "status": read.status,
        "figure": figure,
        "validation": validation,
        "test": run.get(f"metrics.test.{figure}"),
        "seconds": sum(seconds) if seconds else None,
        "parameters": run.get("parameters.all"),
        "trainings": _trainings(read.run),
        "whole": None if whole is None else str(whole),
        "error": "; ".join(faults) or read.run.get("error"),
    }
    recipe = {} if read.recipe is None else flat(read.recipe.model_dump(mode="json"))
    return Listed(own=own, run=run, recipe=recipe, task=task_of_run(last.run), faults=tuple(faults))


def _trainings(run: Mapping[str, Any]) -> str | None:
    """How many stages, draws or folds of a run are done; None of a run by itself."""
    rows = [*run.get("stages", ()), *run.get("parts", ())]
    if not rows:
        return None
    kind = "stage" if run.get("stages") else rows[0]["name"].partition("-")[0]
    return f"{sum(row['status'] == 'done' for row in rows)} of {len(rows)} {kind}s"


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float)
    return (not number, value if number else 0.0, "" if number else str(value))
