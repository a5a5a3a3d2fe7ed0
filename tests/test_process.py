"""A command sets up its process as it needs; what the zoo does as a library is held by tests/test_backends.py."""

from __future__ import annotations

import subprocess
import sys


def test_a_command_sets_the_allocator() -> None:
    """As the test of a library would see."""
    code = "import zoo.backend as b\nb.keep_freed_memory = lambda: print('set')\nb.own_process()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set\n"
