"""What the tests of searches share: a search of a shipped recipe, and how it is read."""

from __future__ import annotations

from pathlib import Path

from zoo import cli
from zoo.sweep.reading import read_plan
from zoo.sweep.space import Plan

RATE, SIZE = "training.optimizer.learning_rate", "training.batch_size"
SOUND = f"""
name: tried
recipe: quickstart
profile: smoke
search:
  {RATE}: {{low: 1.0e-4, high: 1.0e-2, log: true}}
  {SIZE}: [8, 16, 32]
trials: 6
"""


def read(tmp_path: Path, text: str = SOUND) -> Plan:
    path = tmp_path / "tried.yaml"
    path.write_text(text, encoding="utf-8")
    return read_plan(path, cli.find_recipe)
