"""The accelerators of a machine: which one is measured, and what there is to know of it.

In come what NVIDIA's driver, the installed packages and the environment say; out come plain values for results.json.
No framework is imported, so that nothing holds the device meanwhile. What is not told is left out.
"""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from zoo.backend.devices import Kind, present, turned_off
from zoo.recipe.estimate import MACHINES, Precision

FILES = Path("/dev")
QUERY_SECONDS = 20.0
"""How long NVIDIA's command may take to answer; a driver that hangs does not end."""
ASKED = (
    "name",
    "driver_version",
    "memory.total",
    "power.limit",
    "clocks.max.sm",
    "persistence_mode",
    "mig.mode.current",
)
"""What `nvidia-smi --query-gpu` is asked of each GPU; `nvidia-smi --help-query-gpu` explains them."""
LIBRARIES = re.compile(
    r"(nvidia-(cuda-runtime|cudnn|cublas|nccl)(-cu\d+)?|jax-cuda\d+-(plugin|pjrt)|libtpu|triton|flash[-_]attn)$"
)
"""Installed distributions that compute on a device, beside the frameworks."""
ONE_CHIP = {"TPU_VISIBLE_CHIPS": "0", "TPU_CHIPS_PER_PROCESS_BOUNDS": "1,1,1", "TPU_PROCESS_BOUNDS": "1,1,1"}
"""With these a process takes the first of a machine's TPU chips (cloud.google.com/tpu/docs, libtpu)."""


def kinds() -> list[Kind]:
    """The accelerators that are here and that the environment does not turn off for every backend."""
    return [kind for kind in present() if not turned_off(kind, "")]


def one_of_several(environment: Mapping[str, str]) -> dict[str, str]:
    """What has to be added to an environment so that each contender sees the same one device.

    Args:
        environment: the present one; what it says of visible devices is left as it is.
    """
    found: dict[str, str] = {}
    here = kinds()
    if "nvidia" in here and "CUDA_VISIBLE_DEVICES" not in environment:
        # The order of the bus, as nvidia-smi has it; by default CUDA takes the fastest for the first.
        found |= {"CUDA_DEVICE_ORDER": environment.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), "CUDA_VISIBLE_DEVICES": "0"}
    if "tpu" in here and not any(name in environment for name in ("TPU_VISIBLE_CHIPS", "TPU_VISIBLE_DEVICES")):
        # Of a machine with one chip nothing has to be said.
        found |= ONE_CHIP if chips() > 1 else {}
    return found


def chips() -> int:
    """TPU chips whose device files are here."""
    return len([path for path in FILES.glob("accel*") if path.name[5:].isdigit()]) or len(
        [path for path in FILES.glob("vfio/*") if path.name.isdigit()]
    )


def facts() -> dict[str, Any]:
    """What is known of the accelerators; empty where there are none.

    Returns:
        gpus (a mapping each, as nvidia-smi tells it; or `unknown`, why it told nothing), tpu_chips, visible (the
        environment that chooses one), libraries (versions of what computes on a device).
    """
    here = kinds()
    if not here:
        return {}
    found: dict[str, Any] = {}
    if "nvidia" in here:
        found |= nvidia()
    if "tpu" in here:
        found["tpu_chips"] = chips()
    given = os.environ | one_of_several(os.environ)
    wanted = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", *ONE_CHIP, "TPU_VISIBLE_DEVICES")
    found["visible"] = {name: given[name] for name in wanted if name in given}
    found["libraries"] = libraries()
    return found


def nvidia() -> dict[str, Any]:
    """`gpus` and the highest CUDA of the driver as nvidia-smi tells them; `unknown` where it does not."""
    try:
        asked = _told("--query-gpu=" + ",".join(ASKED), "--format=csv,noheader,nounits")
        said = re.search(r"CUDA (?:UMD )?Version *: *([\d.]+)", _told("-q"))
    except (OSError, subprocess.SubprocessError) as error:
        return {"unknown": f"nvidia-smi: {type(error).__name__}: install it for driver, power limit and clocks"}
    rows = csv.reader(io.StringIO(asked), skipinitialspace=True)
    gpus = [
        {name: value for name, value in zip(ASKED, row, strict=False) if value and not value.startswith("[")}
        for row in rows
        if row
    ]
    return {"gpus": gpus, **({"driver_cuda": said[1]} if said else {})}


def _told(*words: str) -> str:
    done = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, check=True, timeout=QUERY_SECONDS)
    return done.stdout


def libraries() -> dict[str, str]:
    """Versions of CUDA's, cuDNN's and TPU libraries as they are installed beside the frameworks."""
    versions = {(each.metadata["Name"] or "").lower(): each.version for each in distributions()}
    return {name: versions[name] for name in sorted(versions) if LIBRARIES.fullmatch(name)}


def data_sheet(device: str, precision: Precision) -> float | None:
    """The maker's peak of a device in operations a second, as `zoo.recipe.estimate.MACHINES` has it.

    Args:
        device: as a backend names it, `gpu: NVIDIA H100 80GB HBM3`.
        precision: of the products.

    Returns:
        None for a device of another name, and a precision that the sheet does not have.
    """
    said = device.replace("TPU v5 lite", "TPU v5e")  # libtpu's name of it
    for machine in MACHINES:
        if re.search(rf"(?<!\w){re.escape(machine.name)}(?!\w)", said):
            return machine.flops.get(precision)
    return None
