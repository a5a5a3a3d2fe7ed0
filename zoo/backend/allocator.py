"""What a process does with the memory that it frees.

In comes nothing; the C library's allocator is set for the whole process. Nothing is refused.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Names of glibc's settings, from malloc.h."""
KEPT_BYTES = 2**30


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next step, whichever thread asks for it.

    By default it hands arrays of megabytes back to the system at once, and every step pays for thousands of page faults
    again: a quarter of a step on jax, a tenth on torch (docs/decisions/0007). A C library without such a call is left
    as it is.
    """
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    if adjust is not None:
        adjust(M_ARENA_MAX, 1)  # the other arenas are too small for such arrays
        adjust(M_MMAP_THRESHOLD, KEPT_BYTES)
        adjust(M_TRIM_THRESHOLD, KEPT_BYTES)
