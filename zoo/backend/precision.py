"""How a device multiplies matrices, and what is said where it does not multiply as it is asked to.

Names alone: no framework is imported.
"""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "tf32", "bfloat16"]
"""How matrices are multiplied, the most exact first: as IEEE float32; as float32 whose factors are cut to TF32's ten
bits; as bfloat16."""
ON_CPU: tuple[Precision, ...] = ("float32", "bfloat16")
"""What CPUs multiply, the most exact first; so do TPUs, and GPUs of other makers than NVIDIA."""
TENSOR_CORES = (8, 0)
"""Compute capability of the first NVIDIA GPU with TF32 and bfloat16 (CUDA C++ Programming Guide, section 16)."""


def precisions_of_nvidia(capability: tuple[int, int]) -> tuple[Precision, ...]:
    """What an NVIDIA GPU of this compute capability multiplies, the most exact first."""
    return ("float32", "tf32", "bfloat16") if capability >= TENSOR_CORES else ("float32",)


def refusal(key: str, asked: str, multiplied: tuple[Precision, ...], device: str) -> str:
    """What to say where a device does not multiply as it is asked to."""
    return (
        f"{key}: got {asked}, expected {' or '.join(multiplied)}, which is all that {device} multiplies: "
        f"set {key} to float32"
    )
