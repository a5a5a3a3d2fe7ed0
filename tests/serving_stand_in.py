"""A run that needs no backend: what the tests of the server put in the place of a real one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from zoo.errors import DataError
from zoo.tasks.classification import Classification

NAMES = ("bad <b>", "good")


@dataclass
class StandIn:
    """Its probability of `good` is a function of each text alone, and it notes who asked for what."""

    path: Path = Path("runs/stand-in")
    metrics: dict[str, Any] = field(default_factory=lambda: {"test": {"accuracy": 0.875, "rows": 1234}})
    task: Classification = field(default_factory=lambda: Classification(names=NAMES))
    card: Any = field(
        default_factory=lambda: SimpleNamespace(
            tokens=SimpleNamespace(max_length=128), blueprint=SimpleNamespace(tasks={})
        )
    )
    calls: list[tuple[int, str]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def named(self, values: np.ndarray) -> Any:
        return self.task.predictions(values)

    def values(self, texts: Sequence[str], pairs: Sequence[str] | None = None, **_: Any) -> np.ndarray:
        self.gate.wait(10)
        self.calls.append((len(texts), threading.current_thread().name))
        if any("refuse me" in text for text in texts):
            raise DataError("a text is at fault")
        if any("a bug" in text for text in texts):
            raise ValueError(f"secret {texts}")
        good = np.array([good_share(text) for text in texts])
        return np.stack([1 - good, good], axis=1)


@dataclass
class Word:
    start: int
    end: int
    of: str
    score: float


def good_share(text: str) -> float:
    return (sum(map(ord, text)) % 997) / 997


def weigh(
    run: Any, text: str, pair: str | None = None, *, label: str | None = None, method: str = "integrated_gradients"
) -> list[Word]:
    """Words between spaces; the odd ones speak for the class, the longer the more."""
    assert method == "occlusion"
    assert label in NAMES
    words = []
    for of, part in (("text", text), ("pair", pair or "")):
        start = 0
        for number, word in enumerate(part.split(" ")):
            if word:
                words.append(Word(start, start + len(word), of, len(word) * (0.1 if number % 2 else -0.05)))
            start += len(word) + 1
    return words
