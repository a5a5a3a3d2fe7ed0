"""Which backend is chosen, and what is refused; nothing here imports one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoo import backend
from zoo.backend import _refuse_missing_device
from zoo.errors import EnvironmentFault

ROOT = Path(__file__).parents[1]


def only(*names: str) -> object:
    """A stand-in for find_spec where only these are installed."""
    return lambda name: object() if name in names else None


@pytest.fixture(autouse=True)
def _nothing_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


def test_all_three_are_here() -> None:
    assert backend.installed() == ("jax", "tensorflow", "torch")


def test_the_first_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend.choose().name == "jax"
    monkeypatch.setattr(backend.importlib.util, "find_spec", only("torch", "tensorflow"))
    choice = backend.choose()
    assert (choice.name, choice.reason) == ("tensorflow", "the first of jax, tensorflow, torch that is installed")


@pytest.mark.parametrize("name", ["jax", "tensorflow", "torch"])
def test_the_recipe_and_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend.choose(name) == backend.Choice(name=name, reason="the recipe")
    monkeypatch.setenv("KERAS_BACKEND", name)
    assert backend.choose() == backend.Choice(name=name, reason="KERAS_BACKEND")
    assert backend.choose(name).name == name


def test_the_environment_against_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(EnvironmentFault, match=r"KERAS_BACKEND is torch and the recipe's backend is jax: .*--set"):
        backend.choose("jax")


@pytest.mark.parametrize("value", ["pytorch", "openvino", "JAX"])
def test_unknown(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", value)
    with pytest.raises(EnvironmentFault, match=f"KERAS_BACKEND is '{value}', expected one of jax, tensorflow, torch"):
        backend.choose()


def test_an_empty_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "")
    assert backend.choose().name == "jax"


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.importlib.util, "find_spec", only("jax"))
    with pytest.raises(EnvironmentFault, match=r"torch is not installed: pip install 'text-zoo\[torch\]'"):
        backend.choose("torch")
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with pytest.raises(EnvironmentFault, match=r"tensorflow is not installed: pip install 'text-zoo\[tensorflow\]'"):
        backend.choose()


def test_none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.importlib.util, "find_spec", only())
    with pytest.raises(EnvironmentFault, match=r"no Keras backend is installed: pip install 'text-zoo\[jax\]'"):
        backend.choose()


def test_choosing_imports_nothing() -> None:
    code = "import sys; from zoo.backend import choose; choose(); print({'jax', 'keras', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "set()\n"


def test_versions_leave_out_what_is_not_there() -> None:
    assert set(backend.versions("numpy", "no-such-distribution")) == {"numpy"}


@pytest.mark.parametrize(
    ("name", "variable", "error"),
    [
        ("jax", "JAX_PLATFORMS", RuntimeError("Unable to initialize backend 'cuda'\nmore")),
        ("jax", "JAX_PLATFORM_NAME", AssertionError()),
        ("torch", "KERAS_TORCH_DEVICE", AssertionError("Torch not compiled with CUDA enabled")),
    ],
)
def test_a_device_that_is_not_here(name: str, variable: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the frameworks raise when they are first asked for it."""

    def device() -> str:
        raise error

    stand_in: Any = SimpleNamespace(name=name, device=device)
    monkeypatch.delenv(variable, raising=False)
    _refuse_missing_device(stand_in)  # nobody has asked for one
    monkeypatch.setenv(variable, "cuda")
    with pytest.raises(EnvironmentFault, match=rf"{variable} is 'cuda' and {name} has no such device here") as caught:
        _refuse_missing_device(stand_in)
    assert "\n" not in str(caught.value)
