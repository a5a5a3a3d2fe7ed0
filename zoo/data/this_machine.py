"""This computer as an estimate sees it.

Nothing comes in; out come its peaks, measured in a blink by NumPy, and what a process holds before there is a model.
No backend is imported.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from zoo.recipe.estimate import Estimate, Machine, Precision

SIDE = 256
"""Rows and columns of the matrices whose product is timed: parts of a millisecond, less than other programs' turns."""
COPIED = 2**22
"""Numbers of the array whose copy is timed: larger than a core's caches."""
BLINK = 0.1
"""Seconds over which the quickest product, or copy, is sought."""
OWN_SHARE = 0.8
"""Of a blink's time that one thread has on a core where nothing else wants it, at least."""
REPEATS = 5
"""How often each is timed at least."""
PROCESS_BYTES = {"jax": 1.0e9, "tensorflow": 1.3e9, "torch": 0.7e9}
"""Of Python, a backend, Keras, and what reads and draws; measured on Linux."""
COMPILED_BYTES = {"jax": 0.085e9}
"""For each shape of a batch that a backend compiles as a whole, read from the cache; compiling takes up to three times
this, and differs from run to run."""
WORKING_SPACE = {"jax": 1.2, "tensorflow": 1.5, "torch": 1.5}
"""Times the activations that are kept: with what is there beside them while a layer is computed, likewise."""
SHAPES = {True: 2, False: 8}
"""Shapes of batches in training, packed or not."""
CONTAINER = Path("/sys/fs/cgroup")
"""Where Linux tells a container of its limits (control groups, version 2)."""
DATA_BYTES = 5
"""Bytes in memory for each byte of a data file: of texts and their tokens."""


def process_bytes(found: Estimate, precision: Precision, backend: str, data_bytes: int, *, packing: bool) -> int:
    """Peak of a process that trains on a CPU.

    Args:
        found: what the run takes.
        precision: of matrix products.
        backend: its name.
        data_bytes: of the files that are read.
        packing: whether texts share rows.
    """
    before = PROCESS_BYTES[backend] + COMPILED_BYTES.get(backend, 0.0) * SHAPES[packing] + DATA_BYTES * data_bytes
    return round(before + 4 * found.devices * found.parameters + _of_step(found, precision, backend))


def step_bytes(found: Estimate, precision: Precision, backend: str) -> int:
    """What a training step on a CPU takes beside the process and its weights; arguments as of `process_bytes`."""
    return round(_of_step(found, precision, backend))


def _of_step(found: Estimate, precision: Precision, backend: str) -> float:
    of_device = found.state_bytes - 4 * found.parameters + WORKING_SPACE[backend] * found.activations[precision]
    return found.devices * of_device  # all of them in this machine's memory


def free_bytes() -> int:
    """Memory that this process may still take: the computer's, within the limit of its container where it has one."""
    import psutil

    free: int = psutil.virtual_memory().available
    try:
        limit, taken = (int((CONTAINER / name).read_text("utf-8")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # none, or `max`
        return free
    return min(free, limit - taken)


def processor_told() -> str:
    """What Linux tells of its processors, /proc/cpuinfo; nothing elsewhere."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""


@functools.cache
def processor() -> str:
    """This computer's processor: its name, how many there are, and a mark of what it can do."""
    told = processor_told()
    name, flags = (re.search(rf"^{key}\s*:\s*(.*)$", told, re.MULTILINE) for key in ("model name", "flags"))
    mark = hashlib.sha256(flags[1].encode()).hexdigest()[:8] if flags else "unknown"
    return f"cpu: {name[1] if name else 'unnamed'}, {os.cpu_count()} cores, {mark}"


@functools.cache
def this_machine(bfloat16: float | None = None) -> Machine:
    """What NumPy's product reaches here, and a copy; memory is the computer's own.

    One core's product is timed and counts once a core: that of all cores waits for the slowest, and takes up to sixty
    times as long where other programs run.

    Args:
        bfloat16: how many times as quick a step is in bfloat16, as it was measured here; None where it was not.
    """
    square = np.ones((SIDE, SIDE), np.float32)
    line, copy = np.ones(COPIED, np.float32), np.empty(COPIED, np.float32)
    cores = os.cpu_count() or 1
    with threadpool_limits(1):
        flops = cores * 2.0 * SIDE**3 / _quickest(lambda: square @ square)
    precisions: dict[Precision, float] = {"float32": flops}
    if bfloat16 is not None:
        precisions["bfloat16"] = bfloat16 * flops
    return Machine(
        name=f"this CPU ({cores} cores, {flops / 1e9:,.0f} GFLOP/s measured)",
        flops=precisions,
        bandwidth=2.0 * line.nbytes / _quickest(lambda: np.copyto(copy, line)),
    )


def busy() -> bool:
    """Whether other programs take turns with this one, so that what is measured now says little of another time."""
    begun, computed = time.perf_counter(), time.thread_time()
    while (passed := time.perf_counter() - begun) < BLINK:
        pass
    return time.thread_time() - computed < OWN_SHARE * passed


def _quickest(work: Callable[[], object]) -> float:
    """Seconds of the quickest call within a blink."""
    seconds: list[float] = []
    started = time.perf_counter()
    while len(seconds) < REPEATS or time.perf_counter() - started < BLINK:
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
