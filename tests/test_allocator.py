"""Freed memory that is kept: counted by the page faults that asking for it again costs."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import resource, sys, threading
import numpy as np
from zoo.backend import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def steps():
    for step in range(10):
        [np.ones(2**22, np.float32) for _ in range(3)]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work = threading.Thread(target=steps)  # as XLA, whose threads are not the main one
    work.start()
    work.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def test_what_is_freed_is_not_asked_for_again() -> None:
    def faults(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60
        )
        return int(done.stdout)

    assert faults("kept") < 0.05 * faults("given back")
