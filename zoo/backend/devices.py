"""Accelerators of this machine, seen without a backend: which are here, and what a backend lacks to use them.

In comes a backend's name; out come sentences for people and the precisions to expect. Looked at are device files, the
library of NVIDIA's driver, environment variables and what is installed. Nothing is refused.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from zoo.backend.precision import ON_CPU, Precision, precisions_of_nvidia
from zoo.errors import EnvironmentFault

FILES, PCI = Path("/dev"), Path("/sys/bus/pci/devices")
TPUS = {f"0x{number:04x}" for number in (0x27, 0x56, 0x5E, 0x62, 0x63, 0x6F, 0x76)}
"""Google's PCI numbers of TPUs, as jax/_src/hardware_utils.py has them."""
GOOGLE = "0x1ae0"
NVML = "libnvidia-ml.so.1"
NOTES = "import tensorflow; tensorflow.config.list_physical_devices('GPU')"
LOUD = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "dso_loader=1"}
"""With these TensorFlow says which library it did not find, and not only that one is missing."""

Kind = Literal["nvidia", "tpu"]
NAMES: dict[Kind, str] = {"nvidia": "an NVIDIA GPU", "tpu": "a TPU"}
LINES: dict[tuple[Kind, str], str] = {
    ("nvidia", "jax"): "pip install 'text-zoo[jax-cuda]'",
    ("nvidia", "tensorflow"): "pip install 'text-zoo[tensorflow-cuda]'",
    ("nvidia", "torch"): "pip install --force-reinstall torch, from an index that has its build with CUDA",
    ("tpu", "jax"): "pip install 'text-zoo[tpu]'",
}
"""What installs what a backend needs for a device."""
DEVICE_VARIABLES = {"jax": ("JAX_PLATFORMS", "JAX_PLATFORM_NAME"), "torch": ("KERAS_TORCH_DEVICE",)}
"""Environment variables by which the user chooses a backend's device."""
CHECKS: dict[Kind, str] = {
    "nvidia": "run nvidia-smi, which tells whether the driver runs and up to which CUDA",
    "tpu": "end the process that holds it, as it serves one at a time",
}


def present() -> list[Kind]:
    """The kinds of accelerator whose device files are here."""
    found: list[Kind] = []
    names = {path.name for path in FILES.glob("*")}
    # On Windows' Linux all graphics is one file, whoever made the device.
    if any(re.fullmatch(r"nvidia\d+", name) for name in names) or ("dxg" in names and shutil.which("nvidia-smi")):
        found.append("nvidia")
    # Files of vfio are of any device that a virtual machine was given.
    given = any(path.name.isdigit() for path in (FILES / "vfio").glob("*"))
    if "accel0" in names or (given and any(_said(path / "device") in TPUS for path in _of_google())):
        found.append("tpu")
    return found


def _of_google() -> list[Path]:
    return [path for path in PCI.glob("*") if _said(path / "vendor") == GOOGLE]


def _said(file: Path) -> str:
    """What a file of the kernel says; nothing where it cannot be read."""
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def turned_off(kind: Kind, backend: str) -> bool:
    """Whether the user keeps the backend from such a device, by an environment variable."""
    on_cpu = any(re.match(r"cpu\b", os.environ.get(name, "")) for name in DEVICE_VARIABLES.get(backend, ()))
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "all").split(",")[0].strip()
    return on_cpu or (kind == "nvidia" and first in ("", "-1"))


def undivided(name: str, asked: int) -> EnvironmentFault | None:
    """What a backend says to so many parts of a weight (`training.model_parallel`) whose devices each hold a whole
    model."""
    if asked == 1 or name == "jax":
        return None
    return EnvironmentFault(
        f"training.model_parallel: got {asked}, but on {name} each device has all weights: use 1, or KERAS_BACKEND=jax"
    )


def by_processes(name: str) -> bool:
    """Whether each of a backend's `training.devices` has a process of its own."""
    return name == "torch"


def by_own_rows(name: str) -> bool:
    """Whether each of a backend's `training.devices` sees its own rows of a batch alone."""
    return name != "jax"


def unused(backend: str) -> list[str]:
    """What to say where the backend computes on the CPU: for each accelerator that is here, what would change that."""
    return [
        f"{NAMES[kind]} is in this machine and {backend} computes on the CPU: {_remedy(kind, backend)}"
        for kind in present()
        if not turned_off(kind, backend)
    ]


