"""Memory that runs out: told from other errors, and with what would fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zoo.backend import Backend
from zoo.errors import TrainingError
from zoo.recipe.training_group import Training
from zoo.training.memory import SMALLER, halved, step_remedy, within_memory

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


SHORTER = ", or lower tokens.max_length"


@pytest.mark.parametrize(
    ("config", "parts", "rows_that_fit", "remedy"),
    [
        (
            {},
            1,
            8,
            f"pass --set training.accumulate=4, the same step in 4 parts of 8 rows, which fits by estimate{SHORTER}",
        ),
        (
            {},
            1,
            32,
            f"pass --set training.accumulate=2, the same step in 2 parts of 16 rows, which fits by estimate{SHORTER}",
        ),
        (
            {},
            16,
            32,
            f"pass --set training.accumulate=32, the same step in 32 parts of 1 row, which fits by estimate{SHORTER}",
        ),
        ({}, 1, 0, SMALLER),
        (
            {"batch_size": 6, "mixup": {}},
            1,
            3,
            f"pass --set training.accumulate=3, the same step in 3 parts of 2 rows, which fits by estimate{SHORTER}",
        ),
        (
            {},
            1,
            None,
            f"pass --set training.accumulate=auto, which computes the same step in as few parts as fit{SHORTER}",
        ),
        (
            {"accumulate": "auto"},
            2,
            None,
            f"pass --set training.accumulate=4, the same step in 4 parts of 8 rows{SHORTER}",
        ),
        ({"packing": True}, 1, 8, f"pass --set training.batch_size=16{SHORTER}"),
        ({"batch_size": 1}, 1, 8, "lower tokens.max_length"),
    ],
)
def test_what_fits_in_place_of_a_step(
    config: dict[str, Any], parts: int, rows_that_fit: int | None, remedy: str
) -> None:
    """By estimate where there is one, and by trial on a device that can be asked."""
    given = Training.model_validate({"batch_size": 32} | config)
    fits = None if rows_that_fit is None else lambda count: given.batch_size // count <= rows_that_fit
    assert step_remedy(given, parts, fits) == remedy


def test_a_loss_of_pairs_has_no_parts() -> None:
    assert step_remedy(Training(), 1, None, parted=False) == f"pass --set training.batch_size=16{SHORTER}"
