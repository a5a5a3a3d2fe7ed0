"""A step in bfloat16 under CUDA's rules for the types of an operation's arguments, applied to what a CPU computes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import recipes
import zoo
from zoo.backend import Backend, on_torch
from zoo.backend.transformer import MASKED, least_kept
from zoo.backend.transformer_torch import CudaKernels, TorchKernels
from zoo.models import heads, inference
from zoo.models.layers import TransformerEncoder
from zoo.recipe.optimizers import AdamW
from zoo.tasks.classification import softmax_cross_entropy
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
    for module in ("zoo.models.layers", "zoo.models.dropout"):
        monkeypatch.setattr(f"{module}.kernels", lambda: kernels)
    kernels = TorchKernels(on_cpu=on_cpu)
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides={"training.precision": "bfloat16"}))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-3] * 2)
    trainer = backend.trainer(model, optimizer, softmax_cross_entropy, precision="bfloat16")
    inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
    with CudaRules():
        for _ in range(2):
            loss, _ = trainer.step(inputs, np.array([0, 1, 0, 1], np.int32), np.ones(4, np.float32))
        backend.predictor(model, precision="bfloat16")(inputs)
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


@pytest.mark.parametrize("multiplies", [True, False])
def test_bfloat16_on_a_cpu_for_which_onednn_has_no_products(monkeypatch: pytest.MonkeyPatch, multiplies: bool) -> None:
    """It is multiplied all the same, by torch's own products."""

    def refuses(*_: Any) -> Any:
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: multiplies)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", refuses)
    x, kernel, bias = (torch.ones(4, 4, dtype=torch.bfloat16), torch.ones(4, 2), torch.ones(2))
    kernels = TorchKernels(on_cpu=True)
    if multiplies:
        with pytest.raises(RuntimeError, match="primitive descriptor"):
            kernels._linear(x, kernel, bias)
    else:
        assert kernels._linear(x, kernel, bias).tolist() == [[5.0, 5.0]] * 4


# --- nothing is waited for ----------------------------------------------------------------------


@pytest.fixture
def no_numbers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[Any]], None]]:
    """Puts variables, and all that Keras makes from now on, on torch's device `meta`: shapes alone, and reading raises.

    Fake tensors of a GPU would be nearer, but a torch without CUDA ends the process where one has a gradient.
    """
    library = torch.library.Library("aten", "IMPL")
    library.impl("_fused_adamw_.tensor_lr", lambda *given, **named: None, "Meta")  # torch has none for it

    def put(variables: list[Any]) -> None:
        monkeypatch.setattr("keras.src.backend.torch.core.DEFAULT_DEVICE", torch.device("meta"))
        for variable in variables:
            value = variable.value
            moved = value.detach().to("meta")
            is_parameter = isinstance(value, torch.nn.Parameter)
            variable._value = torch.nn.Parameter(moved, value.requires_grad) if is_parameter else moved

    yield put
    library._destroy()


def copies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is made of the host's numbers from now on: on a device each is a copy that is waited for."""
    found: list[str] = []

    def noted(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(data: Any, *arguments: Any, **named: Any) -> Any:
            if not isinstance(data, torch.Tensor):
                found.append(type(data).__name__)
            return make(data, *arguments, **named)

        return made

    for name in ("tensor", "as_tensor", "from_numpy"):
        monkeypatch.setattr(torch, name, noted(getattr(torch, name)))
    return found


@pytest.mark.parametrize(("on_cpu", "planted"), [(False, False), (True, False), (False, True)])
def test_a_step_reads_nothing_back(
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    no_numbers: Callable[[list[Any]], None],
    on_cpu: bool,
    planted: bool,
) -> None:
    """On a GPU, as there is nothing to read; what CPUs do instead, and a number that a loss reads, are seen to fail."""
    kernels = TorchKernels(on_cpu=on_cpu)
    for module in ("zoo.models.layers", "zoo.models.dropout"):
        monkeypatch.setattr(f"{module}.kernels", lambda: kernels)
    monkeypatch.setattr(backend, "fused_adamw", lambda: on_torch.FusedAdamW(on_cpu=on_cpu))
    model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides={"training.precision": "bfloat16"}))
    optimizer = build_optimizer(AdamW(), model.trainable_variables, num_layers=2, rates=[1e-3] * 2)
    no_numbers([*model.variables, *optimizer.variables])

    def loss(*given: Any) -> tuple[Any, Any]:
        total, count = softmax_cross_entropy(*given)
        return (total * total.item() if planted else total), count

    trainer = backend.trainer(model, optimizer, loss, precision="bfloat16")
    inputs = {name: np.ones((4, 8), np.int32) for name in inference.input_names(model)}
    given = inputs, np.array([0, 1, 0, 1], np.int32), np.ones(4, np.float32)
    if on_cpu or planted:
        with pytest.raises((RuntimeError, NotImplementedError), match=r"meta tensors|SparseMeta"):
            trainer.step(*given)
        return
    trainer.step(*given)
    copied = copies(monkeypatch)
    trainer.step(*given)
    # The inputs, labels and weights of the batch, and the 1 by which Keras counts its optimizer's steps.
    assert copied == ["ndarray"] * (len(inputs) + 2) + ["int"]


