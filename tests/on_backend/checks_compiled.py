"""What takes an accelerator's way where none is here."""

from __future__ import annotations

from zoo.backend import Backend, compiled_for, kernels
from zoo.backend.on_jax import Jax


def test_a_named_platform_decides_in_place_of_the_device(backend: Backend) -> None:
    assert isinstance(backend, Jax)
    here = kernels()
    assert (backend.platform(), backend.device(), backend.accelerated) == ("cpu", "cpu", False)
    with compiled_for("tpu"):
        assert (backend.platform(), backend.device(), backend.accelerated) == ("tpu", "tpu", True)
        assert kernels() is not here  # a backend may have others for each platform
        assert kernels() is kernels()
    assert backend.platform() == "cpu"
    assert kernels() is here
