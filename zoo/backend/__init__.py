"""The one place that names jax, tensorflow and torch.

In comes the name of a Keras backend; out goes a `Backend`: its version and device, and the things each
framework does in its own way: one training step, one prediction, the reading of a clock. One module a
framework, imported only when it is chosen. Refused: a backend that is not installed, and a second backend
in a process that has one already.

The step is ours and not `keras.Model.fit` (docs/decisions/0001): nothing is synchronised between
steps, and the whole state lies in the variables of the model and of the optimizer.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from packaging.requirements import Requirement

from zoo.backend.allocator import keep_freed_memory
from zoo.backend.base import AdamWStep, Adversary, Backend, Inputs, Loss, Trainer, compiled_for, forced_platform
from zoo.backend.compiled_program import CompiledProgram
from zoo.backend.devices import (
    DEVICE_VARIABLES,
    by_own_rows,
    by_processes,
    device_notes,
    precisions_here,
    tensorflow_notes,
    undivided,
    unused,
)
from zoo.backend.launching import launch
from zoo.backend.peers import FirstEnded, Order, place_by_jax, place_by_torchrun
from zoo.backend.precision import ON_CPU, Precision, precisions_of_nvidia, refusal
from zoo.errors import EnvironmentFault

__all__ = [
    "ON_CPU",
    "AdamWStep",
    "Adversary",
    "Backend",
    "Choice",
    "CompiledProgram",
    "FirstEnded",
    "Inputs",
    "Loss",
    "Order",
    "Precision",
    "Trainer",
    "activate",
    "by_own_rows",
    "by_processes",
    "choose",
    "compiled_for",
    "device_notes",
    "installed",
    "keep_freed_memory",
    "kernels",
    "launch",
    "outdated",
    "own_process",
    "place_in_launch",
    "precisions_here",
    "precisions_of_nvidia",
    "refusal",
    "to_launch",
    "undivided",
    "versions",
    "without_tensorflow",
]

NAMES = ("jax", "tensorflow", "torch")


def installed() -> tuple[str, ...]:
    """The backends that can be imported here, in the order in which they are preferred."""
    return tuple(name for name in NAMES if importlib.util.find_spec(name) is not None)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A backend and the reason why it is the one."""

    name: str
    reason: str


def choose(recipe_backend: str | None = None) -> Choice:
    """Pick the backend: KERAS_BACKEND, else the recipe's, else the first that is installed.

    Raises:
        EnvironmentFault: the environment contradicts the recipe, or what was asked for is not installed.
    """
    asked = os.environ.get("KERAS_BACKEND") or None
    if asked is not None and asked not in NAMES:
        raise EnvironmentFault(f"KERAS_BACKEND is {asked!r}, expected one of {', '.join(NAMES)}: set one of these")
    if asked is not None and recipe_backend is not None and asked != recipe_backend:
        raise EnvironmentFault(
            f"KERAS_BACKEND is {asked} and the recipe's backend is {recipe_backend}: "
            f"unset KERAS_BACKEND, or pass --set backend={asked}"
        )
    available = installed()
    if asked is not None:
        choice = Choice(name=asked, reason="KERAS_BACKEND")
    elif recipe_backend is not None:
        choice = Choice(name=recipe_backend, reason="the recipe")
    elif not available:
        raise EnvironmentFault("no Keras backend is installed: pip install 'text-zoo[jax]'")
    else:
        choice = Choice(name=available[0], reason="the first of " + ", ".join(NAMES) + " that is installed")
    if choice.name not in available:
        raise EnvironmentFault(f"the backend {choice.name} is not installed: pip install 'text-zoo[{choice.name}]'")
    old = outdated(choice.name)
    if old:
        raise EnvironmentFault(old)
    return choice


def outdated(backend: str) -> list[str]:
    """A fault for Keras, keras-hub and the backend where it is older than text-zoo's own requirements allow.

    They are read from the installed distribution; a source tree that is not installed states none.
    """
    found = []
    with contextlib.suppress(PackageNotFoundError):
        for requirement in map(Requirement, requires("text-zoo") or []):
            wanted = requirement.marker is None or requirement.marker.evaluate({"extra": backend})
            if not wanted or requirement.name not in ("keras", "keras-hub", backend):
                continue
            have = versions(requirement.name).get(requirement.name)
            if have is not None and not requirement.specifier.contains(have, prereleases=True):
                found.append(
                    f"{requirement.name} is {have}, expected {requirement.specifier}: pip install -U '{requirement}'"
                )
    return found