# --- Triton's kernels, by its interpreter -------------------------------------------------------


@pytest.fixture(scope="module")
def triton_kernels() -> Any:
    """zoo.backend.triton_kernels, computed by NumPy: see conftest.py."""
    from zoo.backend import triton_kernels

    return triton_kernels


STATE = torch.tensor([123456, 7])
THIRD = torch.tensor([123456, 7, 2])
"""Of the third share of a batch."""


@pytest.mark.parametrize(
    ("length", "width", "rate", "texts", "state"),
    [(40, 16, 0.1, 1, STATE), (35, 32, 0.1, 2, THIRD), (33, 16, 0.0, 1, STATE)],
)
def test_attention_by_blocks_is_attention(
    triton_kernels: Any, length: int, width: int, rate: float, texts: int, state: torch.Tensor
) -> None:
    """Against plain products in float64 under the same mask: values, and gradients of queries, keys and values."""
    random = torch.Generator().manual_seed(0)
    batch, heads = 2, 3
    qkv = torch.randn(batch, length, 3, heads, width, generator=random)
    seen = torch.rand(batch, 1, 1 if texts == 1 else length, length, generator=random) > 0.2
    given = torch.randn(batch, length, heads, width, generator=random)
    least, scale = least_kept(rate), 1.0 / (1.0 - rate)
    ours, plain = qkv.clone().requires_grad_(), qkv.double().requires_grad_()
    found = triton_kernels.Attention.apply(ours, seen, state, least, scale)
    found.backward(given)
    query, key, value = plain.permute(2, 0, 3, 1, 4)
    weights = (query @ key.transpose(-1, -2) * width**-0.5 + torch.where(seen, 0.0, MASKED)).softmax(-1)
    if rate:
        mask = TorchKernels(on_cpu=True).keep_mask(state, weights.shape, rate)
        weights = weights * mask * scale
        other = triton_kernels.Attention.apply(qkv, seen, state + 1, least, scale)
        assert not torch.allclose(other, found, atol=1e-2), "another mask is another result"
    expected = (weights @ value).transpose(1, 2)
    expected.backward(given.double())
    torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=2e-6)
    torch.testing.assert_close(ours.grad.double(), plain.grad, rtol=0.0, atol=2e-6)


@pytest.mark.parametrize(("rate", "state"), [(0.1, STATE), (0.1, THIRD), (0.0, STATE)])
def test_the_end_of_a_half_is_one_kernel(triton_kernels: Any, rate: float, state: torch.Tensor) -> None:
    random = torch.Generator().manual_seed(0)
    rows, hidden = 37, 48
    values = [torch.randn(*shape, generator=random) for shape in ((rows, hidden), (rows, hidden), (hidden,), (hidden,))]
    given = torch.randn(rows, hidden, generator=random)
    least, scale = least_kept(rate), 1.0 / (1.0 - rate)
    ours = [value.clone().requires_grad_() for value in values]
    found = triton_kernels.Closed.apply(*ours, 1e-12, state, least, scale)
    found.backward(given)
    plain = [value.double().requires_grad_() for value in values]
    residual, x, gamma, beta = plain
    kept = TorchKernels(on_cpu=True).keep_mask(state, x.shape, rate) * scale if rate else 1.0
    expected = torch.nn.functional.layer_norm(residual + x * kept, (hidden,), gamma, beta, 1e-12)
    expected.backward(given.double())
    torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=5e-6)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=0.0, atol=1e-5)


def test_a_layer_with_tritons_kernels_is_the_layer(triton_kernels: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits and losses of two steps in float16, the type of two bytes that the interpreter multiplies."""
    found = []
    for chosen in (CudaKernels(), TorchKernels(on_cpu=False)):
        for module in ("zoo.models.layers", "zoo.models.dropout"):
            monkeypatch.setattr(f"{module}.kernels", lambda chosen=chosen: chosen)
        changes = {"training.precision": "float32", "model.backbone.num_layers": 1}
        model = zoo.build(recipes.load("imdb_bert_2k", profile="smoke", overrides=changes))
        (layer,) = (layer for layer in heads.layers_by_name(model).values() if isinstance(layer, TransformerEncoder))
        random = torch.Generator().manual_seed(0)
        x = torch.randn(2, 8, model.get_layer("backbone").hidden_dim, generator=random).half().requires_grad_()
        mask = torch.ones(2, 1, 1, 8, dtype=torch.bool)
        y = chosen.transformer_layer(layer._parts(layer._products), x, mask, True)
        y.float().square().sum().backward()
        found.append((y.float(), x.grad.float()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)


@pytest.mark.slow
def test_tritons_kernels_compile_for_a_gpu() -> None:
    """For an H100, by Triton's own compiler, which needs no GPU; matrix products by the tensor cores."""
    script = Path(__file__).with_name("compile_triton.py")
    words = [sys.executable, str(script), "90"]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = dict(line.split(" ") for line in done.stdout.splitlines())
    assert {name: kind for name, kind in told.items() if name.startswith("_attention")} == {
        "_attention_forward": "wgmma",
        "_attention_backward-by_query": "wgmma",
        "_attention_backward-by_key": "wgmma",
    }
    assert {"_closed_forward", "_closed_backward"} <= told.keys()
