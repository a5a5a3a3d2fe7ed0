"""A step in bfloat16 under CUDA's rules for the types of an operation's arguments, applied to what a CPU computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import recipes
import zoo
from zoo.backend import Backend
from zoo.backend.transformer_torch import TorchKernels
from zoo.model import heads, inference
from zoo.recipe.types import AdamW, ClassifierHead
from zoo.training.optimizer import build_optimizer

ONE_TYPE = {
    *("native_layer_norm", "native_layer_norm_backward", "native_group_norm", "dot", "vdot", "mv"),
    *("mm", "addmm", "bmm", "baddbmm", "addmv", "linear", "convolution"),
    *("_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention"),
}
"""Operations of which CUDA's kernels want all floating arguments of one type."""
ON_CPUS_ALONE = ("mkldnn", "mkl", "onednn", "quantized")
"""Namespaces of operations that CUDA has not."""


class CudaRules(TorchDispatchMode):
    """Raises where CUDA would, and a CPU does not."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        space, _, name = func.name().partition("::")
        name = name.partition(".")[0]
        if space in ON_CPUS_ALONE:
            raise RuntimeError(f"{func.name()} is of CPUs alone")
        found = {a.dtype for a in args if isinstance(a, torch.Tensor) and a.is_floating_point()}
        if name in ONE_TYPE and len(found) > 1:
            raise RuntimeError(f"{name}: expected one scalar type but found {sorted(map(str, found))}")
        return func(*args, **(kwargs or {}))


def step(backend: Backend, *, on_cpu: bool, monkeypatch: pytest.MonkeyPatch) -> float:
    """The loss of two steps, the second one's, with a prediction after them, under CUDA's rules."""
    for module in ("zoo.model.layers", "zoo.model.dropout"):
        monkeypatch.setattr(f"{module}.kernels", lambda: kernels)
    kernels = TorchKernels(on_cpu=on_cpu)
    model = zoo.build(recipes.load("quickstart", profile="smoke", overrides={"training.precision": "bfloat16"}))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-3] * 2)
    trainer = backend.trainer(model, optimizer, heads.loss(ClassifierHead()))
    inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
    with CudaRules():
        for _ in range(2):
            loss, _ = trainer.step(inputs, np.array([0, 1, 0, 1], np.int32), np.ones(4, np.float32))
        backend.predictor(model)(inputs)
    return float(loss)


def test_a_step_keeps_cudas_rules(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = step(backend, on_cpu=False, monkeypatch=monkeypatch)
    assert np.isfinite(ours)


def test_what_cpus_allow_is_seen(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match=r"expected one scalar type but found|is of CPUs alone"):
        step(backend, on_cpu=True, monkeypatch=monkeypatch)


def test_the_rules_can_fail() -> None:
    """With the calls that a CPU takes."""
    x, weight = torch.ones(2, 4, dtype=torch.bfloat16), torch.ones(4)
    with CudaRules(), pytest.raises(RuntimeError, match="native_layer_norm: expected one scalar type"):
        torch.nn.functional.layer_norm(x, (4,), weight, weight)
    with CudaRules(), pytest.raises(RuntimeError, match="_linear_pointwise is of CPUs alone"):
        torch.ops.mkldnn._linear_pointwise(x, x, None, "none", [], "")


def test_both_ways_compute_the_same(backend: Backend) -> None:
    """The norm of a GPU, on this CPU, is that of a CPU."""
    random = np.random.default_rng(0)
    x = torch.tensor(random.normal(size=(16, 32)), dtype=torch.bfloat16)
    norm = tuple(torch.tensor(random.normal(size=32), dtype=torch.float32) for _ in range(2))
    one, other = (TorchKernels(on_cpu=way)._norm(x, norm, 1e-12) for way in (True, False))
    np.testing.assert_array_equal(one.float().numpy(), other.float().numpy())