def activate(recipe_backend: str | None = None) -> Backend:
    """Import Keras on the chosen backend. A process has one: a second call returns the same.

    In a process of the zoo's own the first call warns of an accelerator that is here and not used.

    Raises:
        EnvironmentFault: see `choose`; or Keras was imported before on another backend; or an environment variable
            asks for a device that is not here.
    """
    loaded = sys.modules.get("keras")
    if loaded is None:
        name = choose(recipe_backend).name
        with (
            _environment("KERAS_BACKEND", name),
            _quiet() if _OWN and name == "tensorflow" else contextlib.nullcontext(),
            # Keras imports jax to mend what old versions of it lack: half a second for nothing.
            _without("jax") if name == "torch" else contextlib.nullcontext(),
        ):
            import keras
    else:
        keras = loaded
        name = keras.backend.backend()
        if recipe_backend is not None and recipe_backend != name:
            raise EnvironmentFault(
                f"Keras already runs on {name} in this process and {recipe_backend} is asked for: "
                f"start a new process with KERAS_BACKEND={recipe_backend}"
            )
    backend: Backend = importlib.import_module(f"zoo.backend.on_{name}").BACKEND
    _refuse_missing_device(backend)
    if loaded is None and _OWN:
        _warn_of_unused(backend)
    return backend


def _refuse_missing_device(backend: Backend) -> None:
    """EnvironmentFault where the user asks for a device that the backend does not find."""
    for variable in DEVICE_VARIABLES.get(backend.name, ()):
        if asked := os.environ.get(variable):
            try:
                backend.device()
            # jax raises RuntimeError and, where it knows the device and has no plugin for it, AssertionError, as torch
            # does where it was built without.
            except (RuntimeError, AssertionError) as error:
                raise EnvironmentFault(
                    f"{variable} is {asked!r} and {backend.name} has no such device here"
                    f"{f' ({str(error).splitlines()[0]})' if str(error) else ''}: unset it, or set it to cpu; "
                    "`python -m zoo.doctor` tells what is here"
                ) from error


def _warn_of_unused(backend: Backend) -> None:
    warnings = unused(backend.name)
    if not warnings or backend.accelerated:  # most machines have none, and a backend takes its time to tell
        return
    if backend.name == "tensorflow":
        warnings.append("TensorFlow says:\n" + (tensorflow_notes() or "nothing of it"))
    for text in warnings:
        for warn in _OWN:
            warn(text)


_OWN: list[Callable[[str], None]] = []


def own_process(warn: Callable[[str], None] = lambda text: None) -> None:
    """Say that this process is the zoo's own, as that of a command is, before it imports a backend.

    What is freed is then kept for the next step (`keep_freed_memory`), and TensorFlow's notes at its start are not
    shown. A process in which the zoo is a library is left as it is.

    Args:
        warn: called with a sentence where an accelerator is here and the backend computes on the CPU.
    """
    keep_freed_memory()
    _OWN.append(warn)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """An environment variable has this value meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep TensorFlow's start-up notes off stderr; they are shown where the import fails, and by `_warn_of_unused`.

    They are written by C++ before any logging can be set up, so the file descriptor is what has to be turned away.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as notes:
        stderr = os.dup(2)
        os.dup2(notes.fileno(), 2)
        try:
            yield
            importlib.import_module("zoo.backend.on_tensorflow").BACKEND.device()  # the last of the notes
        except BaseException:
            notes.seek(0)
            os.write(stderr, notes.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Let keras-hub be imported without TensorFlow on the other backends.

    keras-hub imports TensorFlow for tokenizers that are not used here: three seconds, and a second
    framework in the process of the first. It does without where the import fails.
    """
    keras = sys.modules.get("keras")
    wanted = keras is not None and keras.backend.backend() == "tensorflow"
    with contextlib.nullcontext() if wanted else _without("tensorflow", "tensorflow_text"):
        yield


@contextlib.contextmanager
def _without(*packages: str) -> Iterator[None]:
    """Let the import of these packages fail, but for those that are imported already."""
    names = [name for name in packages if name not in sys.modules]
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def place_in_launch(recipe_backend: str | None) -> tuple[int, int]:
    """Which one of how many processes this is that compute a run together; 0 of 1 of one that is alone.

    It is read from the environment, that of torchrun or of jax; nothing is imported, and nothing refused.
    """
    name = _asked(recipe_backend)
    if name == "jax":
        return place_by_jax()
    return place_by_torchrun() if name == "torch" else (0, 1)


def to_launch(recipe_backend: str | None, devices: int) -> bool:
    """Whether a command has to be launched in as many processes as a run has devices, and has not been yet."""
    return devices > 1 and by_processes(_asked(recipe_backend)) and place_in_launch(recipe_backend)[1] == 1


def _asked(recipe_backend: str | None) -> str:
    """The backend that `choose` chooses, if it refuses none."""
    return os.environ.get("KERAS_BACKEND") or recipe_backend or next(iter(installed()), "")


def kernels() -> Any:
    """The `zoo.backend.transformer.Kernels` of the backend that this process has, on the platform of `compiled_for`."""
    return _kernels(forced_platform())


@functools.cache
def _kernels(platform: str | None) -> Any:
    """Made once a platform; the backend asks for it itself."""
    return activate().kernels()


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of the named distributions; those not installed are left out."""
    found = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
