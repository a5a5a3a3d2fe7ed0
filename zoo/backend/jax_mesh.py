"""JAX: a mesh of devices, which share batches by rows and, where a model is divided, its weights too.

In come arrays; out they come laid over the devices. Nothing is refused.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

ROWS, MODEL = "data", "model"
"""What the axes of a mesh are called: along the first rows are shared out, along the second weights."""


def in_mesh(array: Any, *axes: str | None) -> Any:
    """An array of a traced step, as the devices of a mesh are to have it; nothing changes where there is none."""
    if jax.sharding.get_abstract_mesh().empty:
        return array
    return jax.lax.with_sharding_constraint(array, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def divides() -> bool:
    """Whether the mesh of the step that is being traced shares weights out."""
    return MODEL in jax.sharding.get_abstract_mesh().axis_names


def axes_of(array: Any) -> tuple[str | None, ...]:
    """Along which axis each dimension of an array is shared out, where it is a weight in parts; none where each device
    has it whole."""
    place = getattr(array, "sharding", None)
    found = tuple(place.spec) if isinstance(place, NamedSharding) else ()
    return found if MODEL in found else ()


class Mesh:
    """Devices that share batches by rows; one of them is no mesh, and all goes where it went.

    Args:
        devices: how many.
        parts: over how many of them each weight may be shared out, a divisor; so many compute the same rows.
    """

    def __init__(self, devices: int, parts: int = 1) -> None:
        shape, names = ((devices,), (ROWS,)) if parts == 1 else ((devices // parts, parts), (ROWS, MODEL))
        kinds = {"axis_types": (jax.sharding.AxisType.Auto,) * len(shape)}
        self._mesh = jax.make_mesh(shape, names, **kinds, devices=jax.devices()[:devices]) if devices > 1 else None

    @property
    def alone(self) -> bool:
        return self._mesh is None

    @property
    def devices(self) -> np.ndarray:
        """The jax.Devices, [rows, parts]."""
        assert self._mesh is not None
        return self._mesh.devices

    def used(self) -> contextlib.AbstractContextManager[Any]:
        """What is traced and computed within, the mesh computes."""
        return contextlib.nullcontext() if self._mesh is None else jax.set_mesh(self._mesh)

    def everywhere(self, arrays: Any) -> Any:
        """Arrays that each device has whole, but for weights in parts, which stay so."""
        if self._mesh is None:
            return arrays
        return self._put(arrays, jax.tree.map(lambda array: self._place(*axes_of(array)), arrays))

    def shared(self, arrays: Any) -> Any:
        """Arrays [rows, ...], of which each device has equally many rows, or each group that shares a model."""
        if self._mesh is None:
            return arrays
        return self._put(arrays, jax.tree.map(lambda array: self._place(ROWS), arrays))

    def _place(self, *axes: str | None) -> NamedSharding:
        assert self._mesh is not None
        return NamedSharding(self._mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]

    def _put(self, arrays: Any, places: Any) -> Any:
        if jax.process_count() == 1:
            return jax.device_put(arrays, places)

        def given(array: Any, place: NamedSharding) -> Any:
            array = np.asarray(array)  # each process has all of it, and gives what its devices take
            return jax.make_array_from_callback(array.shape, place, lambda index: array[index])

        return jax.tree.map(given, arrays, places)


@functools.cache
def mesh_of(devices: int, parts: int = 1) -> Mesh:
    """Made once: a predictor asks for it with each batch."""
    return Mesh(devices, parts)


def mesh_of_weights(variables: Iterable[Any]) -> Mesh | None:
    """The mesh over which keras.Variables are shared out; None where they are not."""
    for variable in variables:
        place = getattr(variable.value, "sharding", None)
        if isinstance(place, NamedSharding) and MODEL in place.mesh.axis_names:
            return mesh_of(place.mesh.size, place.mesh.shape[MODEL])
    return None
