"""`python -m zoo.doctor`: what this machine has, as one report to paste.

Nothing comes in; out come versions, what each backend says when it is asked in a process of its own, the hash of every
file of the cache against what was recorded, disk and memory. Home folders are shortened to ~, of the environment those
variables are told that decide how a run computes, and what looks like a secret is left out. No network is used. Ends in
4 where something is broken: no backend that computes, a damaged file.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from zoo import backend, cli
from zoo.backend.asking import Answer, ask
from zoo.data.sources import cache_folder
from zoo.data.sources.health import Kept, kept, size_of
from zoo.data.this_machine import free_bytes, processor
from zoo.data.writing import nearest
from zoo.errors import EnvironmentFault
from zoo.recipe.hiding import hide_line
from zoo.runs.screen import Screen

PACKAGES = (
    *("text-zoo", "keras", "keras-hub", "jax", "jaxlib", "tensorflow", "torch", "numpy", "scipy", "scikit-learn"),
    *("tokenizers", "safetensors", "pyarrow", "pydantic", "huggingface_hub", "kagglehub"),
)
SETTINGS = (
    *("KERAS_BACKEND", "KERAS_HOME", "KERAS_TORCH_DEVICE", "ZOO_CACHE", "HF_HUB_OFFLINE", "OMP_NUM_THREADS"),
    *("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_ENABLE_X64", "XLA_FLAGS", "CUDA_VISIBLE_DEVICES", "ZOO_CPU_DEVICES"),
    *("TF_CPP_MIN_LOG_LEVEL", "TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_PREALLOCATE", "PYTHONIOENCODING"),
)
"""Environment variables that are told; no other is read."""
LITTLE = 2 * 10**9
"""Bytes of disk below which a run may not end."""


@dataclass(kw_only=True)
class Findings:
    """All that was found; `backends` by name, None of those that are not installed."""

    system: dict[str, str]
    packages: dict[str, str]
    settings: dict[str, str]
    backends: dict[str, Answer | None]
    devices: list[str]
    cache: dict[str, Any]
    parts: list[Kept]
    memory: dict[str, int]
    disk: dict[str, dict[str, int]]
    warnings: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def examine(screen: Screen) -> Findings:
    """Look at everything; takes as long as the backends take to be imported, and the cache to be hashed."""
    names = backend.installed()
    answers: dict[str, Answer | None] = dict.fromkeys(backend.NAMES)
    with screen.bar("backends", len(names), "steps") as advance:
        for name in names:
            answers[name] = ask(name)
            advance(1)
    cache = cache_folder()
    files, size = size_of(cache)
    with screen.bar("cache", size, "bytes") as advance:
        parts = list(kept(advance))
    found = Findings(
        system={
            "text-zoo": next(iter(backend.versions("text-zoo").values()), "not installed"),
            "python": f"{platform.python_version()} ({platform.python_implementation()})",
            "platform": platform.platform(),
            "processor": processor(),
        },
        packages=backend.versions(*PACKAGES),
        settings={name: os.environ[name] for name in SETTINGS if name in os.environ},
        backends=answers,
        devices=[text for name in names for _, text in backend.device_notes(name)],
        cache={"folder": str(cache), "files": files, "bytes": size},
        parts=parts,
        memory=_memory(),
        disk={str(place): _disk(place) for place in dict.fromkeys((nearest(cache), Path.cwd()))},
    )
    found.faults += [text for part in parts for text in part.faults]
    for name, each in answers.items():
        if each is not None and each.fault is not None:
            repair = f"install it anew by `pip install --force-reinstall 'text-zoo[{name}]'`, or take another"
            found.faults.append(f"{name} does not work ({each.fault}): {repair}")
    if not names:
        found.faults.append("no Keras backend is installed: pip install 'text-zoo[jax]'")
    found.faults += list(dict.fromkeys(text for name in names for text in backend.outdated(name)))
    for place, room in found.disk.items():
        if room["free"] < LITTLE:
            found.warnings.append(f"{place} has {decimal(room['free'])} left: a run of a large model needs more")
    unfinished = sum(part.unfinished for part in parts)
    if unfinished:
        found.warnings.append(f"{decimal(unfinished)} of downloads have not ended: `python -m zoo.fetch` goes on there")
    return found


def doctor(
    output: cli.FormatOption = "text",
    debug: cli.DebugOption = False,
) -> int:
    """Backends, devices, versions, cache, disk and memory of this machine, as one report to paste.

    Example: python -m zoo.doctor --format json
    """
    found = examine(Screen())
    if output == "json":
        code = EnvironmentFault.exit_code if found.faults else 0
        print(json.dumps(_clean(asdict(found) | {"ok": not found.faults, "exit_code": code}), indent=2))
        return code
    for topic, text in told(found):
        cli.tell_of(topic, _clean(text))
    if found.faults:
        raise EnvironmentFault(_clean(found.faults))
    return 0


def told(found: Findings) -> list[tuple[str, str]]:
    """The report for people, a topic and a text a line; faults are not in it."""
    lines = [(name, text) for name, text in found.system.items()]
    lines.append(("packages", ", ".join(f"{name} {number}" for name, number in found.packages.items())))
    lines += [("setting", f"{name}={value}") for name, value in found.settings.items()]
    for name, answer in found.backends.items():
        if answer is None:
            lines.append((name, "not installed"))
        elif answer.fault is not None:
            lines.append((name, f"does not work, after {answer.seconds:.1f} s"))
        else:
            which = f"{answer.version} on {answer.device}, in {', '.join(answer.precisions)}"
            lines.append((name, f"{which}; imported and tried in {answer.seconds:.1f} s"))
    lines += [("device", text) for text in dict.fromkeys(found.devices)]
    lines.append(
        ("memory", f"{decimal(found.memory['total'])}, of which a run may take {decimal(found.memory['free'])}")
    )
    for place, room in found.disk.items():
        lines.append(("disk", f"{place}: {decimal(room['free'])} of {decimal(room['total'])} left"))
    cache = found.cache
    lines.append(("cache", f"{cache['folder']}: {cache['files']:,} files, {decimal(cache['bytes'])}"))
    for part in found.parts:
        state = f"{len(part.faults)} faults" if part.faults else "sound" if part.checked else "not checked"
        lines.append(("cached", f"{part.name} ({part.what}): {part.files:,} files, {decimal(part.bytes)}, {state}"))
    return lines + [("warning", text) for text in found.warnings]


def _memory() -> dict[str, int]:
    import psutil

    return {"total": psutil.virtual_memory().total, "free": free_bytes()}


def _disk(place: Path) -> dict[str, int]:
    room = shutil.disk_usage(place)
    return {"total": room.total, "free": room.free}


def _clean(value: Any) -> Any:
    """Texts without the home folder's name, and without what looks like a secret."""
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    if not isinstance(value, str):
        return value
    home = str(Path.home())
    return hide_line(value if len(home) < 2 else value.replace(home, "~"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return cli.run_command(doctor, argv, name="doctor")


if __name__ == "__main__":
    raise SystemExit(main())
