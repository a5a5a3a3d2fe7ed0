"""Starts as many processes of a command as share a run: torchrun's launcher, on one machine.

In come the command's words; out comes the exit code of the process that failed first, or 0; of one that was killed,
which cannot say so itself, it is told. A signal is passed on to all of them.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Callable, Sequence

__all__ = ["launch"]

SAVING = 600
"""Seconds that processes have to write a checkpoint in, after a signal."""


def launch(module: str, words: Sequence[str], processes: int, tell: Callable[[str], None]) -> int:
    """Run `python -m MODULE WORDS...` in so many processes; gives the exit code."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Each would have a thread a core.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    for name in list(logging.root.manager.loggerDict):  # the processes say themselves what is wrong
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        shutdown_timeout=SAVING,
    )
    try:
        elastic_launch(config, sys.executable)("-m", module, *words)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        code = failure.exitcode
        if code >= 0:
            return code
        tell(f"process {number} of the run was ended by {signal.Signals(-code).name}: go on with --resume")
        return 128 - code
    except SignalException as error:
        return 128 + error.sigval
    return 0
