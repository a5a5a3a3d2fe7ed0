"""The report of a search: one page with its charts, the best recipe, how far it spreads, and a table of trials.

In come the rows of a search and what its best recipe came to; out come report.html and plots/*.png in the sweep's
folder. What cannot be drawn becomes a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.data.writing import storage_errors, write_atomically
from zoo.report import pages
from zoo.report.drawing import Chart, Drawn, draw_each
from zoo.runs.run_folder import UNENCODABLE
from zoo.sweep import plots
from zoo.sweep.outcome import Row, told_best, told_values
from zoo.sweep.space import Plan
from zoo.tasks import Task

__all__ = ["write_page"]

CAPTIONS = {
    "parallel": "A line a trial, the better in stronger colours",
    "importance": "Of complete trials, by fANOVA (Hutter et al. 2014); with few trials it is a hint and no more",
    "progress": "Figures of validation, by which trials are chosen: the best of many is better than it is",
}


def write_page(out: Path, plan: Plan, task: Task, rows: Sequence[Row], found: Mapping[str, Any]) -> tuple[str, ...]:
    """Write the page and its pictures; returns warnings. `found` is what sweep.json says."""
    monitor = plan.recipe.monitor
    named, kind = task.titles.get(monitor, monitor), task.kind(monitor)
    falling = monitor in task.falling
    drawings: dict[str, Callable[[], Chart]] = {}
    if found["cost"]["trials"].get("complete", 0) > 1:
        drawings["parallel"] = lambda: plots.parallel(rows, plan.parameters, named=named, kind=kind, falling=falling)
    if found["importance"]:
        drawings["importance"] = lambda: plots.importance(found["importance"])
    if found["best"]:
        drawings["progress"] = lambda: plots.progress(rows, named=named, kind=kind, falling=falling)
    charts, failed = draw_each(drawings, "plots/")
    thin = "; thin ones were pruned" if "pruned" in found["cost"]["trials"] else ""
    page = pages.html(
        "sweep.html.j2",
        plan=plan,
        task=task,
        named=named,
        rows=[(row, told_values(row.values)) for row in sorted(rows, key=lambda row: _order(row, falling))],
        found=found,
        best=told_best(found["best"]) if found["best"] else None,
        charts=[(CAPTIONS[name] + thin * (name == "parallel"), chart) for name, chart in charts.items()],
        warnings=failed,
    )
    with storage_errors(out):
        _write_charts(out, charts)
        with write_atomically(out / "report.html") as file:
            file.write(page.encode(errors=UNENCODABLE))
    return tuple(failed)


def _write_charts(out: Path, charts: Mapping[str, Drawn]) -> None:
    for name in CAPTIONS:
        (out / "plots" / f"{name}.png").unlink(missing_ok=True)
    for name, chart in charts.items():
        with write_atomically(out / "plots" / f"{name}.png") as file:
            file.write(chart.light)


def _order(row: Row, falling: bool) -> tuple[int, float, int]:
    """Complete trials first, the best of them before the others."""
    place = {"complete": 0, "pruned": 1}.get(row.status, 2)
    value = 0.0 if row.value is None else row.value if falling else -row.value
    return place, value, row.number