def device_notes(backend: str) -> list[tuple[str, str]]:
    """Topic and text of what is known of this machine's accelerators before the backend is imported."""
    notes = []
    for kind in present():
        if turned_off(kind, backend):
            continue
        if lacking(kind, backend) is None:
            notes.append(("device", f"{NAMES[kind]}; what {backend} needs to use it is installed"))
        else:
            text = f"{NAMES[kind]} is in this machine and {backend} would compute on the CPU"
            notes.append(("warning", f"{text}: {_remedy(kind, backend)}"))
    return notes


def precisions_here(backend: str) -> tuple[Precision, ...] | None:
    """How the backend's device will multiply, the most exact first; None where that is not known before it runs."""
    if "nvidia" not in present() or turned_off("nvidia", backend) or lacking("nvidia", backend) is not None:
        return ON_CPU
    capability = highest_capability()
    return None if capability is None else precisions_of_nvidia(capability)


def _remedy(kind: Kind, backend: str) -> str:
    """What is wrong, and one thing to do."""
    missing = lacking(kind, backend)
    if missing is None:
        return f"what {backend} needs for it is installed and finds none: {CHECKS[kind]}"
    if (kind, backend) in LINES:
        return f"it lacks {missing}: {LINES[kind, backend]}"
    return f"it is used through jax alone: {LINES[kind, 'jax']} and set KERAS_BACKEND=jax"


def lacking(kind: Kind, backend: str) -> str | None:
    """What the backend lacks for such a device; None where it is all installed. No backend is imported."""
    if (kind, backend) not in LINES:
        return "support for it"
    if backend == "torch":
        return _without_cuda()
    if backend == "tensorflow":
        missing = [name for name in _cuda_of_tensorflow() if not _installed(name)]
        more = f" and {len(missing) - 1} more of CUDA's packages" if len(missing) > 1 else ""
        return missing[0] + more if missing else None
    plugins = ("jax-cuda13-plugin", "jax-cuda12-plugin") if kind == "nvidia" else ("libtpu",)
    return None if any(map(_installed, plugins)) else plugins[0]


def _without_cuda() -> str | None:
    """What a torch is that was built without CUDA; None of one with it."""
    found = importlib.util.find_spec("torch")
    told = "" if found is None or found.origin is None else _said(Path(found.origin).with_name("version.py"))
    if re.search(r"^cuda\b[^=]*= *['\"]", told, re.MULTILINE):
        return None
    number = re.search(r"^__version__ *= *['\"](.+)['\"]", told, re.MULTILINE)
    return f"CUDA ({number[1] if number else 'its version is not known'} is a build without)"


def _cuda_of_tensorflow() -> list[str]:
    """The packages that `tensorflow[and-cuda]` asks for here; tensorflow itself where it goes by another name."""
    try:
        listed = map(Requirement, requires("tensorflow") or [])
    except PackageNotFoundError:
        return ["tensorflow"]

    def asked(each: Requirement, extra: str) -> bool:
        return each.marker is None or each.marker.evaluate({"extra": extra})

    return [each.name for each in listed if asked(each, "and-cuda") and not asked(each, "")]


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def highest_capability() -> tuple[int, int] | None:
    """The highest compute capability of the NVIDIA GPUs, as their driver tells; None where it tells none."""
    try:
        nvml = ctypes.CDLL(NVML)
    except OSError:
        return None
    if nvml.nvmlInit_v2() != 0:
        return None
    found = []
    count, handle, major, minor = ctypes.c_uint(), ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
    nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for number in range(count.value):
        if nvml.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(handle)) == 0 and (
            nvml.nvmlDeviceGetCudaComputeCapability(handle, ctypes.byref(major), ctypes.byref(minor)) == 0
        ):
            found.append((major.value, minor.value))
    nvml.nvmlShutdown()
    return max(found, default=None)


def tensorflow_notes() -> str:
    """What TensorFlow says, in a process of its own, of the libraries of GPUs that it did not find; maybe nothing."""
    done = subprocess.run(
        [sys.executable, "-c", NOTES], env=os.environ | LOUD, capture_output=True, text=True, check=False
    )
    said = re.compile(r"could not|cannot|failed|skipping", re.IGNORECASE)
    return "\n".join(line for line in done.stderr.splitlines() if said.search(line))
