"""Devices of one process that share batches on TensorFlow: tf.distribute.MirroredStrategy.

Rows of a batch, or of each of its parts, are cut into as many equal shares as there are devices, in order. Each device
has a copy of all variables. What the devices found is added up over all shares, and each takes the same step on its own
copy. Refused: nothing; how many there are, `TensorFlow.refuse_devices` tells.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from zoo.errors import EnvironmentFault

__all__ = ["SPLIT", "Mirrors", "mirrors_of", "places", "share", "split_cpu", "summed", "workers"]

SPLIT = "ZOO_CPU_DEVICES"
"""The environment variable that says into how many devices TensorFlow splits the CPU."""
APART = 1000
"""How many numbers for groups of devices a strategy has to itself."""


def split_cpu() -> None:
    """Split the CPU as `SPLIT` says; where TensorFlow is in use already, it stays as it is.

    Raises:
        EnvironmentFault: it says no number of devices.
    """
    asked = os.environ.get(SPLIT)
    if not asked:
        return
    if not asked.isdecimal() or int(asked) == 0:
        raise EnvironmentFault(f"{SPLIT} is {asked!r}, expected a whole number above 0: set it to one, or unset it")
    (cpu,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(asked))
    except RuntimeError:  # once it computes, its devices are what they are
        return


def places() -> list[str]:
    """The names of the devices that may share a batch: the GPUs, or where there is none what the CPU is split into."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def workers() -> int:
    """How many processes TF_CONFIG names; 0 where it is not set."""
    named = tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec().as_dict()
    return sum(map(len, named.values()))


@functools.cache
def mirrors_of(devices: int) -> Mirrors | None:
    """The first so many devices, made once, as variables belong to them; None is one, which shares with nobody."""
    return None if devices == 1 else Mirrors(places()[:devices])


class Mirrors:
    """Devices that share batches; args: their names."""

    def __init__(self, devices: list[str]) -> None:
        # By itself each strategy numbers its groups of devices from 1, and two of unlike size in a process get in each
        # other's way.
        apart = {"_collective_key_base": APART * len(devices)}
        self._strategy = type("Strategy", (tf.distribute.MirroredStrategy,), apart)(devices)

    def hold(self, variables: Iterable[Any]) -> None:
        """Give each device a copy of these Keras variables, where it has none yet.

        The first device's is the array that the variable had: an optimizer knows it by that, and what was traced before
        goes on with it. Read elsewhere than in `computed`, a variable is the first device's copy; assigned, all are.
        """
        for variable in variables:
            own = variable.value
            if not isinstance(own, tf.distribute.DistributedValues):
                variable._initialize(self._copied(own))

    def _copied(self, own: Any) -> Any:
        """A variable of all devices, whose first copy is this one of the first device.

        Copies are aggregated by nothing: one that is assigned in `computed` is that device's alone.
        """
        first = [own]

        def create(usual: Callable[..., Any], **given: Any) -> Any:
            return first.pop() if first else usual(**given)

        with tf.variable_creator_scope(create), self._strategy.scope():
            return tf.Variable(own, trainable=own.trainable, dtype=own.dtype)

    def zeros(self, shapes: Iterable[Any]) -> list[Any]:
        """Variables of these shapes, float32, of which each device has its own."""
        with self._strategy.scope():
            return [tf.Variable(tf.zeros(shape), trainable=False) for shape in shapes]

    def computed(self, function: Callable[..., Any], *given: Any) -> Any:
        """What each device finds by a function, a tuple in the place of each of its results; within a tf.function."""
        found = self._strategy.run(function, given)
        local = self._strategy.experimental_local_results
        return tuple(map(local, found)) if isinstance(found, tuple) else local(found)


def share(arrays: Any) -> Any:
    """The rows of a batch that are this device's, of nested arrays [rows, ...]; within `Mirrors.computed`."""
    context = tf.distribute.get_replica_context()
    number, count = context.replica_id_in_sync_group, context.num_replicas_in_sync

    def own(array: Any) -> Any:
        rows = tf.shape(array)[0] // count
        return array[number * rows : (number + 1) * rows]

    return tf.nest.map_structure(own, arrays)


def summed(arrays: list[Any]) -> list[Any]:
    """The sums of arrays over all devices, which each of them has then; within `Mirrors.computed`, and not within what
    XLA compiles."""
    found: list[Any] = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, arrays)
    return found
