"""JAX: the steps of zoo.backend.on_jax compiled for devices that are not here, from shapes alone.

In come a model and an optimizer whose variables have shapes, and a `Target`; out comes a `CompiledProgram`. It has to
run in a process that was started with `zoo.backend.compilers.environment`, within `compiled_for` its platform. What the
compiler refuses, a program that does not fit in the device's memory above all, it raises.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from zoo.backend.base import Adversary, Loss
from zoo.backend.compiled_program import CompiledProgram, collectives, main_memory_bytes, own_kernels
from zoo.backend.compilers import Target
from zoo.backend.jax_mesh import ROWS
from zoo.backend.on_jax import prediction_step, training_step, weight_groups
from zoo.backend.precision import Precision

SLICES = {4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16", 256: "16x16"}
"""Devices of a v5e or v6e slice, and how they lie."""

_GPU = """
gpu_device_info {{
  cuda_compute_capability {{ major: {major} {features} }}
  core_count: {cores} fpus_per_core: {units} clock_rate_ghz: {clock}
  memory_bandwidth: {bandwidth} device_memory_size: {memory} l2_cache_size: {cache}
  shared_memory_per_core: {shared} shared_memory_per_block_optin: {most_shared} shared_memory_per_block: 49152
  threads_per_core_limit: 2048 threads_per_block_limit: 1024 threads_per_warp: 32
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
runtime_version {{ major: 13 }}
device_description_str: "{described}"
"""
_GPUS: dict[str, dict[str, Any]] = {
    "h100": {
        "major": 9,
        "features": "feature_extension: ACCELERATED_FEATURES",
        "cores": 132,
        "units": 128,
        "clock": 1.98,
        "bandwidth": 3_352_320_000_000,
        "memory": 84_929_347_584,
        "cache": 52_428_800,
        "shared": 233_472,
        "most_shared": 232_448,
        "described": "NVIDIA H100 80GB HBM3",
    },
    "a100": {
        "major": 8,
        "features": "",
        "cores": 108,
        "units": 64,
        "clock": 1.41,
        "bandwidth": 2_039_040_000_000,
        "memory": 85_100_068_864,
        "cache": 41_943_040,
        "shared": 167_936,
        "most_shared": 166_912,
        "described": "NVIDIA A100-SXM4-80GB",
    },
}
"""What XLA asks of a GPU before it compiles (its GpuTargetConfigProto): the cards' properties as CUDA tells them."""


def compile_training(
    model: Any,
    optimizer: Any,
    loss: Loss,
    *,
    inputs: Mapping[str, Any],
    labels: Any,
    weights: Any,
    precision: Precision,
    accumulate: int,
    adversary: Adversary | None = None,
    target: Target,
    devices: int,
) -> CompiledProgram:
    """The step that `Jax.trainer` runs.

    Args:
        model, optimizer, loss, precision, accumulate, adversary: see `zoo.backend.on_jax.training_step`.
        inputs, labels, weights: a batch, of each array something with a shape and a dtype.
        target: what to compile for.
        devices: how many; each has a share of the batch, and all weights.
    """
    mesh = _mesh(target, devices)
    state = tuple([_placed(v, mesh) for v in group] for group in (*weight_groups(model), optimizer.variables))
    batch = [_shared(array, mesh) for array in (inputs, labels, weights)]
    step = training_step(model, optimizer, loss, precision=precision, accumulate=accumulate, adversary=adversary)
    return _compiled(_lowered(step, mesh, state, *batch))


def compile_prediction(
    model: Any, *, inputs: Mapping[str, Any], precision: Precision, target: Target, devices: int
) -> CompiledProgram:
    """The step that `Jax.predictor` runs; arguments as those of `compile_training`."""
    mesh = _mesh(target, devices)
    state = [[_placed(v, mesh) for v in group] for group in weight_groups(model)]
    return _compiled(_lowered(prediction_step(model, precision), mesh, *state, _shared(inputs, mesh)))


def _mesh(target: Target, devices: int) -> Mesh:
    if target.platform == "tpu":
        layout = next(layout for count, layout in SLICES.items() if count >= devices)
        found = topologies.get_topology_desc(platform="tpu", topology_name=f"{target.name}:{layout}")
    else:
        card = _GPU.format(**_GPUS[target.name])
        found = topologies.get_topology_desc(platform="cuda", target_config=card, topology=f"1x1x{devices}")
    return Mesh(np.array(found.devices[:devices]), (ROWS,))


def _placed(array: Any, mesh: Mesh, *axes: str) -> Any:
    place: Any = NamedSharding(mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]
    return jax.ShapeDtypeStruct(tuple(array.shape), jax.numpy.dtype(array.dtype), sharding=place)  # type: ignore[no-untyped-call]


def _shared(arrays: Any, mesh: Mesh) -> Any:
    return jax.tree.map(lambda array: _placed(array, mesh, ROWS), arrays)


def _lowered(step: Any, mesh: Mesh, *arguments: Any) -> Any:
    with jax.set_mesh(mesh):  # kernels of our own share the batch out themselves
        return step.lower(*arguments)


def _compiled(lowered: Any) -> CompiledProgram:
    begun = time.perf_counter()
    program = lowered.compile()
    seconds = time.perf_counter() - begun
    memory, cost, text = program.memory_analysis(), program.cost_analysis() or {}, program.as_text()
    return CompiledProgram(
        arguments=memory.argument_size_in_bytes,
        results=memory.output_size_in_bytes,
        aliased=memory.alias_size_in_bytes,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        operations=cost.get("flops"),
        bytes_accessed=cost.get("bytes accessed"),
        kernels=own_kernels(text),
        collectives=collectives(text),
        main_memory=main_memory_bytes(text),
        compile_seconds=seconds,
    )
