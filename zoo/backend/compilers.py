"""Compilers for devices that are not here: where they lie, and what a process that loads one is given.

In comes the name of a device; out goes a `Target`, or the environment of a process in which
`zoo.backend.ahead_of_time` compiles for it. No backend is imported. Refused: a compiler that is not installed.

They are XLA's own, of jax's TPU and CUDA packages, and need no device. A machine without a TPU has them in a folder of
their own, by `pip install --target`: jax looks for a TPU wherever libtpu is installed beside it.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, requires
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from zoo.errors import EnvironmentFault

COMPILERS = "ZOO_COMPILERS"
"""The environment variable that names the folder."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A device to compile for: its name, its platform as `compiled_for` has it, and what `zoo.recipe.estimate` calls
    it."""

    name: str
    platform: Literal["tpu", "gpu"]
    machine: str


TARGETS = {
    target.name: target
    for target in (
        Target(name="v5e", platform="tpu", machine="TPU v5e"),
        Target(name="v6e", platform="tpu", machine="TPU v6e"),
        Target(name="h100", platform="gpu", machine="H100"),
        Target(name="a100", platform="gpu", machine="A100"),
    )
}
"""By name."""

MOST_DEVICES = 256
"""Of a slice of TPUs; no more GPUs are asked for either."""

_EXTRAS = {"tpu": ("tpu", "libtpu"), "gpu": ("cuda13", "jax-cuda13-plugin")}
"""Of a platform: jax's extra, and the package in it that brings the compiler."""


def environment(target: Target, folder: Path | None) -> dict[str, str]:
    """What a process that compiles for a target has in its environment, beside what it has anyway.

    Args:
        target: what is compiled for.
        folder: where the compiler was installed by `pip install --target`; None looks where Python looks.

    Raises:
        EnvironmentFault: it is not there; the message has the line that installs it.
    """
    found = _tpu(folder) if target.platform == "tpu" else _cuda(folder)
    if found is None:
        where = f"in {folder}" if folder is not None else f"beside this Python, and neither --compilers nor {COMPILERS}"
        named = "" if folder is not None else " names a folder"
        raise EnvironmentFault(
            f"the compiler for {target.machine} is not {where}{named}, expected {_EXTRAS[target.platform][1]}: "
            f"{install_line(target, folder)}, and pass --compilers {shlex.quote(str(folder or 'compilers'))}"
        )
    # Nothing runs on an accelerator, and none is looked for.
    return {"JAX_PLATFORMS": "cpu", "KERAS_BACKEND": "jax", **found}


def install_line(target: Target, folder: Path | None = None) -> str:
    """The command that installs the compiler for a target, of the version that belongs to the jax that is here."""
    extra, package = _EXTRAS[target.platform]
    try:
        stated = [Requirement(text) for text in requires("jax") or ()]
    except PackageNotFoundError:
        raise EnvironmentFault("the backend jax is not installed: pip install 'text-zoo[jax]'") from None
    wanted = package
    for each in stated:
        if each.name == package and each.marker is not None and each.marker.evaluate({"extra": extra}):
            wanted = f"{package}{'[' + ','.join(sorted(each.extras)) + ']' if each.extras else ''}{each.specifier}"
    return f"pip install --target {shlex.quote(str(folder or 'compilers'))} {shlex.quote(wanted)}"


def version_of(target: Target, folder: Path | None) -> str:
    """The compiler with its version, as `libtpu 0.0.42`."""
    package = _EXTRAS[target.platform][1]
    for found in distributions(name=package, path=[*([str(folder)] if folder else []), *sys.path]):
        return f"{package} {found.version}"
    return f"{package} of an unknown version"


def reach(folder: Path | None) -> None:
    """Let this process import what lies in the folder, and is not installed beside it."""
    if folder is not None:
        sys.path.append(str(folder))


def _tpu(folder: Path | None) -> dict[str, str] | None:
    found = _package("libtpu", folder)
    library = found / "libtpu.so" if found else None
    if library is None or not library.is_file():
        return None
    return {
        "TPU_LIBRARY_PATH": str(library),
        # What it would ask a cloud machine about itself, and whether another process has the device.
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "true",
    }


def _cuda(folder: Path | None) -> dict[str, str] | None:
    plugins = _package("jax_plugins", folder)
    if plugins is None or not (plugins / "xla_cuda13").is_dir():
        return None
    site = plugins.parent
    tools = [
        path.parents[1] for path in site.glob("nvidia/*/nvvm/libdevice") if (path.parents[1] / "bin/ptxas").is_file()
    ]
    if not tools:
        return None
    libraries = sorted(str(path) for path in site.glob("nvidia/**/lib") if path.is_dir())
    given = os.environ.get("LD_LIBRARY_PATH")
    flags = ["--xla_gpu_autotune_level=0", f"--xla_gpu_cuda_data_dir={tools[0]}"]  # to tune it would run kernels
    return {
        "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
        "LD_LIBRARY_PATH": os.pathsep.join([*libraries, *([given] if given else [])]),
        "XLA_FLAGS": " ".join([*filter(None, [os.environ.get("XLA_FLAGS")]), *flags]),
    }


def _package(name: str, folder: Path | None) -> Path | None:
    """The folder of a package: in `folder`, or where Python finds it."""
    if folder is not None:
        return folder / name if (folder / name).is_dir() else None
    found = importlib.util.find_spec(name)
    places = list(found.submodule_search_locations or ()) if found is not None else []
    return Path(places[0]) if places else None
