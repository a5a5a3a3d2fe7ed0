"""Runs side by side: figures, settings that differ, curves over each other, and who was right where.

In come two or more run folders; out come a document of plain values, and a folder with compare.html, which loads
nothing from anywhere, and its pictures. Refused: fewer than two runs, a run given twice (RecipeError), a target that is
a run or cannot be written (OutputError). What cannot be compared (other test rows) becomes a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from zoo.data.writing import storage_errors, write_atomically
from zoo.errors import DataError, OutputError, RecipeError
from zoo.recipe import load_recipe
from zoo.recipe.flattening import flat
from zoo.recipe.several import data_of, told_data
from zoo.recipe.showing import listed
from zoo.report import comparison_plots, pages, plots
from zoo.report.drawing import Chart, Drawn, draw_each
from zoo.report.report import further_figures
from zoo.runs.run_folder import UNENCODABLE, RunFolder
from zoo.score import digits, pairing
from zoo.tasks import Task

__all__ = ["compare", "short_names", "write_comparison"]

PAGE = "compare.html"
DRAWN = 40
"""Runs in a picture."""
LEFT_OUT = ("expected", "profiles")
"""Groups of a recipe that decide nothing about a run."""
CAPTIONS = {
    "curves": "Loss, and the figure that matters most, over the epochs",
    "accuracy": "Intervals of Wilson 1927, of several draws that of their mean",
    "time": plots.TIME_CAPTION,
}


def write_comparison(folders: Sequence[RunFolder], out: Path) -> tuple[Path, dict[str, Any]]:
    """Write compare.html and its pictures into the folder `out`, over those of an earlier comparison.

    Returns the page's path, and the document of `compare` with the warnings of pictures that could not be drawn.
    Raises RecipeError and OutputError as the module says.
    """
    document = compare(folders)
    if (out / "run.json").exists() or out.is_file():
        what = "a file" if out.is_file() else "a run"
        raise OutputError(f"{out} is {what}, expected a folder for the comparison: choose another --out")
    charts, failed = _draw(folders, document)
    document["warnings"] += failed
    page = pages.html(
        "compare.html.j2",
        **document,
        charts=[(CAPTIONS[name], chart) for name, chart in charts.items()],
    )
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        for name in CAPTIONS:
            (out / f"{name}.png").unlink(missing_ok=True)
        for name, chart in charts.items():
            _write(out / f"{name}.png", chart.light)
        _write(out / PAGE, page.encode(errors=UNENCODABLE))
    return out / PAGE, document


def _write(path: Path, content: bytes) -> None:
    with write_atomically(path) as file:
        file.write(content)


def compare(folders: Sequence[RunFolder]) -> dict[str, Any]:
    """What there is to say of some runs side by side, as plain values.

    names: of the runs, numbered, as everything below calls them; figures: `name`, `about`, whether it says what a run
    is and not how good, `values` a run (None where there is none), `texts`, these for people, `best`, the numbers of
    the runs, from 0, whose value is better than another's, and `behind`, how far each other one is off, for people;
    differences: `key` (a dotted one of the recipe, or with `run.` before it of run.json), `values` and `texts`; pairs:
    `first`, `second`, `task`, of runs of several tasks the one that is compared, else empty, and what
    zoo/score/pairing.py says of them; warnings.

    Raises RecipeError for fewer than two runs or a run given twice.
    """
    _refuse_too_few(folders)
    names = [f"{number}: {name}" for number, name in enumerate(short_names([f.path for f in folders]), 1)]
    runs = [folder.run for folder in folders]
    predictions = [folder.predictions for folder in folders]
    recipes = [load_recipe(folder.path / "recipe.yaml").model_dump(mode="json") for folder in folders]
    pairs, warnings = _pairs(names, predictions, recipes)
    return {
        "names": names,
        "runs": [str(folder.path) for folder in folders],
        "figures": _figures(folders, runs, recipes, predictions),
        "differences": _differences(runs, recipes),
        "pairs": pairs,
        "warnings": [*_unfinished(names, runs), *warnings],
    }


def short_names(paths: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as it takes to tell all of them apart."""
    parts = [path.resolve().parts for path in paths]
    longest = max(map(len, parts))
    for count in range(1, longest + 1):
        names = ["/".join(each[-count:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return names


def _refuse_too_few(folders: Sequence[RunFolder]) -> None:
    paths = [folder.path.resolve() for folder in folders]
    if len(paths) < 2:
        raise RecipeError(f"got {len(paths)} run to compare, expected two or more: name another one")
    twice = [str(folder.path) for folder, path in zip(folders, paths, strict=True) if paths.count(path) > 1]
    if twice:
        raise RecipeError(f"got {twice[0]} more than once, expected each run once: leave one out")


def _word(value: Any, rows: int | None = None) -> str:
    if isinstance(value, list):
        return listed(value)
    return pages.NOTHING if value is None else str(value)


def _duration(value: float | None, rows: int | None) -> str:
    return pages.duration(value)


def _compilation(value: float | None, rows: int | None) -> str:
    return "none" if value == 0.0 else pages.duration(value)


def _size(value: float | None, rows: int | None) -> str:
    return pages.size(value)


Shown = Callable[[Any, int | None], str]
"""A value and the test rows that it is of, for people."""
MORE, LESS = 1, -1
"""What is better."""


@dataclass(frozen=True)
class Row:
    """A row of the table of figures: its title, where the value is in run.json (with dots), how it is shown, and
    whether more or less of it is better; 0 where neither is."""

    title: str
    key: str
    shown: Shown
    better: int = 0


ABOUT = (
    Row("status", "status", _word),
    Row("recipe", "recipe", _word),
    Row("backbone", "backbone", _word),
    Row("data", "data", _word),
    Row("backend", "backend", _word),
    Row("device", "device", _word),
    Row("precision", "precision", _word),
    Row("seed", "seed", _word),
    Row("training rows", "dataset.rows.train", pages.number),
    Row("test rows", "metrics.test.rows", pages.number),
)
EFFORT = (
    Row("epochs", "training.epochs", pages.number),
    Row("steps", "training.steps", pages.number),
    Row("training time", "timing.train_seconds", _duration, LESS),
    Row("compilation", "timing.compile_seconds", _compilation),
    Row("total time", "timing.total_seconds", _duration, LESS),
    Row("real tokens a second", "timing.tokens_per_second", pages.number, MORE),
    Row("padding", "padding_fraction", pages.share, LESS),
    Row("peak memory", "memory.peak_bytes", _size, LESS),
)


def _tested(tasks: Sequence[Task]) -> tuple[Row, ...]:
    """The figures of these tasks, one after another, each with its interval where there is one."""
    rows: dict[str, Row] = {}
    for task in tasks:
        for name, title in task.titles.items():
            shown = pages.shown_by(task, name)
            rows.setdefault(name, Row(f"test {title}", f"metrics.test.{name}", shown, _better(task, name)))
            for end, word in (("low", "from"), ("high", "to")):
                key = f"{name}_{end}"
                rows.setdefault(key, Row(f"{title}, 95% interval {word}", f"metrics.test.{key}", shown))
        best = task.headline[0]
        shown = pages.shown_by(task, best)
        title, key = f"validation {task.titles[best]}", f"metrics.validation.{best}"
        rows.setdefault(f"validation.{best}", Row(title, key, shown, _better(task, best)))
    return tuple(rows.values())


def _better(task: Task, name: str) -> int:
    return LESS if name in task.falling else MORE


def _figures(
    folders: Sequence[RunFolder],
    runs: Sequence[Mapping[str, Any]],
    recipes: Sequence[Mapping[str, Any]],
    predictions: Sequence[Sequence[Mapping[str, Any]]],
) -> list[dict[str, Any]]:
    """A row for each figure that any run has a value for."""
    tables = []
    for folder, run, recipe, tested in zip(folders, runs, recipes, predictions, strict=True):
        backbone = recipe["model"]["backbone"]
        tables.append(
            {
                **flat(run),
                **{f"metrics.test.{name}": value for name, value in further_figures(folder, tested).items()},
                "recipe": recipe["name"],
                "backbone": backbone.get("preset") or f"a fresh {backbone['family']}",
                "data": told_data(recipe),
            }
        )
    rows = []
    for row in (*ABOUT, *_tested([folder.task for folder in folders]), *EFFORT):
        values = [table.get(row.key) for table in tables]
        if any(value is not None for value in values):
            of = "metrics.validation.rows" if row.key.startswith("metrics.validation") else "metrics.test.rows"
            counts = [None if row in EFFORT else table.get(of) for table in tables]
            texts = [row.shown(value, count) for value, count in zip(values, counts, strict=True)]
            found = {"name": row.title, "about": row in ABOUT, "values": values, "texts": texts}
            rows.append({**found, **_compared(row, values, texts, counts)})
    return rows


def _compared(row: Row, values: Sequence[Any], texts: Sequence[str], counts: Sequence[int | None]) -> dict[str, Any]:
    """Which runs are best, and how far each other one is behind them; nothing where all look alike."""
    known = [value for value in values if value is not None]
    alike = len({text for text, value in zip(texts, values, strict=True) if value is not None}) < 2
    if not row.better or alike:
        return {"best": [], "behind": [None] * len(values)}
    best = max(known) if row.better == MORE else min(known)
    told = texts[values.index(best)]
    return {
        "best": [number for number, text in enumerate(texts) if text == told],
        "behind": [
            None if value is None or text == told else _gap(row, value - best, (text, told), count)
            for value, text, count in zip(values, texts, counts, strict=True)
        ],
    }


def _gap(row: Row, difference: float, texts: tuple[str, str], rows: int | None) -> str:
    """With its sign, in the unit that the row has; of plain numbers and shares that of the texts that stand there, so
    that who subtracts these comes to the same."""
    if row.shown in (_duration, _size):
        return f"{'+' if difference > 0 else digits.MINUS}{row.shown(abs(difference), rows)}"
    mine, best = (text.rstrip("%").replace(",", "") for text in texts)
    places = max(len(text.partition(".")[2]) for text in (mine, best))
    unit = " points" if row.shown is pages.share else ""
    return f"{digits.signed(float(mine) - float(best), f',.{places}f')}{unit}"


def _differences(runs: Sequence[Mapping[str, Any]], recipes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each key, dotted, that is not the same in all runs: of the recipe, then of what the runs ran on and with."""
    settings = [flat({key: value for key, value in recipe.items() if key not in LEFT_OUT}) for recipe in recipes]
    around = ("backend", "device", "precision", "platform", "versions", "threshold")
    facts = [flat({key: run[key] for key in around if key in run}, "run.") for run in runs]
    whole = [{**setting, **fact} for setting, fact in zip(settings, facts, strict=True)]
    keys = dict.fromkeys(key for table in whole for key in table)
    return [
        {
            "key": key,
            "values": [table.get(key) for table in whole],
            "texts": [_word(table.get(key)) for table in whole],
        }
        for key in keys
        if any(table.get(key) != whole[0].get(key) for table in whole)
    ]


def _pairs(
    names: Sequence[str], predictions: Sequence[Sequence[Mapping[str, Any]]], recipes: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """McNemar's test for each pair of runs, and a warning for each pair that cannot be tested or should be doubted."""
    pairs, warnings = [], []
    for first, second in combinations(range(len(names)), 2):
        both = f"{names[first]} and {names[second]}"
        tested, faults = _tested_together(predictions[first], predictions[second])
        if not tested:
            warnings += [f"{both}: no paired test: {fault}" for fault in faults[:1]]
            continue
        for task, found in tested.items():
            pairs.append({"first": names[first], "second": names[second], "task": task, **found})
        if _sources(recipes[first]) != _sources(recipes[second]) and not any(tested):
            warnings.append(f"{both}: their recipes name other data; the rows are taken for the same by id and label")
    return pairs, warnings


def _tested_together(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What a paired test says of two runs, by the name of the task, empty where both have one; and why it says nothing.

    A run of several tasks is compared by task, and with a run of one by the task that has the same rows.
    """
    own, others = pairing.by_task(first), pairing.by_task(second)
    both = [(name, name) for name in own if name in others] or [(name, other) for name in own for other in others]
    found, faults = dict[str, dict[str, Any]](), list[str]()
    for name, other in both:
        try:
            found[name or other] = pairing.compare_rows(own[name], others[other])
        except DataError as error:
            faults.append(str(error))
    return found, faults


def _sources(recipe: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    files = [(data, data.get("files") or {}) for data in data_of(recipe).values()]
    return [(data.get("dataset"), own.get("test") or own.get("train")) for data, own in files]


def _unfinished(names: Sequence[str], runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{name}: this run is {run.get('status')}, so what it says may not be its last word"
        for name, run in zip(names, runs, strict=True)
        if run.get("status") != "done"
    ]


def _draw(folders: Sequence[RunFolder], document: Mapping[str, Any]) -> tuple[dict[str, Drawn], list[str]]:
    """A PNG for all there is data for, by name, and a warning for each that could not be drawn or is not whole."""
    names, runs = document["names"][:DRAWN], [folder.run for folder in folders[:DRAWN]]
    tests = {name: run.get("metrics", {}).get("test") for name, run in zip(names, runs, strict=True)}
    timings = {name: run.get("timing", {}) for name, run in zip(names, runs, strict=True)}
    histories = {name: folder.history for name, folder in zip(names, folders[:DRAWN], strict=True)}
    drawings: dict[str, Callable[[], Chart]] = {}
    if any(row["kind"] == "epoch" for history in histories.values() for row in history):
        task = folders[0].task
        best = task.headline[0]
        drawings["curves"] = lambda: comparison_plots.curves(histories, best, task.titles[best])
    if counted := {name: test for name, test in tests.items() if test and "accuracy_low" in test}:
        drawings["accuracy"] = lambda: comparison_plots.accuracies(counted)
    if any(timings.values()):
        drawings["time"] = lambda: plots.time_split(timings)
    left_out = len(folders) - DRAWN
    told = [f"the pictures show the first {DRAWN} runs; {left_out} others are left out"] if left_out > 0 else []
    charts, failed = draw_each(drawings)
    return charts, told + failed
