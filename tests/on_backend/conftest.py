"""Fixtures of the checks that run once a backend; see tests/test_backends.py for how they are started."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import recipes
import zoo
from zoo.backend import Backend, activate, own_process
from zoo.finished import Run
from zoo.report.drawing import Chart
from zoo.training import session

ROOT = Path(__file__).parents[2]

own_process()
activate()  # before the checks import what imports Keras


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is marked `at_times` is slow on a backend that compiles a step for seconds before it takes it."""
    for item in items:
        if item.get_closest_marker("at_times") and os.environ["KERAS_BACKEND"] != "torch":
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def backend() -> Backend:
    """The backend of this process, which KERAS_BACKEND names."""
    active = activate()
    assert active.name == os.environ["KERAS_BACKEND"]
    return active


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory, real_cache: Path) -> Path:
    """The folder of references.py: $ZOO_TEST_REFERENCES, else made anew."""
    if given := os.environ.get("ZOO_TEST_REFERENCES"):
        return Path(given)
    folder = tmp_path_factory.mktemp("references")
    script = Path(__file__).with_name("references.py")
    given = os.environ | {"PYTHONPATH": str(ROOT), "ZOO_CACHE": str(real_cache)}
    subprocess.run([sys.executable, str(script), str(folder)], check=True, cwd=ROOT, env=given)
    return folder


@pytest.fixture(scope="module")
def as_compiled_for_users(backend: Backend) -> Iterator[None]:
    """What is held to the last bit is optimized as it is elsewhere."""
    if backend.name != "jax":
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session", autouse=True)
def few_shapes() -> Iterator[None]:
    """Batches of two lengths where users have four: jax compiles each of them, which is most of what it does here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "SHAPES", 2)
        yield


@pytest.fixture(scope="session", autouse=True)
def unpainted() -> Iterator[None]:
    """A chart is made and is one pixel: no backend paints, and it takes twice as long as to train a nano model."""
    blank = io.BytesIO()
    Image.new("P", (1, 1)).save(blank, format="png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chart, "png", lambda chart, theme="light": blank.getvalue())
        yield


PNG = Chart.png


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts as users have them."""
    monkeypatch.setattr(Chart, "png", PNG)


@pytest.fixture(scope="session")
def whole(few_shapes: None, unpainted: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of three short epochs that nothing happened to; nobody writes to its folder."""
    from nano import SHORT  # it imports Keras

    recipe = recipes.load("quickstart", profile="smoke", overrides=SHORT)
    return zoo.train(recipe, out=tmp_path_factory.mktemp("runs") / "whole")


def pytest_configure(config: pytest.Config) -> None:
    # Keras on torch, with NumPy 2: neither takes the other's word for whether an array is copied.
    config.addinivalue_line(
        "filterwarnings", "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
    )
