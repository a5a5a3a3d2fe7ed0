"""What transformers can be told to do otherwise on an accelerator, and what of it is quicker there, by trial.

In come a model and a function that times a step of it; out comes the model in its quickest way, and the seconds of all
that was tried. On a CPU nothing is tried: what is said of `hf_tuned` in benchmarks/README.md was measured there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils.import_utils import is_flash_attn_2_available

from zoo.backend import Precision

FLASH = "flash_attention_2"
COMPILED = "layers compiled"

Timed = Callable[[], tuple[float, float]]
"""Seconds of a first step, which compiles and chooses kernels, and of the quickest of some after it."""


@dataclass(frozen=True, kw_only=True)
class Ways:
    """What was chosen.

    chosen: the words of it. first_seconds: what its first step took. tried: seconds of a step, or why there was none.
    """

    chosen: tuple[str, ...]
    first_seconds: float
    tried: dict[str, float | str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """As a row of results.json has it."""
        return {"way": ", ".join(self.chosen), "tried": self.tried}


def quickest(model: Any, precision: Precision, timed: Timed) -> Ways:
    """Leave the model in its quickest way: torch's own fused attention or the package flash_attn, compiled or not.

    Args:
        model: of transformers, with `sdpa` attention.
        precision: that it is trained in; flash_attn has none but those of two bytes.
        timed: does steps of it.
    """
    chosen: tuple[str, ...] = ("sdpa",)
    first, best = timed()
    tried: dict[str, float | str] = {"sdpa": best}
    candidates: list[tuple[str, Callable[[Any], contextlib.AbstractContextManager[Callable[[], None]]]]] = []
    if precision == "bfloat16" and is_flash_attn_2_available():
        candidates.append((FLASH, _flash))
    candidates.append((COMPILED, _compiled))
    for word, switch in candidates:
        name = ", ".join(_with(chosen, word))
        with switch(model) as keep:
            try:
                began, seconds = timed()
            except Exception as error:  # noqa: BLE001  # whatever an optional way raises: it is told in the row
                model.zero_grad(set_to_none=True)
                tried[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]:.200}"
                continue
            tried[name] = seconds
            if seconds < best:
                chosen, first, best = _with(chosen, word), began, seconds
                keep()
    return Ways(chosen=chosen, first_seconds=first, tried=tried)


def _with(chosen: tuple[str, ...], word: str) -> tuple[str, ...]:
    return (word,) if word == FLASH else (*chosen, word)


@contextlib.contextmanager
def _flash(model: Any) -> Iterator[Callable[[], None]]:
    """The model with flash_attn's attention; what is yielded keeps it so afterwards."""
    kept: list[bool] = []
    model.set_attn_implementation(FLASH)
    try:
        yield lambda: kept.append(True)
    finally:
        if not kept:
            model.set_attn_implementation("sdpa")


@contextlib.contextmanager
def _compiled(model: Any) -> Iterator[Callable[[], None]]:
    """The model with its layers compiled by torch.compile; what is yielded keeps them so afterwards.

    All layers are one program, which is compiled once, for every length: seconds, where the whole model takes minutes
    (docs.pytorch.org/tutorials/recipes/regional_compilation.html).
    """
    kept: list[bool] = []
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = torch.compile(layer.forward, dynamic=True)
    try:
        yield lambda: kept.append(True)
    finally:
        if not kept:
            for layer in layers:
                del layer.forward
