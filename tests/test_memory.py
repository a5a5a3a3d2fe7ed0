"""Memory that runs out: told from other errors, and with what would fit."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.backend import Backend
from zoo.errors import TrainingError
from zoo.training.memory import halved, within_memory

ResourceExhaustedError = type("ResourceExhaustedError", (Exception,), {})
RAN_OUT = [
    MemoryError(),
    RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 16055500800 bytes."),
    ResourceExhaustedError("{{function_node __wrapped__MatMul}} OOM when allocating tensor with shape[102400,1536]"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 40000000000 bytes."),
    RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("std::bad_alloc"),
    OSError(12, "Cannot allocate memory"),
]


@pytest.mark.parametrize("error", RAN_OUT, ids=lambda error: f"{type(error).__name__} {error}"[:40])
def test_is_told_from_other_errors(error: Exception) -> None:
    match = r"a batch does not fit in memory .*: take half"
    with pytest.raises(TrainingError, match=match) as caught, within_memory(Backend(), "a batch", "take half"):
        raise error
    assert caught.value.__cause__ is error


def test_of_numpy() -> None:
    with pytest.raises(TrainingError), within_memory(Backend(), "a batch", "take half"):
        np.zeros(1 << 45)


@pytest.mark.parametrize("error", [ValueError("shapes do not match"), TrainingError("it does not fit in memory")])
def test_another_error_stays(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, within_memory(Backend(), "a batch", "take half"):
        raise error
    assert caught.value is error


def test_half_of_a_batch_down_to_one() -> None:
    found = [halved("--batch-size ", rows, "give shorter texts") for rows in (64, 3, 2, 1)]
    assert found == [
        *(f"pass --batch-size {half}, or give shorter texts" for half in (32, 1, 1)),
        "give shorter texts",
    ]
