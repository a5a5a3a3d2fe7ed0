"""A run's events as JSON lines on stdout, for programs that watch it.

In come the calls that a Screen gets; beside what that shows on stderr, out comes a line for each, with its `kind`:
`stage` (of a recipe with stages: name, number from 1, stages), `part` (of one with several draws, likewise: name,
number, parts), `begin` (step, steps), `row` and `epoch` (a row of history.jsonl), `note` (text), and `end` (status). A
reader that goes away costs the run nothing. Of a run that fails no `end` is told: the exit code and stderr say why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.recipe.showing import as_json
from zoo.runs.json_values import plain
from zoo.runs.screen import Screen


class Events(Screen):
    """A screen that also tells, on stdout, what happens."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = self._unheard = False

    def say(self, topic: str, text: str) -> None:
        super().say(topic, text)
        if topic in ("note", "warning"):
            self._tell("note", {"text": text})

    def on_stage(self, name: str, number: int, count: int) -> None:
        super().on_stage(name, number, count)
        self._tell("stage", {"name": name, "number": number, "stages": count})

    def on_part(self, name: str, number: int, count: int) -> None:
        super().on_part(name, number, count)
        self._tell("part", {"name": name, "number": number, "parts": count})

    def on_begin(self, step: int, steps: int) -> None:
        super().on_begin(step, steps)
        self._begun = True
        self._tell("begin", {"step": step, "steps": steps})

    def on_row(self, row: Mapping[str, Any]) -> None:
        super().on_row(row)
        self._tell("row" if row["kind"] == "step" else "epoch", row)

    def end(self, status: str) -> None:
        """The run is over; nothing is told of one that had nothing left to do."""
        if self._begun:
            self._tell("end", {"status": status})

    def _tell(self, kind: str, values: Mapping[str, Any]) -> None:
        if self._unheard:
            return
        try:
            print(as_json(plain({"kind": kind, **values} | {"kind": kind})), flush=True)
        except BrokenPipeError:
            self._unheard = True
