"""All that was measured as one long table, a value a row: what pandas, R or a spreadsheet wants.

In comes the document of compare.py; out come its rows, and the text of results.csv. README.md says what the columns
hold. What failed or was not run has no row; nothing is refused.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = ("recipe", "profile", "backend", "peer", "precision", "seed", "round", "figure", "value", "unit")
OF_A_RUN = ("test", "tally", "timing", "padding_fraction", "memory", "time_to_target_seconds")
OF_A_PROCESS = ("seconds", "compile_seconds", "shapes", "padding_fraction", "memory")
"""What is told of a whole run, and of a process whose speed was measured, but for its rounds."""
UNITS = {
    "tokens_per_second": "tokens/s",
    "examples_per_second": "examples/s",
    "flops_per_second": "FLOP/s",
    "seconds": "s",
    "bytes": "B",
}
"""By how a figure's name ends, or the name that it stands under."""
PEERS_BACKEND = "torch"

Row = dict[str, Any]


def rows(document: Mapping[str, Any]) -> Iterator[Row]:
    """A row for each value, whole runs first; None where a column says nothing of it."""
    for run in document["results"]:
        if "test" in run:
            for figure, value in _values({key: run[key] for key in OF_A_RUN if key in run}):
                yield _row(run, run, figure, value, seed=run["seed"])
    for measured in document["speed"]:
        for process in measured["rows"]:
            for figure, value in _values({key: process[key] for key in OF_A_PROCESS if key in process}):
                yield _row(measured, process, figure, value)
            for number, answers in enumerate(process.get("rounds", ())):
                for figure, value in answers.items():
                    yield _row(measured, process, figure, value, round=number)


def text(document: Mapping[str, Any]) -> str:
    """The rows as CSV with a header; what is None is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(document))
    return buffer.getvalue()


def _row(of: Mapping[str, Any], who: Mapping[str, Any], figure: str, value: float, **where: int) -> Row:
    blank = dict.fromkeys(COLUMNS)
    told = {
        "recipe": of["recipe"],
        "profile": of["profile"],
        "backend": PEERS_BACKEND if who["peer"] else who["backend"],
        "peer": who["contender"] if who["peer"] else None,
        "precision": who.get("precision"),
    }
    return blank | told | where | {"figure": figure, "value": value, "unit": unit(figure)}


def unit(figure: str) -> str:
    """The unit of a figure; `1` of a share, a loss or a number of things."""
    for part in reversed(figure.split(".")):
        for ending, found in UNITS.items():
            if part == ending or part.endswith(f"_{ending}"):
                return found
    return "1"


def _values(found: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a nested value, under names joined by dots."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            yield from _values(value, f"{name}.{key}" if name else str(key))
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield name, found
