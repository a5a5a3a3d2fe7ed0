"""What a backend says of itself when it is asked in a process of its own, so that one that is broken ends nothing.

In comes its name; out come its version, device and precisions, or why there is no answer. Nothing is refused.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from signal import Signals
from typing import Any

__all__ = ["Answer", "ask"]

PATIENCE = 180.0
"""Seconds that a backend may take to be imported and to multiply two numbers, on a machine that has others to serve."""
MARK = "zoo-backend:"
QUESTION = f"""
import json, sys
from zoo import backend
found = backend.activate()
import keras
assert float(keras.ops.matmul(keras.ops.ones((1, 2)), keras.ops.ones((2, 1)))[0, 0]) == 2.0
told = {{"version": found.version(), "device": found.device(), "precisions": found.precisions()}}
print("{MARK}" + json.dumps(told))
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a backend said. fault: why it did not, in a line; None where it did. seconds: until then."""

    seconds: float
    fault: str | None = None
    version: str | None = None
    device: str | None = None
    precisions: list[str] = field(default_factory=list)


def ask(name: str, *, patience: float = PATIENCE) -> Answer:
    """Import a backend and multiply on its device, in a process of its own.

    Args:
        name: of the backend.
        patience: seconds after which it is given up.
    """
    begun = time.monotonic()

    def answer(**told: Any) -> Answer:
        return Answer(seconds=round(time.monotonic() - begun, 1), **told)

    given = os.environ | {"KERAS_BACKEND": name}
    try:
        done = subprocess.run(
            [sys.executable, "-c", QUESTION], env=given, capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired:
        return answer(fault=f"no answer within {patience:.0f} s")
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            return answer(**json.loads(line.removeprefix(MARK)))
    if done.returncode < 0:
        return answer(fault=f"its process died of {Signals(-done.returncode).name}")
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return answer(fault=said[-1] if said else f"its process ended in {done.returncode} without a word")
