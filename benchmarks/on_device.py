"""One check of what a device computes, in this process, on the backend of KERAS_BACKEND.

    KERAS_BACKEND=torch python benchmarks/on_device.py losses --precision bfloat16

Out comes a line of JSON on stdout: the device, and the answer of the check (device_checks.py). On a CPU kernels are
computed by their interpreters, at a small size.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.device import kinds  # noqa: E402
from benchmarks.unseen import Check  # noqa: E402
from zoo.backend import Precision, activate, own_process  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    names = ["facts", *(name for name in get_args(Check) if name != "speed")]
    parser.add_argument("check", choices=names, help="what to check")
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="float32", help="of `losses`; default: float32"
    )
    options = parser.parse_args(argv)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print
    if not kinds():
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is first imported
    own_process()
    backend = activate()
    from benchmarks.device_checks import CHECKS  # it imports Keras

    found = CHECKS[options.check](backend, options.precision)
    answers.write(json.dumps({"device": backend.device(), **found}) + "\n")
    answers.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
